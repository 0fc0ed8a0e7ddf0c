"""One sink's worker: claims its shards, gathers batches and has them committed in steps. One thread a sink.

How a commit goes, and what becomes of a record that is refused, is committing.py's. How far a worker may fall
behind is followers.py's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence

from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.failures import Kind, described, kind_of
from exchange_platform.streams.engine.backlog import Backlog, Size
from exchange_platform.streams.engine.committing import (
    DEGRADED_RETRIES,
    RETRIES,
    Abandoned,
    Committer,
)
from exchange_platform.streams.engine.condition import DEGRADED_LIMIT_S, SinkCondition
from exchange_platform.streams.engine.meters import SinkMeter
from exchange_platform.streams.engine.owner import WorkerOwner
from exchange_platform.streams.engine.refusals import StoreRefuses
from exchange_platform.streams.engine.sink import Sink
from exchange_platform.streams.engine.source import ShardBatch, Source
from exchange_platform.streams.engine.steps import MAX_STEP, StepPace

log = logging.getLogger(__name__)

TICK_S = 1.0
LARGEST_STEP = Size(MAX_STEP, 16 * 1024 * 1024)


class SinkWorker:
    """Commits to one sink, in order, what it is handed.

    While the store is away, or refuses everything, it keeps what it has and tries again; `condition` says so.
    Once that has gone on for `degraded_limit_s` without the store being away, its owner has to `fail`
    with a `SinkDegraded`.
    """

    def __init__(
        self,
        sink: Sink,
        owner: WorkerOwner,
        *,
        source: Source,
        clock: Clock,
        degraded_limit_s: float = DEGRADED_LIMIT_S,
        largest_step: Size = LARGEST_STEP,
    ) -> None:
        self.sink = sink
        self.meter = SinkMeter()
        self.backlog = Backlog()
        self.condition = SinkCondition(sink.name, clock, degraded_limit_s)
        self._clock = clock
        self._owner = owner
        self._pace = StepPace(largest_step.records)
        self._step_bytes = largest_step.bytes
        self._to_claim: list[str] = []
        self._claim_tries = 0
        self._claim_at_s = 0.0
        self._refused_in_a_row = 0
        self._wake = threading.Event()
        self._enough = threading.Event()
        self._finishing = threading.Event()
        self._abandoning = threading.Event()
        self._in_use = (
            threading.Lock()
        )  # sinks are for one thread at a time, and the reader claims in its own
        self._committer = Committer(
            sink,
            owner,
            source=source,
            clock=clock,
            condition=self.condition,
            meter=self.meter,
            pace=self._pace,
            in_use=self._in_use,
            abandoning=self._abandoning,
        )
        self._thread = threading.Thread(target=self._run, name=f"sink-{sink.name}", daemon=True)

    @property
    def positions(self) -> dict[str, str | None]:
        """Up to where the sink holds each shard that is claimed."""
        return self._committer.positions

    @property
    def dead(self) -> int:
        """Records that the sink itself wrote as dead letters."""
        return self._committer.dead

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Claim shards in the sink, from any thread; returns up to where it holds them. Errors as
        `Sink.claim`.
        """
        with self._in_use:
            held = self.sink.claim(epoch, shards)
            self.positions.update(held)
        return held

    def claim_soon(self, shards: Sequence[str]) -> None:
        """Have shards claimed by the worker's own thread, as soon as the sink allows it; its owner is
        notified by `claimed` then.
        """
        self._to_claim = [*self._to_claim, *shards]
        self._wake.set()

    def release(self, shards: Iterable[str]) -> None:
        """Forget where the sink holds these shards: they will be claimed again. Nothing of them may be under
        way.
        """
        for shard in shards:
            self.positions.pop(shard, None)

    def has_claimed(self, shards: Iterable[str]) -> bool:
        """Whether these shards are claimed."""
        return all(shard in self.positions for shard in shards)

    def start(self, epoch: int) -> None:
        """Begin to commit, as this epoch."""
        self._committer.epoch = epoch
        self._thread.start()

    def put(self, batches: Iterable[ShardBatch]) -> None:
        """Hand over batches, in order."""
        self.backlog.put(batches)
        if self._has_enough():
            self._enough.set()
        self._wake.set()

    def finish(self, timeout_s: float) -> bool:
        """Commit what was handed over and end; what an unavailable store can't take in time is left. Says
        whether all was committed.
        """
        self._finishing.set()
        self._enough.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            self._abandoning.set()
            self._wake.set()
            self._thread.join(10)
        return not self.backlog and not self._thread.is_alive()

    def abandon(self) -> None:
        """End without committing any more."""
        self._abandoning.set()
        self.finish(0)

    def _run(self) -> None:
        try:
            while not self._abandoning.is_set() and self._work():
                pass
        except Abandoned:
            log.warning("%s: ended with uncommitted batches, which will be read again", self.sink.name)
        except BaseException as error:
            self._owner.fail(error)

    def _work(self) -> bool:
        """One step; says whether there may be another."""
        if self._to_claim and self._clock.monotonic_s() >= self._claim_at_s:
            self._claim_now()
        batches = self._gather()
        if batches:
            self._commit(batches)
        elif self._finishing.is_set():
            return False
        elif (
            self._committer.is_undecided
            and self._owner.is_at_tip(self.sink.name)
            and self._committer.judge_alone()
        ):
            self._settled()
        self._tick()
        return True

    def _commit(self, batches: Sequence[ShardBatch]) -> None:
        try:
            self._committer.commit(batches)
        except StoreRefuses as refusal:
            self._committer.start_again()
            self.backlog.put_back()
            self._refused_in_a_row += 1
            self.meter.retried()
            log.warning("%s: %s", self.sink.name, refusal)
            self.condition.degraded("records", refusal)
            if self._clock.wait(self._abandoning, DEGRADED_RETRIES.pause_s(self._refused_in_a_row)):
                raise Abandoned from refusal
            return
        if not self._committer.is_undecided:
            self._settled()

    def _settled(self) -> None:
        """What is in hand is committed or buried."""
        self._refused_in_a_row = 0
        self.condition.well("records")
        self._owner.done(self.sink.name, self.backlog.settle())

    def _claim_now(self) -> None:
        shards = self._to_claim
        try:
            held = self.claim(self._committer.epoch, shards)
        except Exception as error:
            self._claim_tries += 1
            pause_s = self._pause_after("claim", error, self._claim_tries)
            self._claim_at_s = self._clock.monotonic_s() + pause_s
            return
        self.condition.well("claim")
        self._claim_tries = 0
        self._to_claim = [shard for shard in self._to_claim if shard not in held]
        self._owner.claimed(self.sink.name, held)

    def _tick(self) -> None:
        if not self.positions:
            return  # nothing is claimed yet
        try:
            with self._in_use:
                self.sink.tick(self._committer.epoch)
            self.condition.well("tick")
        except Exception as error:
            self.meter.retried()
            self._pause_after("tick", error, 1)
            self._clock.wait(self._finishing, RETRIES.first_s)

    def _pause_after(self, doing: str, error: Exception, tries: int) -> float:
        """How long to wait after an error of something that writes no record. Raises what ends the
        consumer.
        """
        if kind_of(error) is Kind.FINAL:
            raise error
        if tries == 1:
            log.warning("%s (%s): %s", self.sink.name, doing, described(error))
        if isinstance(error, StoreUnavailable):
            self.condition.away(doing, error)
            return RETRIES.pause_s(tries)
        self.condition.degraded(doing, error)
        return DEGRADED_RETRIES.pause_s(tries)

    def _has_enough(self) -> bool:
        waiting = self.backlog.waiting
        enough = min(self.sink.enough_records, self._pace.records)
        return waiting.records >= enough or waiting.bytes >= self._step_bytes

    def _gather(self) -> list[ShardBatch]:
        """Batches to commit now: what has come within the sink's interval, up to what one step may hold."""
        if not self.backlog.has_waiting and not self._finishing.is_set():
            self._wake.clear()
            if not self.backlog.has_waiting:
                self._clock.wait(self._wake, TICK_S)
        if self.backlog.has_waiting and self.sink.interval_s and not self._finishing.is_set():
            self._clock.wait(self._enough, self.sink.interval_s)
        batches = self.backlog.take(Size(self._pace.records, self._step_bytes))
        if not self._has_enough() and not self._finishing.is_set():
            self._enough.clear()
        return batches
