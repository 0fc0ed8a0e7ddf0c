"""The event index as a sink of the exchange's feed. Not here: the index itself (event_index/index.py)."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from exchange_platform.domain.events import EventUpdate, MarketUpdate
from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import Advance, StoreUnavailable
from exchange_platform.stores.event_index.index import EventIndex
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.documents import DatabaseEventDocuments
from exchange_platform.stores.operational.events.reader import EventReader
from exchange_platform.stores.operational.upsert import chunks
from exchange_platform.streams.engine.sink import SinkCommit
from exchange_platform.streams.engine.source import ShardBatch
from exchange_platform.streams.sources.names import EXCHANGE_FEED

EVENT_INDEX = "event_index"
_REFRESH_EVERY_S = 2.0
"""How often it is looked whether the index is still there, and whether somebody else changed events."""
_LOOKS_BACK_US, _FIRST_LOOKS_BACK_US = 6_000_000, 1_800_000_000
"""How far back such a look goes: some looks, and at first all that a consumer before it may have left."""
_HAND_OVER_S = 5.0
"""How long after its claim a consumer asks for the index again and again, while the one before it lets go."""
_ASK_EVERY_S = 0.03


class EventIndexSink:
    """The events that the batches changed, as they are in the operational database by then, in the event
    index.

    Its checkpoint lies in the operational database and is written after the index: a document carries its
    event's version, so putting it again, or an older consumer's putting it late, does no harm. An index that
    is not there, or was deleted, is filled from the database; what others change in the database (a dead
    letter is applied after all) follows within seconds.
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
        """Claim the shards' checkpoints. The index itself is taken when the older consumer lets it go, at its
        next commit or heartbeat.
        """
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
        if self._clock.monotonic_s() - self._looked_s < _REFRESH_EVERY_S:
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
        """Become the one that writes the index. Raises `StoreUnavailable` while another does; just after the
        claim, not at once.
        """
        while not self._taken:
            try:
                self._index.put([])
                self._taken = True
            except StoreUnavailable:
                waited_s = self._clock.monotonic_s() - self._claimed_s
                if waited_s > _HAND_OVER_S or self._clock.wait(self._ended, _ASK_EVERY_S):
                    raise

    def _keep_filled(self) -> int:
        """Fill an index that was deleted, or never filled, looking now and then; returns with how many
        documents.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s < _REFRESH_EVERY_S:
            return 0
        filled = 0 if self._index.is_filled() else self._index.rebuild(self._documents)
        self._looked_s = now_s
        return filled
