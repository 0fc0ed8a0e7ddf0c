"""The consumer of `exchange-bets`: which sinks its records go to. Not here: how consuming works (consumer.py)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.records import BetUpdate, Execution
from exchange_platform.domain.windows import Watermarks
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client, is_passing
from exchange_platform.stores.checkpoints import Advance, StoreUnavailable
from exchange_platform.stores.dynamodb.profile_view import ProfileView, ProfileViewMissing, ensure_table
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.bets.profiles import Profiles
from exchange_platform.stores.operational.consumers.consumers import Checkpoints, ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.engine.consumer import Consumer, WindowFigures
from exchange_platform.streams.engine.reports import ClosedWindows
from exchange_platform.streams.engine.sharing import WHOLE, Share
from exchange_platform.streams.engine.sink import SinkCommit
from exchange_platform.streams.engine.source import ShardBatch, Source
from exchange_platform.streams.sinks.operational import OperationalSink
from exchange_platform.streams.sources.kinesis import KinesisSource

EXCHANGE_BETS = "exchange-bets"
"""The source's name in checkpoints, consumers and dead letters."""

_LOOK_ANEW_US = 15_000_000
_LOOK_ANEW_SHARED_US = 5_000_000
# A consumer lives long beside everything else on its machine. Merging its small files needs more than 48.
_LAKE_MEMORY_MB = 80
LAKE, PROFILE_VIEW = "lake", "profile_view"


def build_consumer(
    settings: Settings,
    *,
    run_id: str,
    clock: Clock = SYSTEM_CLOCK,
    duration_s: float | None = None,
    requested_at_us: int | None = None,
    source: Source | None = None,
    report_interval_s: float | None = None,
    share: Share = WHOLE,
) -> Consumer:
    """Put the consumer of `exchange-bets` together; `run` it once. It closes what it opened.

    `duration_s` defaults to `settings.run_duration_s`, `source` to the stream, of whose shards those of the `share` are read.
    """
    database = Database(settings.operational_database_url)
    windows = Windows(settings)
    return Consumer(
        source=source
        or KinesisSource(aws_client(settings, "kinesis"), settings.bets_stream, name=EXCHANGE_BETS),
        first=BetsSink(database, clock),
        others=[
            LakeSink(
                Lake.from_settings(settings, memory_mb=_LAKE_MEMORY_MB, shared=share != WHOLE),
                windows,
                settings.lake_interval_s,
                clock,
                shared=share != WHOLE,
            ),
            ProfileViewSink(
                database,
                ProfileView(aws_client(settings, "dynamodb"), settings.profiles_table),
                settings,
                clock,
            ),
        ],
        rows=ConsumerRows(database),
        run_id=run_id,
        duration_s=settings.run_duration_s if duration_s is None else duration_s,
        report_interval_s=settings.report_interval_s if report_interval_s is None else report_interval_s,
        poll_interval_s=settings.poll_interval_s,
        max_buffered_records=settings.max_buffered_records,
        max_buffered_bytes=settings.max_buffered_bytes,
        degraded_limit_s=settings.degraded_limit_s,
        share=share,
        windows=windows,
        requested_at_us=requested_at_us,
        on_close=database.dispose,
        clock=clock,
    )


class BetsSink(OperationalSink):
    """Bets, profiles, ledger, outbox and dead letters, with the checkpoint, in one transaction a batch."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(
            database,
            clock,
            source=EXCHANGE_BETS,
            kinds=BetUpdate,
            apply=lambda connection, updates, _: apply_bet_updates(connection, updates),
        )


class LakeSink:
    """Executions and bet history, with the checkpoint in the same lake transaction; closes windows as time passes.

    Where consumers share the stream, each looks every few seconds how far all of them have come, by the lake's own executions, and closes what
    has passed: whoever is first does it, and closing again changes nothing. So no window depends on one of the runs.
    """

    name = LAKE
    enough_records = 10_000

    def __init__(
        self, lake: Lake, windows: Windows, interval_s: float, clock: Clock, *, shared: bool = False
    ) -> None:
        self.interval_s = interval_s
        self._shared = shared
        self._shards: set[str] = set()
        self._lake = lake
        self._windows = windows
        self._clock = clock
        self._looked_at_us = 0

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Claim the shards' checkpoints in the lake, and take up the windows that wait to be closed."""
        held = self._lake.claim(EXCHANGE_BETS, epoch, shards)
        self._shards.update(shards)
        now_us = self._clock.now_us()
        for market_id, newest in self._lake.open_market_times().items():
            self._windows.watermarks.saw(market_id, newest, now_us)
        self._windows.closed = self._lake.counts().closed_windows
        return held

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        """Add the batches' executions and bet versions that the lake does not have."""
        executions: list[Execution] = []
        bets: list[BetUpdate] = []
        for batch in batches:
            for record in batch.records:
                if isinstance(record.record, Execution):
                    executions.append(record.record)
                elif isinstance(record.record, BetUpdate):
                    bets.append(record.record)
        done = self._lake.commit(EXCHANGE_BETS, epoch, advances, executions, bets)
        now_us = self._clock.now_us()
        watermarks = self._windows.watermarks
        for execution in executions:
            watermarks.saw(execution.market_id, execution.executed_at, now_us)
        for bet in bets:
            if bet.status is BetStatus.SETTLED:  # a market is settled once it is closed
                watermarks.closed(bet.market_id)
        return SinkCommit(done.executions + done.bet_versions, done.repeats)

    def tick(self, epoch: int) -> None:
        """Close the windows that have passed."""
        now_us = self._clock.now_us()
        anew = now_us - self._looked_at_us >= (_LOOK_ANEW_SHARED_US if self._shared else _LOOK_ANEW_US)
        if anew:
            self._looked_at_us = now_us
        if self._shared:
            if not anew:
                return  # others may have come further since
            for market_id, newest in self._lake.open_market_times().items():
                self._windows.watermarks.heard(market_id, newest, now_us)
        waiting = self._lake.open_windows(anew=anew)
        markets = {market_id for market_id, _ in waiting}
        closed = self._lake.close_windows(
            EXCHANGE_BETS, epoch, self._windows.watermarks.passed(markets, now_us), self._shards
        )
        self._windows.closed += sum(day.closed for day in closed)
        self._windows.add_closed([ClosedWindows(day.day, day.closed, day.reopened) for day in closed])
        waiting = self._lake.open_windows()
        self._windows.open = len(waiting)
        marks = [
            self._windows.watermarks.watermark(market_id) for market_id in {market for market, _ in waiting}
        ]
        self._windows.lowest = min((mark for mark in marks if mark is not None), default=None)
        self._windows.watermarks.forget(markets, now_us)

    def close(self) -> None:
        """Close the lake."""
        self._lake.close()


