"""The consumer of the exchange's feed: its events go to the operational database, and from there to the event index.

Not here: how consuming works (consumer.py), how the feed is read (feed.py), what an index is (event_index/index.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from exchange_platform.domain.events import EventUpdate, MarketUpdate, decode_update
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import Advance, StoreUnavailable
from exchange_platform.stores.event_index.index import EventIndex
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.operational.consumers.consumers import Checkpoints, ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.documents import DatabaseEventDocuments
from exchange_platform.stores.operational.events.events import apply_feed_updates
from exchange_platform.stores.operational.events.reader import EventReader
from exchange_platform.stores.operational.upsert import chunks
from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.streams.engine.sink import SinkCommit
from exchange_platform.streams.engine.source import ShardBatch, Source
from exchange_platform.streams.sinks.operational import OperationalSink
from exchange_platform.streams.sources.feed import FeedSource

EXCHANGE_FEED = "exchange-feed"
"""The source's name in checkpoints, consumers and dead letters."""

EVENT_INDEX = "event_index"
_LOOK_ANEW_S = 2.0
"""How often it is looked whether the index is still there, and whether somebody else changed events."""
_LOOKS_BACK_US, _FIRST_LOOKS_BACK_US = 6_000_000, 1_800_000_000
"""How far back such a look goes: some looks, and at first all that a consumer before it may have left."""
_HAND_OVER_S = 5.0
"""How long after its claim a consumer asks for the index again and again, while the one before it lets go."""
_ASK_EVERY_S = 0.03


def build_consumer(
    settings: Settings,
    *,
    run_id: str,
    clock: Clock = SYSTEM_CLOCK,
    duration_s: float | None = None,
    requested_at_us: int | None = None,
    source: Source | None = None,
    report_interval_s: float | None = None,
) -> Consumer:
    """Put the consumer of the exchange's feed together; `run` it once. It closes what it opened.

    `duration_s` defaults to `settings.run_duration_s`, `source` to the feed at `settings.exchange_url`. Each read waits at the feed for as
    long as a pause between reads would be.
    """
    database = Database(settings.operational_database_url)
    return Consumer(
        source=source
        or FeedSource(
            settings.exchange_url,
            name=EXCHANGE_FEED,
            keys=settings.exchange_keys,
            wait_s=settings.poll_interval_s,
            clock=clock,
        ),
        first=EventsSink(database, clock),
        others=[
            EventIndexSink(
                database,
                open_event_index(settings, writable=True, clock=clock),
                settings.event_index_interval_s,
                clock,
            )
        ],
        rows=ConsumerRows(database),
        run_id=run_id,
        duration_s=settings.run_duration_s if duration_s is None else duration_s,
        report_interval_s=settings.report_interval_s if report_interval_s is None else report_interval_s,
        poll_interval_s=settings.poll_interval_s,
        max_buffered_records=settings.max_buffered_records,
        max_buffered_bytes=settings.max_buffered_bytes,
        degraded_limit_s=settings.degraded_limit_s,
        decode=decode_update,
        requested_at_us=requested_at_us,
        on_close=database.dispose,
        clock=clock,
    )


class EventsSink(OperationalSink):
    """Events, markets, selections and dead letters, with the checkpoint, in one transaction a batch."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(
            database,
            clock,
            source=EXCHANGE_FEED,
            kinds=(EventUpdate, MarketUpdate),
            apply=lambda connection, updates, now_us: apply_feed_updates(connection, updates, now_us=now_us),
        )


class EventIndexSink:
    """The events that the batches changed, as they are in the operational database by then, in the event index.

    Its checkpoint lies in the operational database and is written after the index: a document carries its event's version, so putting it again,
    or an older consumer's putting it late, does no harm. An index that is not there, or was deleted, is filled from the database; what
    others change in the database (a dead letter is applied after all) follows within seconds.
    """

    name = EVENT_INDEX
    enough_records = 500

    def __init__(self, database: Database, index: EventIndex, interval_s: float, clock: Clock) -> None:
        self.interval_s = interval_s
        self._database = database
        self._documents = DatabaseEventDocuments(database)
        self._reader = EventReader(database)
        self._index = index
        self._clock = clock
        self._checkpoints = Checkpoints(database, self.name)
        self._claimed_s = float("-inf")
        self._taken = False
        self._looked_s = float("-inf")
        self._looks_back_us = _FIRST_LOOKS_BACK_US
        self._ended = threading.Event()

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Claim the shards' checkpoints. The index itself is taken when the older consumer lets it go, at its next commit or heartbeat."""
        held = self._checkpoints.claim(EXCHANGE_FEED, epoch, shards, now_us=self._clock.now_us())
        self._claimed_s = self._clock.monotonic_s()
        return held

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        """Put the newest state of every event of which the batches tell."""
        event_ids = sorted(
            {
                record.record.event_id
                for batch in batches
                for record in batch.records
                if isinstance(record.record, EventUpdate | MarketUpdate)
            }
        )
        documents = self._documents.read(event_ids)
        self._take()
        written = self._keep_filled() + self._index.put(documents)
        with self._database.write() as connection:
            self._checkpoints.advance(connection, EXCHANGE_FEED, epoch, advances, now_us=self._clock.now_us())
        return SinkCommit(written, max(0, len(documents) - written))

    def tick(self, epoch: int) -> None:  # noqa: ARG002
        """Take the index while nothing comes, fill it if it is gone, and put what others changed."""
        self._take()
        if self._clock.monotonic_s() - self._looked_s < _LOOK_ANEW_S:
            return
        self._keep_filled()
        changed = self._reader.changed_since(self._clock.now_us() - self._looks_back_us)
        for some in chunks(changed, self.enough_records):
            self._index.put(self._documents.read(some))
        self._looks_back_us = _LOOKS_BACK_US

    def close(self) -> None:
        """Let the index go; the database is its owner's to close."""
        self._ended.set()
        self._index.close()

    def _take(self) -> None:
        """Become the one that writes the index. Raises `StoreUnavailable` while another does; just after the claim, not at once."""
        while not self._taken:
            try:
                self._index.put([])
                self._taken = True
            except StoreUnavailable:
                waited_s = self._clock.monotonic_s() - self._claimed_s
                if waited_s > _HAND_OVER_S or self._clock.wait(self._ended, _ASK_EVERY_S):
                    raise

    def _keep_filled(self) -> int:
        """Fill an index that was deleted, or never filled, looking now and then; returns with how many documents."""
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s < _LOOK_ANEW_S:
            return 0
        filled = 0 if self._index.is_filled() else self._index.rebuild(self._documents)
        self._looked_s = now_s
        return filled
