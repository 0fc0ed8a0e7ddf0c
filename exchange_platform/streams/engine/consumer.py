"""The consumer engine: reads a source and applies micro-batches to sinks, exactly once in effect, whatever
dies when.

At-least-once in: each sink keeps its own checkpoint beside its data. Exactly-once in effect: a sink is handed
what lies behind its checkpoint, each record once, and each commit asserts the consumer's epoch, so of two
consumers only the newer writes.

Reading begins where the first sink is. What it has accepted goes to the other sinks, each at its own pace:
one that is slow, away or degraded holds up neither the first nor its neighbours, and is brought up to date
from the source (followers.py). A sink commits in steps of some seconds at most (steps.py). What becomes of a
record that a sink refuses, and of a sink that refuses everything, is committing.py's. What the records mean
is not this package's affair.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from exchange_platform.domain import records
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.runs.supervised import DRAIN_S, SupervisedRun
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.signs import VitalSigns
from exchange_platform.streams.engine.backlog import Size
from exchange_platform.streams.engine.condition import DEGRADED_LIMIT_S
from exchange_platform.streams.engine.figures import ConsumerFigures, WindowFigures
from exchange_platform.streams.engine.followers import GRACE_S, Followers
from exchange_platform.streams.engine.losses import LossWatch
from exchange_platform.streams.engine.meters import Committed
from exchange_platform.streams.engine.owner import FollowersOwner, ReaderOwner, WorkerOwner
from exchange_platform.streams.engine.reader import DECODE, ShardReader
from exchange_platform.streams.engine.reports import ConsumerReport
from exchange_platform.streams.engine.sharing import WHOLE, Share
from exchange_platform.streams.engine.sink import FirstSink, Sink, suspected
from exchange_platform.streams.engine.source import ShardBatch, Source, StreamRecord, Unread
from exchange_platform.streams.engine.worker import LARGEST_STEP, SinkWorker

log = logging.getLogger(__name__)

_LOOK_S = 0.2
_GC_THRESHOLDS = (50_000, 20, 50)
"""Tens of thousands of short-lived records a second would have the collector walk the heap many times a
second.
"""


class Consumer(SupervisedRun[ConsumerReport], ReaderOwner, WorkerOwner, FollowersOwner):
    """One consumer of one source: `run` it once.

    `first` decides about each record and keeps the dead letters; `others` get what it accepted, side by side.
    `decode` makes a record of bytes, or raises `UndecodableRecord`; the sinks know what it makes.
    Constructing opens nothing in the stores' tables; `run` enters a new epoch and claims the shards of its
    `share`, which fences out any older consumer of them at once.
    """

    def __init__(
        self,
        *,
        source: Source,
        first: FirstSink,
        others: Sequence[Sink],
        rows: ConsumerRows,
        run_id: str,
        duration_s: float,
        report_interval_s: float = 10.0,
        poll_interval_s: float = 0.2,
        max_buffered_records: int = 80_000,
        max_buffered_bytes: int = 64 * 1024 * 1024,
        degraded_limit_s: float = DEGRADED_LIMIT_S,
        decode: Callable[[bytes], object] = records.decode,
        share: Share = WHOLE,
        windows: WindowFigures | None = None,
        requested_at_us: int | None = None,
        on_close: Callable[[], None] = lambda: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(
            source.name,
            rows,
            name=share.consumer_of(source.name),
            run_id=run_id,
            duration_s=duration_s,
            report_interval_s=report_interval_s,
            requested_at_us=requested_at_us,
            clock=clock,
        )
        self._source = source
        self._first = first
        self._sinks: list[Sink] = [first, *others]
        self._on_close = on_close
        self._collector: tuple[int, int, int] | None = None
        self._reported_at_s, self._reported, self._reported_dead = clock.monotonic_s(), 0, 0
        self._claimed = threading.Event()
        self._buried = 0
        self._buried_lock = threading.Lock()
        limit = Size(max_buffered_records, max_buffered_bytes)
        half, quarter = limit.part(2), limit.part(4)
        self._workers = {
            sink.name: SinkWorker(
                sink,
                self,
                source=source,
                clock=clock,
                degraded_limit_s=degraded_limit_s,
                largest_step=Size(
                    min(LARGEST_STEP.records, half.records), min(LARGEST_STEP.bytes, quarter.bytes)
                ),
            )
            for sink in self._sinks
        }
        self._losses = LossWatch(source.name, first, rows, clock)
        self._followers = Followers(
            [self._workers[sink.name] for sink in others],
            self,
            source=source,
            clock=clock,
            decode=decode,
            limit=limit,
        )
        self._progress = Committed(
            lambda: [worker.positions for worker in self._workers.values()],
            lambda: self._reader.listed,
            source.is_after,
        )
        self._reader = ShardReader(
            source,
            self,
            clock=clock,
            poll_interval_s=poll_interval_s,
            progress=self._progress,
            decode=decode,
            share=share,
        )
        self._figures = ConsumerFigures(
            source, first.name, self._workers, self._followers, self._reader, self._progress, windows, clock
        )

    def _start(self) -> None:
        self._collector = gc.get_threshold()
        gc.set_threshold(*_GC_THRESHOLDS)
        gc.freeze()
        self._figures.began_at_us = self._clock.now_us()
        self._reported_at_s = self._clock.monotonic_s()
        for worker in self._workers.values():
            worker.start(self.epoch)
        self._reader.start()

    def _drain(self) -> None:
        """Stop reading, let every sink commit what was read, first the one that the others depend on, and
        close them.

        A sink may hold what its successor waits for, so that none stays open while the last report is dealt
        with.
        """
        self._reader.stop(DRAIN_S)
        for worker in self._workers.values():
            if self.is_abandoned:
                worker.abandon()
            else:
                worker.finish(DRAIN_S)
        for sink in self._sinks:
            sink.close()

    def _close(self) -> None:
        self._source.close()
        self._on_close()
        if self._collector is not None:
            gc.unfreeze()
            gc.set_threshold(*self._collector)

    def _newer(self) -> str | None:
        holder = self._first.holder(list(self._reader.read_to))
        return f"epoch {holder} holds the shards" if holder > self.epoch else None

    def _signs(self) -> VitalSigns:
        return self._figures.vital_signs(self._ends_at_s)

    def _report(self, *, final: bool = False) -> ConsumerReport:
        now_s = self._clock.monotonic_s()
        dead = self._workers[self._first.name].dead + self._buried - self._reported_dead
        report = self._figures.report(
            self.epoch, now_s - self._reported_at_s, self._reported, dead, final=final
        )
        self._reported_at_s, self._reported = now_s, report.records_total
        self._reported_dead += dead
        return report

    # What the reader, the workers and the followers ask (owner.py).

    def has_room(self) -> bool:
        """Whether more may be read: leaves followers behind that are in the way for too long."""
        return self._followers.has_room(self._workers[self._first.name].backlog.size)

    def forward(self, batches: Sequence[ShardBatch]) -> None:
        """Hand what was read to the first sink."""
        self._workers[self._first.name].put(batches)

    def finished(self, shards: Sequence[str]) -> set[str]:
        """Which of the shards the first sink holds to their end."""
        return self.with_retries(partial(self._first.finished, shards))

    def unread(self, shard: str, hole: Unread) -> None:
        """Keep the hole, where it is a loss."""
        self.with_retries(partial(self._losses.unread, shard, hole))

    def shards_listed(self, shards: Sequence[str]) -> None:
        """Keep which shards are gone unread."""
        self.with_retries(partial(self._losses.listed, shards))

    def reread(self, read_to: Mapping[str, str | None]) -> Mapping[str, int]:
        """Read what followers missed."""
        return self._followers.reread(read_to)

    def claim(self, shards: Sequence[str]) -> dict[str, str | None]:
        """Claim the shards in every sink; returns from where to read: up to where the first sink holds each.

        The first sink comes last: a claim in a lake takes a while, in which the older consumer's commits to
        the first go on. A follower whose store is away is not waited for longer than a while; its own thread
        claims them as soon as it can.
        """
        self._followers.descend(self._reader.parents)
        self._followers.release(shards)
        for worker in self._following:
            worker.release(shards)
            worker.claim_soon(shards)
        until_s = self._clock.monotonic_s() + GRACE_S
        while not all(worker.has_claimed(shards) or self._is_known_ill(worker) for worker in self._following):
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0:
                break
            self._claimed.clear()
            self._clock.wait(self._claimed, min(left_s, _LOOK_S))
            if self.ending.is_set():
                raise StoreUnavailable("the consumer ends before every sink is claimed")
        held = self.with_retries(partial(self._workers[self._first.name].claim, self.epoch, shards))
        self._decide_suspects(self._first.name, held)
        self._followers.begin(held)
        return held

    @property
    def _following(self) -> list[SinkWorker]:
        return [self._workers[sink.name] for sink in self._sinks[1:]]

    @staticmethod
    def _is_known_ill(worker: SinkWorker) -> bool:
        """Whether the sink has been in a state for a while in which it is not waited for."""
        away_for_s = worker.condition.away_for_s
        return worker.condition.degraded_since_us is not None or (away_for_s or 0.0) > GRACE_S

    def claimed(self, sink: str, held: Mapping[str, str | None]) -> None:
        """Decide what an older consumer left, and hand the sink what it lacks."""
        self._decide_suspects(sink, held)
        self._followers.claimed(sink, held)
        self._claimed.set()

    def _decide_suspects(self, sink: str, held: Mapping[str, str | None]) -> None:
        for shard, position in held.items():

            def is_passed(place: str, position: str | None = position) -> bool:
                return not self._source.is_after(place, position)

            self.with_retries(partial(self._first.decide_suspects, shard, sink, is_passed))

    def is_at_tip(self, sink: str) -> bool:
        """Whether nothing is on its way to the sink."""
        if sink == self._first.name:
            return self._reader.at_tip
        return (
            self._reader.at_tip
            and not self._workers[self._first.name].backlog
            and not self._followers.is_behind(sink)
        )

    def dead_after(self, shard: str, position: str | None, sink: str) -> set[tuple[str, int]]:
        """The dead letters that a sink is not to be handed: the first sink's, and its own."""
        dead: set[tuple[str, int]] = set()
        for stage in (DECODE, self._first.name, sink):
            for place in self._first.dead_places(shard, stage):
                if not self._source.is_after(place[0], position):
                    break
                dead.add(place)
        return dead

    def done(self, sink: str, batches: Sequence[ShardBatch]) -> None:
        """Hand what the first sink holds to the others."""
        if sink == self._first.name:
            self._followers.accepted(batches)
        self._progress.settle()

    def bury(self, shard: str, record: StreamRecord, sink: str, reason: str) -> None:
        """Mark the record, and have the first sink keep it."""
        record.bury(suspected(sink), reason)
        if sink != self._first.name:  # the first sink writes it with its commit
            self.with_retries(partial(self._first.bury, shard, [record]))

    def convict(self, sink: str, shard: str, record: StreamRecord) -> None:
        """Let the dead letter stay, and count it."""
        self.with_retries(partial(self._first.convict, shard, [record]))
        if sink != self._first.name:
            with self._buried_lock:
                self._buried += 1

    def acquit(self, sink: str, shard: str, record: StreamRecord) -> None:  # noqa: ARG002 - the first sink keeps all
        """Take a suspected dead letter back; one that can't be now is decided about when the sink is claimed
        the next time.
        """
        try:
            self._first.acquit(shard, [record])
        except StoreUnavailable as error:
            log.warning("%s: a suspected dead letter stays for now: %s", self.source, error)
