"""Committing batches to one sink: waiting while its store is away, finding the records that it refuses. Not
here: what to commit when (worker.py).

Errors are of kinds (stores/failures.py). A record is buried for a *data* error alone, and once the sink has
taken another behind it (refusals.py). The checkpoint passes a refused record only with the record behind it,
in the sink's own transaction. Its dead letter is written just before, marked as suspected. It is decided just
after, when the record is tried once more, or withdrawn if it turns out that the sink refuses everything. A
consumer that dies in between leaves the decision to its successor, who knows by the checkpoint which records
were passed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import msgspec

from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import Advance, StoreUnavailable
from exchange_platform.stores.failures import Kind, described, kind_of
from exchange_platform.streams.engine.condition import SinkCondition
from exchange_platform.streams.engine.cutting import halves
from exchange_platform.streams.engine.meters import SinkMeter
from exchange_platform.streams.engine.owner import WorkerOwner
from exchange_platform.streams.engine.refusals import Refusals, Suspect
from exchange_platform.streams.engine.sink import Sink, SinkCommit
from exchange_platform.streams.engine.source import ShardBatch, Source, StreamRecord
from exchange_platform.streams.engine.steps import StepPace

log = logging.getLogger(__name__)

RETRIES = BackOff(first_s=0.1, max_s=5.0)
"""Between tries of a store that is away: twice as long each time, up to some seconds, for ever."""
DEGRADED_RETRIES = BackOff(first_s=0.5, max_s=15.0)
"""Between tries of a sink that answers with an error that waiting alone may not cure."""


class Abandoned(Exception):
    """The consumer is ending and the store is still unavailable: what is left will be read again."""


class _Refused(Exception):
    """The sink refused a batch for one of its records, or for its size; the cause is the sink's own error."""

    def __init__(self, error: Exception, kind: Kind) -> None:
        super().__init__(str(error))
        self.error = error
        self.kind = kind


