"""The consumer engine: reads a source and applies micro-batches to sinks, exactly once in effect, whatever dies when.

At-least-once in: each sink keeps its own checkpoint beside its data. Exactly-once in effect: a sink is handed what lies behind its checkpoint, each
record once, and each commit asserts the consumer's epoch, so of two consumers only the newer writes.

Reading begins where the first sink is. What it has accepted goes to the other sinks, each at its own pace: one that is slow, away or degraded
holds up neither the first nor its neighbours, and is brought up to date from the source (followers.py). A sink commits in steps of some seconds
at most (steps.py). What becomes of a record that a sink refuses, and of a sink that refuses everything, is committing.py's. What the
records mean is not this package's affair.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from exchange_platform.domain import records
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.process.memory import give_back
from exchange_platform.stores.checkpoints import StoreUnavailable, Superseded
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.signs import VitalSigns
from exchange_platform.streams.engine.backlog import Size
from exchange_platform.streams.engine.committing import RETRIES
from exchange_platform.streams.engine.condition import DEGRADED_LIMIT_S
from exchange_platform.streams.engine.figures import ConsumerFigures, WindowFigures
from exchange_platform.streams.engine.followers import GRACE_S, Followers
from exchange_platform.streams.engine.losses import LossWatch
from exchange_platform.streams.engine.meters import Committed
from exchange_platform.streams.engine.reader import DECODE, ShardReader
from exchange_platform.streams.engine.reports import ConsumerReport
from exchange_platform.streams.engine.sharing import WHOLE, Share
from exchange_platform.streams.engine.sink import FirstSink, Sink, suspected
from exchange_platform.streams.engine.source import ShardBatch, Source, StreamRecord, Unread
from exchange_platform.streams.engine.worker import LARGEST_STEP, SinkWorker

log = logging.getLogger(__name__)

T = TypeVar("T")

HEARTBEAT_S = 0.5
_DRAIN_S = 20.0
_LOOK_S = 0.2
_GC_THRESHOLDS = (50_000, 20, 50)
"""Tens of thousands of short-lived records a second would have the collector walk the heap many times a second."""
_GIVE_BACK_EVERY_S = 5.0


class Consumer:
    """One consumer of one source: `run` it once.

    `first` decides about each record and keeps the dead letters; `others` get what it accepted, side by side. `decode` makes a record of
    bytes, or raises `UndecodableRecord`; the sinks know what it makes. Constructing opens nothing
    in the stores' tables; `run` enters a new epoch and claims the shards of its `share`, which fences out any older consumer of them at once.
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
        self.source = source.name
        self.name = share.consumer_of(source.name)
        self.epoch = 0
        self.superseded = False
        self._source = source
        self._first = first
        self._sinks: list[Sink] = [first, *others]
        self._rows = rows
        self._run_id = run_id
        self._requested_at_us = requested_at_us
        self._duration_s = duration_s
        self._ends_at_s = 0.0
        self._report_interval_s = report_interval_s
        self._on_close = on_close
        self._clock = clock
        self._failure: BaseException | None = None
        self._wake = threading.Event()
        self._stopped = False
        self._ended = threading.Event()
        self._claimed = threading.Event()
        self._buried = 0
        self._buried_lock = threading.Lock()
        limit = Size(max_buffered_records, max_buffered_bytes)
        half, quarter = limit.part(2), limit.part(4)
        self._workers = {
            sink.name: SinkWorker(
                sink,
                source=source,
                clock=clock,
                bury=self._bury,
                convict=self._convict,
                acquit=self._acquit,
                on_done=self._on_done,
                on_failure=self._fail,
                on_claimed=self._on_claimed,
                is_at_tip=partial(self._is_at_tip, sink.name),
                degraded_limit_s=degraded_limit_s,
                largest_step=Size(
                    min(LARGEST_STEP.records, half.records), min(LARGEST_STEP.bytes, quarter.bytes)
                ),
            )
            for sink in self._sinks
        }
        losses = LossWatch(source.name, first, rows, clock)

        def unread(shard: str, hole: Unread) -> None:
            self._with_retries(partial(losses.unread, shard, hole))

        self._followers = Followers(
            [self._workers[sink.name] for sink in others],
            source=source,
            clock=clock,
            decode=decode,
            dead=self._dead_after,
            limit=limit,
            unread=unread,
        )
        self._progress = Committed(
            lambda: [worker.positions for worker in self._workers.values()],
            lambda: self._reader.listed,
            source.is_after,
        )
        self._reader = ShardReader(
            source,
            clock=clock,
            poll_interval_s=poll_interval_s,
            progress=self._progress,
            decode=decode,
            room=lambda: self._followers.has_room(self._workers[first.name].backlog.size),
            claim=self._claim,
            forward=self._workers[first.name].put,
            on_failure=self._fail,
            share=share,
            finished=lambda shards: self._with_retries(partial(first.finished, shards)),
            unread=unread,
            on_listed=lambda shards: self._with_retries(partial(losses.listed, shards)),
            reread=self._followers.reread,
        )
        self._figures = ConsumerFigures(
            source, first.name, self._workers, self._followers, self._reader, self._progress, windows, clock
        )
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def stop(self) -> None:
        """Let `run` end soon: what was read is committed first. May be called from any thread or signal handler."""
        self._stopped = True
        self._wake.set()

    def run(self) -> Iterator[ConsumerReport]:
        """Consume until the duration is over, `stop` is called or a newer consumer takes over, yielding reports.

        The last report is `final`. Closing the generator, or an exception thrown into it, ends the consumer as cleanly as `stop`.
        Raises whatever stopped it otherwise; nothing is lost then, as its successor reads on from the checkpoints.
        """
        began = self._clock.monotonic_s()
        now_us = self._figures.began_at_us = self._clock.now_us()
        self._ends_at_s = began + self._duration_s
        state = "failed"
        thresholds = gc.get_threshold()
        gc.set_threshold(*_GC_THRESHOLDS)
        gc.freeze()
        try:
            self.epoch = self._rows.begin(
                self.source,
                self._run_id,
                now_us=now_us,
                ends_at_us=now_us + int(self._duration_s * 1e6),
                name=self.name,
                requested_at_us=self._requested_at_us,
            )
            log.info("%s: consumer of epoch %d begins", self.name, self.epoch)
            for worker in self._workers.values():
                worker.start(self.epoch)
            self._reader.start()
            self._heart.start()
            reported = gave_back = began
            counted = dead = 0

            def told(*, final: bool = False) -> ConsumerReport:
                interval_s = self._clock.monotonic_s() - reported
                return self._figures.report(self.epoch, interval_s, counted, self._dead - dead, final=final)

            while not self._over(began):
                now = self._clock.monotonic_s()
                due = min(reported + self._report_interval_s, began + self._duration_s)
                self._clock.wait(self._wake, due - now)
                if self._wake.is_set() or self._over(began):
                    break
                report = told()
                reported, counted = self._clock.monotonic_s(), report.records_total
                if reported - gave_back >= _GIVE_BACK_EVERY_S:
                    give_back()
                    gave_back = reported
                dead += report.dead_letters  # not `self._dead`, which may have grown since
                yield report
            self._shut_down()
            if self._failure is not None:
                raise self._failure
            state = "superseded" if self.superseded else "ended"
            yield told(final=True)
        finally:
            self._shut_down()
            if self.epoch:
                self._say_ended(state if state != "failed" or self._failure is not None else "ended")
            self._source.close()
            self._on_close()
            gc.unfreeze()
            gc.set_threshold(*thresholds)

    def _over(self, began: float) -> bool:
        return (
            self._stopped
            or self.superseded
            or self._failure is not None
            or self._clock.monotonic_s() - began >= self._duration_s
        )

    def _shut_down(self) -> None:
        """Stop reading, let every sink commit what was read, first the one that the others depend on, and close them. Once.

        A sink may hold what its successor waits for, so that none stays open while the last report is dealt with.
        """
        if self._ended.is_set():
            return
        self._stopped = True
        self._reader.stop(_DRAIN_S)
        for worker in self._workers.values():
            if self.superseded or self._failure is not None:
                worker.abandon()
            else:
                worker.finish(_DRAIN_S)
        self._ended.set()
        if self._heart.ident is not None:
            self._heart.join(5)
        for sink in self._sinks:
            sink.close()

    # What the reader and the workers call.

    def _claim(self, shards: Sequence[str]) -> dict[str, str | None]:
        """Claim the shards in every sink; returns from where to read: up to where the first sink holds each.

        The first sink comes last: a claim in a lake takes a while, in which the older consumer's commits to the first go on. A follower whose
        store is away is not waited for longer than a while; its own thread claims them as soon as it can.
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
            if self._over(float("inf")):
                raise StoreUnavailable("the consumer ends before every sink is claimed")
        held = self._with_retries(partial(self._workers[self._first.name].claim, self.epoch, shards))
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

    def _on_claimed(self, sink: str, held: dict[str, str | None]) -> None:
        self._decide_suspects(sink, held)
        self._followers.claimed(sink, held)
        self._claimed.set()

    def _decide_suspects(self, sink: str, held: dict[str, str | None]) -> None:
        for shard, position in held.items():

            def is_passed(place: str, position: str | None = position) -> bool:
                return not self._source.is_after(place, position)

            self._with_retries(partial(self._first.decide_suspects, shard, sink, is_passed))

    def _is_at_tip(self, sink: str) -> bool:
        """Whether nothing is on its way to the sink."""
        if sink == self._first.name:
            return self._reader.at_tip
        return (
            self._reader.at_tip
            and not self._workers[self._first.name].backlog
            and not self._followers.is_behind(sink)
        )

    def _dead_after(self, shard: str, position: str | None, sink: str) -> set[tuple[str, int]]:
        """The dead letters that a sink is not to be handed: the first sink's, and its own."""
        dead: set[tuple[str, int]] = set()
        for stage in (DECODE, self._first.name, sink):
            for place in self._first.dead_places(shard, stage):
                if not self._source.is_after(place[0], position):
                    break
                dead.add(place)
        return dead

    def _with_retries(self, call: Callable[[], T]) -> T:
        """Call until the store is available, or the consumer ends."""
        tries = 0
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                tries += 1
                log.warning("%s", error)
                if self._over(float("inf")) or self._clock.wait(self._ended, RETRIES.pause_s(tries)):
                    raise

    def _on_done(self, sink: str, batches: Sequence[ShardBatch]) -> None:
        if sink == self._first.name:
            self._followers.accepted(batches)
        self._progress.settle()

    def _bury(self, shard: str, record: StreamRecord, sink: str, reason: str) -> None:
        record.bury(suspected(sink), reason)
        if sink != self._first.name:  # the first sink writes it with its commit
            self._with_retries(partial(self._first.bury, shard, [record]))

    def _convict(self, sink: str, shard: str, record: StreamRecord) -> None:
        self._with_retries(partial(self._first.convict, shard, [record]))
        if sink != self._first.name:
            with self._buried_lock:
                self._buried += 1

    def _acquit(self, _sink: str, shard: str, record: StreamRecord) -> None:
        """Take a suspected dead letter back; one that can't be now is decided about when the sink is claimed the next time."""
        try:
            self._first.acquit(shard, [record])
        except StoreUnavailable as error:
            log.warning("%s: a suspected dead letter stays for now: %s", self.source, error)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, Superseded):
            log.info("%s: epoch %d is superseded: %s", self.source, self.epoch, error)
            self.superseded = True
        elif isinstance(error, StoreUnavailable):
            log.warning("%s: ends while a store is away: %s", self.source, error)
            self._stopped = True
        elif self._failure is None:
            log.error("%s: %s: %s", self.source, type(error).__name__, error)
            self._failure = error
        self._wake.set()

    @property
    def _dead(self) -> int:
        return self._workers[self._first.name].dead + self._buried

    def _beat(self) -> None:
        while not self._clock.wait(self._ended, HEARTBEAT_S):
            try:
                self._rows.heartbeat(self.name, self.epoch, self._signs())
                holder = self._first.holder(list(self._reader.read_to))
                if holder > self.epoch:
                    self._fail(Superseded(f"epoch {holder} holds the shards"))
            except StoreUnavailable as error:
                log.debug("no heartbeat: %s", error)
            except Exception as error:
                self._fail(error)
                return

    def _say_ended(self, state: str) -> None:
        try:
            self._rows.heartbeat(self.name, self.epoch, self._signs(), state=state)
        except Exception as error:
            log.warning("%s: could not say that it ended: %s", self.source, error)

    def _signs(self) -> VitalSigns:
        return self._figures.vital_signs(self._ends_at_s)
