"""Publishing what following Betfair live has derived: executions to the stream, updates to the feed,
restatements to their table.

A stream that was lost and made again, as an emulator's is when it dies, gets again what it had and what not
every store has committed, or what was published in the last ten minutes. Betfair sends no trade twice.
Not here: keeping it until then (live_journal.py).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from exchange_platform.exchanges.betfair.live_journal import (
    EXECUTION,
    RESTATEMENT,
    UPDATE,
    LiveJournal,
    decode_restatement,
)
from exchange_platform.exchanges.betfair.replay import RestatementStore, UpdateJournal
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.streams.sources.kinesis import StreamUnavailable, shard_name

log = logging.getLogger(__name__)

RETAINED_S = 600.0
"""So long after it was published an execution is kept, at least."""
MAX_KEPT = 5_000_000
"""Some 1.5 GB. Beyond it the oldest go, committed or not, and the log says how many."""
STREAM_CHECK_EVERY_S = 2.0
SETTLE_EVERY_S = 30.0


class PublishingWaits(Exception):
    """Something that is published to is away: try again later. What was published may be published again,
    which readers drop.
    """


class StreamPublisher(Protocol):
    """Publishes to a stream that may be lost and made again (streams/sources/kinesis.py, `Publisher`)."""

    positions: dict[str, str]

    def publish(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Publish (partition key, data) pairs. Raises `StreamUnavailable`."""
        ...

    def created_at(self) -> int:
        """Which stream of its name it is. Raises `StreamUnavailable`."""
        ...


class LivePublishing:
    """Empties the journal's outbox, in order. For one thread."""

    def __init__(
        self,
        journal: LiveJournal,
        *,
        publisher: StreamPublisher,
        feed: UpdateJournal,
        restatements: RestatementStore,
        committed: Callable[[], Mapping[str, str]],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`committed` says by shard up to where all stores hold the stream. May raise `StoreUnavailable`."""
        self.published = 0
        self._journal = journal
        self._publisher = publisher
        self._feed = feed
        self._restatements = restatements
        self._committed = committed
        self._clock = clock
        self._created_at = 0
        self._checked_at_s = self._settled_at_s = float("-inf")

    def publish_waiting(self) -> int:
        """Publish all that waits; returns how much that was. Raises `PublishingWaits`."""
        total = 0
        try:
            self._check_stream()
            while waiting := self._journal.waiting():
                records = [(one.key, one.data) for one in waiting if one.kind == EXECUTION]
                updates = [one.data for one in waiting if one.kind == UPDATE]
                restated = [decode_restatement(one.data) for one in waiting if one.kind == RESTATEMENT]
                if records:
                    self._publisher.publish(records)
                if updates:
                    self._feed.append(updates)
                if restated:
                    self._restatements.add(restated)
                positions = self._positions() if records else {}
                self._journal.published(waiting[-1].sequence, positions, now_us=self._clock.now_us())
                total += len(waiting)
                self.published += len(waiting)
        except (StreamUnavailable, StoreUnavailable, sqlite3.OperationalError) as error:
            self._checked_at_s = float("-inf")
            raise PublishingWaits(str(error)) from error
        self._settle()
        return total

    def _check_stream(self) -> None:
        """See that it is the stream that was published to before; publish again what is kept into one that is
        not.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._checked_at_s < STREAM_CHECK_EVERY_S:
            return
        self._created_at = self._publisher.created_at()
        known = self._journal.published_to()
        if known != self._created_at:
            self._publisher.positions.clear()
            if known is not None:
                log.warning("the stream was made again; publishing again what is kept")
            upto = 0
            while kept := self._journal.kept(upto):
                self._publisher.publish([(one.key, one.data) for one in kept])
                upto = kept[-1].sequence
            self._journal.publishes_to(self._created_at)
            if upto:
                self._journal.published_again(upto, self._positions(), now_us=self._clock.now_us())
        self._checked_at_s = now_s

    def _positions(self) -> dict[str, str]:
        return {
            shard_name(shard, self._created_at): position
            for shard, position in self._publisher.positions.items()
        }

    def _settle(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._settled_at_s < SETTLE_EVERY_S:
            return
        self._settled_at_s = now_s
        try:
            committed = self._committed()
        except StoreUnavailable as error:
            log.debug("nothing is forgotten for now: %s", error)
            return
        before_us = self._clock.now_us() - int(RETAINED_S * 1e6)
        lost = self._journal.settle(committed, before_us=before_us, max_kept=MAX_KEPT)
        if lost:
            log.warning(
                "more than %d executions are kept: %d are forgotten that not every store has committed",
                MAX_KEPT,
                lost,
            )