class Committer:
    """Commits to one sink, in order. For one thread at a time."""

    def __init__(
        self,
        sink: Sink,
        owner: WorkerOwner,
        *,
        source: Source,
        clock: Clock,
        condition: SinkCondition,
        meter: SinkMeter,
        pace: StepPace,
        in_use: threading.Lock,
        abandoning: threading.Event,
    ) -> None:
        self.epoch = 0
        self.positions: dict[str, str | None] = {}
        self.dead = 0
        self._sink = sink
        self._source = source
        self._clock = clock
        self._condition = condition
        self._meter = meter
        self._pace = pace
        self._in_use = in_use
        self._abandoning = abandoning
        self._owner = owner
        self._refusals = Refusals()
        self._held: list[ShardBatch] = []
        """Batches that hold suspects and dead records alone: the checkpoint passes them with the next record
        that is taken.
        """
        self._tentative: list[Suspect] = []
        """Suspects whose dead letters are written already."""

    @property
    def is_undecided(self) -> bool:
        """Whether there are refused records of which it is not known yet whose fault it is: nothing of them
        is settled.
        """
        return bool(self._refusals.suspects)

    def commit(self, batches: Sequence[ShardBatch]) -> None:
        """Commit the batches, but for records that are refused: see `is_undecided`.

        Raises `StoreRefuses` (nothing since the first suspect is settled: commit it all again later),
        `Abandoned`, `SinkDegraded` and whatever ends the consumer.
        """
        fresh = [batch for batch in map(self._without_known, batches) if batch is not None]
        if fresh:
            self._commit_isolating(fresh)

    def judge_alone(self) -> bool:
        """Bury the suspects where nothing has followed them for a while; says whether it did."""
        guilty = self._refusals.judged_alone(self._clock.monotonic_s())
        if not guilty:
            return False
        self._pass([], guilty)
        return True

    def start_again(self) -> None:
        """Forget the suspects after a `StoreRefuses`, and take back their dead letters: they will be
        committed again.
        """
        self._refusals.forget()
        self._held = []
        tentative, self._tentative = self._tentative, []
        for suspect in tentative:
            self._owner.acquit(self._sink.name, suspect.shard, suspect.record)

    def _commit_isolating(self, batches: Sequence[ShardBatch]) -> None:
        alive = list(_alive(batches))
        if not alive and self.is_undecided:
            self._held += batches  # that the sink takes them says nothing of its taking records
            return
        try:
            self._pass(batches, self._refusals.suspects)
            return
        except _Refused as refused:
            kind, error = refused.kind, refused.error
        if kind is Kind.TOO_LARGE:
            self._pace.did_not_fit(len(alive))
        if len(alive) > 1:
            for half in halves(batches):
                self._commit_isolating(half)
            return
        ((shard, record),) = alive
        reason = described(error)
        log.warning("%s refuses record %s/%s: %s", self._sink.name, shard, record.position, reason)
        self._held += batches
        self._refusals.refused(shard, record, reason, self._clock.monotonic_s())

    def _pass(self, batches: Sequence[ShardBatch], suspects: Sequence[Suspect]) -> None:
        """Write the batches, and let the checkpoint pass the suspects before them."""
        suspects = list(suspects)
        if suspects:
            self._bury_tentatively(suspects)
        done = self._write([*self._held_without(suspects), *batches])
        if batches:
            self._refusals.accepted()
        judged, self._tentative, self._held = self._tentative, [], []
        for suspect, copy in zip(suspects, judged, strict=True):
            is_good = self._judge(suspect, copy)
            if is_good and done.dead:  # the sink writes its dead letters itself, and counted this one
                self.dead -= 1

    def _judge(self, suspect: Suspect, copy: Suspect) -> bool:
        """Try a suspect once more, now that the sink takes records and the checkpoint has passed it: the
        store may have been repaired meanwhile.

        Says whether it was taken.
        """
        held = self.positions[suspect.shard]
        try:
            self._write([ShardBatch(suspect.shard, held, held, [suspect.record])])
        except _Refused:
            suspect.record.bury(self._sink.name, suspect.reason)
            self._owner.convict(self._sink.name, copy.shard, copy.record)
            return False
        self._owner.acquit(self._sink.name, copy.shard, copy.record)
        return True

    def _bury_tentatively(self, suspects: Sequence[Suspect]) -> None:
        for suspect in suspects[len(self._tentative) :]:
            copy = msgspec.structs.replace(suspect.record)
            self._owner.bury(suspect.shard, copy, self._sink.name, suspect.reason)
            self._tentative.append(Suspect(suspect.shard, copy, suspect.reason))

    def _held_without(self, suspects: Sequence[Suspect]) -> list[ShardBatch]:
        """The held batches with the suspects as dead records."""
        dead = {
            id(suspect.record): copy.record for suspect, copy in zip(suspects, self._tentative, strict=True)
        }
        return [
            ShardBatch(
                batch.shard,
                batch.previous,
                batch.position,
                [dead.get(id(record), record) for record in batch.records],
            )
            for batch in self._held
        ]

    def _write(self, batches: Sequence[ShardBatch]) -> SinkCommit:
        """One commit, tried again while the store is away or answers with an error that blames no record.
        Raises `_Refused`.
        """
        advances: dict[str, Advance] = {}
        for batch in batches:
            first = advances.get(batch.shard)
            expected = first.expected if first is not None else self.positions[batch.shard]
            advances[batch.shard] = Advance(batch.shard, expected, batch.position)
        steps = list(advances.values())
        alive = sum(1 for _ in _alive(batches))
        tries = 0
        while True:
            began_s = self._clock.monotonic_s()
            try:
                with self._in_use:
                    done = self._sink.commit(self.epoch, batches, steps)
                break
            except Exception as error:
                tries += 1
                pause_s = self._pause_after(error, tries, alive)
                if self._clock.wait(self._abandoning, pause_s):
                    raise Abandoned from error
        seconds = self._clock.monotonic_s() - began_s
        self._condition.well("commit")
        self.dead += done.dead
        for step in steps:
            self.positions[step.shard] = step.position
        self._pace.committed(sum(len(batch.records) for batch in batches), seconds)
        self._meter.committed(batches, done, seconds=seconds, now_us=self._clock.now_us())
        return done

    def _pause_after(self, error: Exception, tries: int, alive: int) -> float:
        """How long to wait before the same commit is tried again. Raises what asks for something else."""
        kind = kind_of(error)
        if kind is Kind.FINAL:
            raise error
        if (kind is Kind.DATA and alive) or (kind is Kind.TOO_LARGE and alive > 1):
            raise _Refused(error, kind) from error
        self._meter.retried()
        if tries == 1 or tries % 20 == 0:
            log.warning("%s (try %d): %s", self._sink.name, tries, described(error))
        if isinstance(error, StoreUnavailable):
            self._condition.away("commit", error)
            return RETRIES.pause_s(tries)
        self._condition.degraded("commit", error)
        return DEGRADED_RETRIES.pause_s(tries)

    def _without_known(self, batch: ShardBatch) -> ShardBatch | None:
        """The batch without what the sink holds already; None if that is all of it."""
        held = self.positions[batch.shard]
        if held is None or (batch.records and self._source.is_after(batch.records[0].position, held)):
            return batch
        if batch.position is None or not self._source.is_after(batch.position, held):
            return None
        fresh = [record for record in batch.records if self._source.is_after(record.position, held)]
        return ShardBatch(batch.shard, held, batch.position, fresh)


def _alive(batches: Sequence[ShardBatch]) -> Iterator[tuple[str, StreamRecord]]:
    """The shard and the record of each that is not dead."""
    return (
        (batch.shard, record) for batch in batches for record in batch.records if record.record is not None
    )