class ProfileViewSink:
    """The profiles that the batches changed, as they are in the operational database by then, in DynamoDB.

    Its checkpoint lies in the operational database and is written after the view: an item is conditioned on the profile's version, so
    writing it again, or an older consumer's writing it late, does no harm.
    """

    name = PROFILE_VIEW
    enough_records = 20_000  # a user's many updates are one write

    def __init__(self, database: Database, view: ProfileView, settings: Settings, clock: Clock) -> None:
        self.interval_s = settings.profile_view_interval_s
        self._database = database
        self._profiles = Profiles(database)
        self._view = view
        self._settings = settings
        self._clock = clock
        self._checkpoints = Checkpoints(database, self.name)

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Claim the shards' checkpoints; a view that is not there is made and filled."""
        held = self._checkpoints.claim(EXCHANGE_BETS, epoch, shards, now_us=self._clock.now_us())
        if all(position is None for position in held.values()):
            self._fill()
        return held

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        """Write the newest profile of every user of whom the batches tell."""
        users = sorted(
            {
                record.record.user_id
                for batch in batches
                for record in batch.records
                if isinstance(record.record, BetUpdate)
            }
        )
        try:
            written = self._view.put(self._profiles.read(users))
        except ProfileViewMissing:
            written = self._fill()
        with self._database.write() as connection:
            self._checkpoints.advance(connection, EXCHANGE_BETS, epoch, advances, now_us=self._clock.now_us())
        return SinkCommit(written, len(users) - written if written <= len(users) else 0)

    def tick(self, epoch: int) -> None:  # noqa: ARG002 - an older consumer's write does no harm
        """Write the profiles that transfers and submissions changed, of which the stream does not tell, or later."""
        due = self._profiles.due()
        if due:
            try:
                self._view.put(self._profiles.read(sorted(due)))
            except ProfileViewMissing:
                self._fill()
            self._profiles.taken(due)

    def close(self) -> None:
        """The database is its owner's to close."""

    def _fill(self) -> int:
        """Make the table if it is not there, and write every profile that is newer than the view's."""
        client = aws_client(self._settings, "dynamodb")
        try:
            ensure_table(client, self._settings.profiles_table)
            return sum(self._view.put(page) for page in self._profiles.pages())
        except (ClientError, BotoCoreError) as error:
            if not is_passing(error):
                raise
            raise StoreUnavailable(f"profile view: {error}") from error
        finally:
            client.close()


class Windows(WindowFigures):
    """The odds windows' figures, kept by the lake's sink and read by the engine's reports."""

    def __init__(self, settings: Settings) -> None:
        self.watermarks = Watermarks(
            delay_s=settings.watermark_delay_s, silent_after_s=settings.silent_market_s
        )
        self.open = 0
        self.closed = 0
        self.lowest: datetime | None = None
        self._lock = threading.Lock()
        self._taken: dict[Any, ClosedWindows] = {}

    def open_windows(self) -> int:
        """Windows that wait to be closed."""
        return self.open

    def closed_windows(self) -> int:
        """Rows of odds_windows."""
        return self.closed

    def watermark(self) -> datetime | None:
        """The lowest watermark of the markets with open windows."""
        return self.lowest

    def add_closed(self, days: Sequence[ClosedWindows]) -> None:
        """Count windows that were closed."""
        with self._lock:
            for day in days:
                known = self._taken.get(day.day)
                if known is not None:
                    day = ClosedWindows(day.day, day.closed + known.closed, day.reopened + known.reopened)
                self._taken[day.day] = day

    def take_closed(self) -> tuple[ClosedWindows, ...]:
        """What was closed since the last call."""
        with self._lock:
            taken, self._taken = self._taken, {}
        return tuple(taken[day] for day in sorted(taken))
