"""One sink's worker: gathers batches, commits them, retries, isolates a record that can't be written. One thread a sink."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from exchange_platform.back_off import BackOff
from exchange_platform.clock import Clock
from exchange_platform.stores.checkpoints import Advance, StoreUnavailable, Superseded
from exchange_platform.streams.meters import SinkMeter
from exchange_platform.streams.sink import Sink
from exchange_platform.streams.source import ShardBatch, Source, StreamRecord

log = logging.getLogger(__name__)

TICK_S = 1.0
_MOST_RECORDS = 20_000
RETRIES = BackOff(first_s=0.1, max_s=5.0)
"""Between tries of a store that is away: twice as long each time, up to some seconds, for ever."""


class _Abandoned(Exception):
    """The consumer is ending and the store is still unavailable: what is left will be read again."""


class SinkWorker:
    """Commits to one sink, in order, what it is handed.

    While the store is unavailable it keeps the batch, tries again with back-off and takes no more, so its queue fills and the
    reader stops. An error of any other kind is traced to a record by halving the batch; that record is buried.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        source: Source,
        clock: Clock,
        bury: Callable[[str, StreamRecord, str, str], None],
        on_done: Callable[[str, Sequence[ShardBatch]], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.sink = sink
        self.meter = SinkMeter()
        self.trouble = ""
        self.positions: dict[str, str | None] = {}
        self.dead_before: dict[str, set[tuple[str, int]]] = {}
        self.dead = 0
        self._epoch = 0
        self._source = source
        self._clock = clock
        self._bury = bury
        self._on_done = on_done
        self._on_failure = on_failure
        self._queue: deque[ShardBatch] = deque()
        self._lock = threading.Lock()
        self._sink_in_use = (
            threading.Lock()
        )  # sinks are for one thread at a time, and the reader claims in its own
        self._queued = 0
        self._wake = threading.Event()
        self._enough = threading.Event()
        self._finishing = threading.Event()
        self._abandon = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sink-{sink.name}", daemon=True)

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Claim shards in the sink, from any thread; returns up to where it holds them. Errors as `Sink.claim`."""
        with self._sink_in_use:
            held = self.sink.claim(epoch, shards)
            self.positions.update(held)
        return held

    def start(self, epoch: int) -> None:
        """Begin to commit, as this epoch."""
        self._epoch = epoch
        self._thread.start()

    def put(self, batches: Iterable[ShardBatch]) -> None:
        """Hand over batches, in order."""
        with self._lock:
            for batch in batches:
                self._queue.append(batch)
                self._queued += len(batch.records)
            if self._queued >= self.sink.enough_records:
                self._enough.set()
        self._wake.set()

    def finish(self, timeout_s: float) -> bool:
        """Commit what was handed over and end; what an unavailable store can't take in time is left. Says whether all was committed."""
        self._finishing.set()
        self._enough.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            self._abandon.set()
            self._wake.set()
            self._thread.join(10)
        return not self._queue and not self._thread.is_alive()

    def abandon(self) -> None:
        """End without committing any more."""
        self._abandon.set()
        self.finish(0)

    def _run(self) -> None:
        try:
            while not self._abandon.is_set():
                batches = self._gather()
                if batches:
                    self._commit_isolating(batches)
                    self._on_done(self.sink.name, batches)
                elif self._finishing.is_set():
                    return
                self._tick()
        except _Abandoned:
            log.warning("%s: ended with uncommitted batches, which will be read again", self.sink.name)
        except BaseException as error:
            self._on_failure(error)

    def _gather(self) -> list[ShardBatch]:
        """Batches to commit now: what has come within the sink's interval, up to a size."""
        if not self._queue and not self._finishing.is_set():
            self._wake.clear()
            if not self._queue:
                self._clock.wait(self._wake, TICK_S)
        if self._queue and self.sink.interval_s and not self._finishing.is_set():
            self._clock.wait(self._enough, self.sink.interval_s)
        batches: list[ShardBatch] = []
        size, most = 0, max(_MOST_RECORDS, self.sink.enough_records)
        with self._lock:
            while self._queue and size < most:
                batch = self._queue.popleft()
                batches.append(batch)
                size += len(batch.records)
            self._queued -= size
            if self._queued < self.sink.enough_records and not self._finishing.is_set():
                self._enough.clear()
        return batches

    def _tick(self) -> None:
        if not self.positions:
            return  # nothing is claimed yet
        try:
            with self._sink_in_use:
                self.sink.tick(self._epoch)
        except StoreUnavailable as error:
            self.trouble = str(error)
            self.meter.retried()
            log.warning("%s: %s", self.sink.name, error)
            self._clock.wait(self._finishing, RETRIES.first_s)

    def _commit_isolating(self, batches: Sequence[ShardBatch]) -> None:
        try:
            self._commit(batches)
        except (StoreUnavailable, _Abandoned):
            raise
        except Exception as error:
            if is_final(error):
                raise
            alive = sum(1 for batch in batches for record in batch.records if record.record is not None)
            if alive == 0:
                raise
            if alive == 1:
                (batch, record) = next(
                    (batch, record)
                    for batch in batches
                    for record in batch.records
                    if record.record is not None
                )
                reason = f"{type(error).__name__}: {error}"
                log.warning(
                    "%s refuses record %s/%s: %s", self.sink.name, batch.shard, record.position, reason
                )
                self._bury(batch.shard, record, self.sink.name, reason[:2000])
                self._commit(batches)
                return
            for half in _halves(batches):
                self._commit_isolating(half)

    def _commit(self, batches: Sequence[ShardBatch]) -> None:
        fresh = [batch for batch in map(self._without_known, batches) if batch is not None]
        if not fresh:
            return
        advances: dict[str, Advance] = {}
        for batch in fresh:
            first = advances.get(batch.shard)
            expected = first.expected if first is not None else self.positions[batch.shard]
            advances[batch.shard] = Advance(batch.shard, expected, batch.position)
        steps = list(advances.values())
        tries = 0
        while True:
            began = self._clock.monotonic_s()
            try:
                with self._sink_in_use:
                    done = self.sink.commit(self._epoch, fresh, steps)
                break
            except StoreUnavailable as error:
                tries += 1
                self.trouble = str(error)
                self.meter.retried()
                if tries == 1 or tries % 20 == 0:
                    log.warning("%s (try %d): %s", self.sink.name, tries, error)
                if self._clock.wait(self._abandon, RETRIES.pause_s(tries)):
                    raise _Abandoned from error
        self.trouble = ""
        self.dead += done.dead
        for step in steps:
            self.positions[step.shard] = step.position
        self.meter.committed(
            fresh, done, seconds=self._clock.monotonic_s() - began, now_us=self._clock.now_us()
        )

    def _without_known(self, batch: ShardBatch) -> ShardBatch | None:
        """The batch without what the sink holds already; None if that is all of it."""
        held = self.positions[batch.shard]
        if held is None or (batch.records and self._source.is_after(batch.records[0].position, held)):
            return batch
        dead = self.dead_before.get(batch.shard)
        if dead:
            for record in batch.records:
                if record.record is not None and (record.position, record.part) in dead:
                    record.bury("", "dead already")
        if batch.position is None or not self._source.is_after(batch.position, held):
            return None
        fresh = [record for record in batch.records if self._source.is_after(record.position, held)]
        return ShardBatch(batch.shard, held, batch.position, fresh)


def is_final(error: BaseException) -> bool:
    """Whether the error ends the consumer instead of blaming a record."""
    return isinstance(error, Superseded | MemoryError)


def _halves(batches: Sequence[ShardBatch]) -> Iterable[list[ShardBatch]]:
    """The batches in two halves by records, in order. A half that ends inside an aggregated record does not advance past it."""
    total = sum(len(batch.records) for batch in batches)
    left: list[ShardBatch] = []
    right: list[ShardBatch] = []
    room = total // 2
    for batch in batches:
        if right or room == 0:
            right.append(batch)
        elif len(batch.records) <= room:
            left.append(batch)
            room -= len(batch.records)
        else:
            first, second = _split(batch, room)
            left.append(first)
            right.append(second)
            room = 0
    return [half for half in (left, right) if half]


def _split(batch: ShardBatch, size: int) -> tuple[ShardBatch, ShardBatch]:
    first, second = batch.records[:size], batch.records[size:]
    reached = batch.previous
    following = second[0].position
    for record in reversed(first):
        if record.position != following:
            reached = record.position
            break
    return (
        ShardBatch(batch.shard, batch.previous, reached, first),
        ShardBatch(batch.shard, reached, batch.position, second),
    )
