"""The first sink of every consumer: records applied to the operational database, with checkpoint and dead
letters in one transaction.

Not here: what applying means (bets/bets.py, events/events.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.events import EventUpdate, MarketUpdate
from exchange_platform.domain.records import BetUpdate
from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters, bury, restage, take_back
from exchange_platform.stores.operational.consumers.lost_spans import Loss, LostSpans
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.events import apply_feed_updates
from exchange_platform.stores.operational.verdicts import Verdict
from exchange_platform.streams.engine.sink import SinkCommit, decided, suspected
from exchange_platform.streams.engine.source import SHARD_END, ShardBatch, StreamRecord
from exchange_platform.streams.sources.names import EXCHANGE_BETS, EXCHANGE_FEED

OPERATIONAL_DATABASE = "operational_database"

Apply = Callable[[sa.Connection, Sequence[Any], int], Sequence[Verdict]]
"""Applies records in the caller's transaction, at a time in microseconds; one verdict each."""


class OperationalSink:
    """Applies a source's records of some kind; those of other kinds pass, for the sinks behind this one."""

    name = OPERATIONAL_DATABASE
    interval_s = 0.0
    enough_records = 1

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        source: str,
        kinds: type | tuple[type, ...],
        apply: Apply,
    ) -> None:
        self._database = database
        self._clock = clock
        self._source = source
        self._kinds = kinds
        self._apply = apply
        self._checkpoints = Checkpoints(database, self.name)
        self._dead_letters = DeadLetters(database)
        self._lost_spans = LostSpans(database)

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Claim the shards' checkpoints."""
        return self._checkpoints.claim(self._source, epoch, shards, now_us=self._clock.now_us())

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        """Apply the batches' records; bury what can't be decoded or applied."""
        now_us = self._clock.now_us()
        alive: list[tuple[ShardBatch, StreamRecord, Any]] = []
        dead: list[tuple[str, StreamRecord, str, str]] = []
        records = 0
        for batch in batches:
            records += len(batch.records)
            for record in batch.records:
                if isinstance(record.record, self._kinds):
                    alive.append((batch, record, record.record))
                elif record.record is None:
                    dead.append((batch.shard, record, record.stage, record.reason))
        repeats = 0
        refused: list[tuple[StreamRecord, str]] = []
        with self._database.write() as connection:
            self._checkpoints.advance(connection, self._source, epoch, advances, now_us=now_us)
            verdicts = self._apply(connection, [record for _, _, record in alive], now_us)
            for (batch, record, _), verdict in zip(alive, verdicts, strict=True):
                if verdict.reason is not None:
                    dead.append((batch.shard, record, self.name, verdict.reason))
                    refused.append((record, verdict.reason))
                elif not verdict.applied:
                    repeats += 1
            bury(connection, [self._dead_letter_row(*letter, now_us) for letter in dead])
        for record, reason in refused:
            record.bury(self.name, reason)
        return SinkCommit(records - repeats - len(dead), repeats, len(dead))

    def tick(self, epoch: int) -> None:
        """Nothing is due by time alone."""

    def close(self) -> None:
        """The database is its owner's to close."""

    def dead_places(self, shard: str, stage: str) -> Iterable[tuple[str, int]]:
        """The shard's dead letters of one stage, newest first."""
        return self._dead_letters.newest_places(self._source, shard, stage)

    def bury(self, shard: str, records: Sequence[StreamRecord]) -> None:
        """Write dead letters for records that another sink refused."""
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            bury(
                connection,
                [
                    self._dead_letter_row(shard, record, record.stage, record.reason, now_us)
                    for record in records
                ],
            )

    def lose(self, loss: Loss) -> bool:
        """Keep that records were gone before they were read."""
        return self._lost_spans.record(loss, now_us=self._clock.now_us())

    def positions(self) -> dict[str, str | None]:
        """Every shard's position."""
        return self._checkpoints.positions(self._source)

    def convict(self, shard: str, records: Sequence[StreamRecord]) -> None:
        """Let suspected dead letters stay."""
        with self._database.write() as connection:
            for record in records:
                place = (self._source, shard, record.position, record.part)
                restage(connection, place, record.stage, decided(record.stage))

    def acquit(self, shard: str, records: Sequence[StreamRecord]) -> None:
        """Take suspected dead letters back."""
        with self._database.write() as connection:
            for record in records:
                take_back(connection, (self._source, shard, record.position, record.part), record.stage)

    def decide_suspects(self, shard: str, sink: str, is_passed: Callable[[str], bool]) -> None:
        """Decide about what an older consumer left."""
        stage = suspected(sink)
        places = list(self._dead_letters.newest_places(self._source, shard, stage))
        if not places:
            return
        with self._database.write() as connection:
            for position, part in places:
                place = (self._source, shard, position, part)
                if is_passed(position):
                    restage(connection, place, stage, sink)
                else:
                    take_back(connection, place, stage)

    def holder(self, shards: Sequence[str]) -> int:
        """The highest epoch that claimed one of the shards."""
        return self._checkpoints.holder(self._source, shards)

    def finished(self, shards: Sequence[str]) -> set[str]:
        """Which of the shards were read to their end and committed."""
        positions = self.positions()
        return {shard for shard in shards if positions.get(shard) == SHARD_END}

    def _dead_letter_row(
        self, shard: str, record: StreamRecord, stage: str, reason: str, now_us: int
    ) -> dict[str, Any]:
        return {
            "source": self._source,
            "shard": shard,
            "position": record.position,
            "part": record.part,
            "stage": stage,
            "reason": reason,
            "data": record.data,
            "partition_key": record.partition_key,
            "arrived_at_us": record.arrived_at_us,
            "dead_at_us": now_us,
        }


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
