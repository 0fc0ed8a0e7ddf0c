"""Publishing what following Betfair live has derived: executions to the stream, updates to the feed,
restatements to their table.

Not here: keeping it until then (live_journal.py).
"""

from __future__ import annotations

import sqlite3

from exchange_platform.exchanges.betfair.live_journal import (
    EXECUTION,
    RESTATEMENT,
    UPDATE,
    LiveJournal,
    decode_restatement,
)
from exchange_platform.exchanges.betfair.replay import RecordPublisher, RestatementStore, UpdateJournal
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.streams.sources.kinesis import StreamUnavailable


class PublishingWaits(Exception):
    """Something that is published to is away: try again later. What was published may be published again,
    which readers drop.
    """


class LivePublishing:
    """Empties the journal's outbox, in order. For one thread."""

    def __init__(
        self,
        journal: LiveJournal,
        *,
        publisher: RecordPublisher,
        feed: UpdateJournal,
        restatements: RestatementStore,
    ) -> None:
        self.published = 0
        self._journal = journal
        self._publisher = publisher
        self._feed = feed
        self._restatements = restatements

    def publish_waiting(self) -> int:
        """Publish all that waits; returns how much that was. Raises `PublishingWaits`."""
        total = 0
        while waiting := self._journal.waiting():
            records = [(one.key, one.data) for one in waiting if one.kind == EXECUTION]
            updates = [one.data for one in waiting if one.kind == UPDATE]
            restated = [decode_restatement(one.data) for one in waiting if one.kind == RESTATEMENT]
            try:
                if records:
                    self._publisher.publish(records)
                if updates:
                    self._feed.append(updates)
                if restated:
                    self._restatements.add(restated)
            except (StreamUnavailable, StoreUnavailable, sqlite3.OperationalError) as error:
                raise PublishingWaits(str(error)) from error
            self._journal.published(waiting[-1].sequence)
            total += len(waiting)
            self.published += len(waiting)
        return total
