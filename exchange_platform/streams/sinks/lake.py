"""The lake as a sink of the bets' stream: executions and bet history, and the windows that time closes. Not
here: the lake itself (stores/lake/lake.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.records import BetUpdate, Execution
from exchange_platform.domain.windows import Watermarks
from exchange_platform.process.clock import Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.lake import Lake
from exchange_platform.streams.engine.figures import WindowFigures
from exchange_platform.streams.engine.reports import ClosedWindows
from exchange_platform.streams.engine.sink import SinkCommit
from exchange_platform.streams.engine.source import ShardBatch
from exchange_platform.streams.sources.names import EXCHANGE_BETS

LAKE = "lake"
_REFRESH_EVERY_US = 15_000_000
_REFRESH_SHARED_EVERY_US = 5_000_000


class LakeSink:
    """Executions and bet history, with the checkpoint in the same lake transaction; closes windows as time
    passes.

    Where consumers share the stream, each looks every few seconds how far all of them have come, by the
    lake's own executions, and closes what has passed: whoever is first does it, and closing again changes
    nothing. So no window depends on one of the runs.
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
        refresh = now_us - self._looked_at_us >= (
            _REFRESH_SHARED_EVERY_US if self._shared else _REFRESH_EVERY_US
        )
        if refresh:
            self._looked_at_us = now_us
        if self._shared:
            if not refresh:
                return  # others may have come further since
            for market_id, newest in self._lake.open_market_times().items():
                self._windows.watermarks.heard(market_id, newest, now_us)
        waiting = self._lake.open_windows(refresh=refresh)
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
