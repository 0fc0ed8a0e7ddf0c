"""A sink's worker: who may call the sink, and when."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from exchange_platform.stores.checkpoints import Advance
from exchange_platform.streams.engine.owner import WorkerOwner
from exchange_platform.streams.engine.sink import SinkCommit
from exchange_platform.streams.engine.source import ShardBatch, StreamRecord
from exchange_platform.streams.engine.worker import SinkWorker
from tests.exchange_platform.streams.engine_parts import HastyClock
from tests.support.memory_source import MemorySource
from tests.support.platform_parts import wait_for


class JealousSink:
    """Notes every call that begins while another one has not ended."""

    name = "jealous"
    interval_s = 0.0
    enough_records = 1

    def __init__(self) -> None:
        self.overlaps: list[str] = []
        self.ticks = 0
        self._busy = threading.Lock()
        self._never = threading.Event()

    def _use(self, what: str, seconds: float) -> None:
        if not self._busy.acquire(blocking=False):
            self.overlaps.append(what)
            return
        self._never.wait(seconds)
        self._busy.release()

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        self._use("claim", 0.3)
        return dict.fromkeys(shards)

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        self._use("commit", 0.05)
        return SinkCommit(sum(len(batch.records) for batch in batches))

    def tick(self, epoch: int) -> None:
        self._use("tick", 0.05)
        self.ticks += 1

    def close(self) -> None:
        pass


class Owner(WorkerOwner):
    """Of one sink, which refuses nothing."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []

    def bury(self, shard: str, record: StreamRecord, sink: str, reason: str) -> None:
        raise AssertionError(reason)

    def done(self, sink: str, batches: Sequence[ShardBatch]) -> None:
        pass

    def fail(self, error: BaseException) -> None:
        self.failures.append(error)


def test_a_sink_is_used_by_one_thread_at_a_time_and_not_before_it_is_claimed() -> None:
    sink = JealousSink()
    owner = Owner()
    worker = SinkWorker(sink, owner, source=MemorySource(), clock=HastyClock())
    worker.start(1)
    for shard in (
        "shard-0",
        "shard-1",
        "shard-2",
    ):  # the reader claims new shards while the worker is at work
        worker.claim(1, [shard])
        worker.put([ShardBatch(shard, None, "1", [StreamRecord("1", 0, "", b"", 0)])])
    wait_for(lambda: list(worker.positions.values()) == ["1", "1", "1"] and sink.ticks > 2)
    assert worker.finish(10)
    assert not sink.overlaps
    assert not owner.failures
