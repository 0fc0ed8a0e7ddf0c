"""How dead letters of the exchange's feed are applied after all. Not here: which, and what is said of it
(dead_letters.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import sqlalchemy as sa

from exchange_platform.domain.events import FeedUpdate, decode_update
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.documents import DatabaseEventDocuments
from exchange_platform.stores.operational.events.events import apply_feed_updates
from exchange_platform.stores.operational.verdicts import Verdict


class DeadUpdates:
    """Events and markets: into the operational database, and from there into the event index."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._event_ids: set[str] = set()

    def decode(self, data: bytes) -> FeedUpdate:
        """The update."""
        return decode_update(data)

    def apply(
        self, connection: sa.Connection, records: Sequence[FeedUpdate], now_us: int
    ) -> Sequence[Verdict]:
        """Apply."""
        verdicts = apply_feed_updates(connection, records, now_us=now_us)
        self._event_ids.update(
            update.event_id for update, verdict in zip(records, verdicts, strict=True) if verdict.applied
        )
        return verdicts

    def finish(self) -> None:
        """Put the events that changed into the index. Where a consumer run has it, that run does so within
        seconds.
        """
        if not self._event_ids:
            return
        index = open_event_index(self._settings, writable=True)
        try:
            with contextlib.suppress(StoreUnavailable):
                index.put(DatabaseEventDocuments(self._database).read(sorted(self._event_ids)))
        finally:
            index.close()
