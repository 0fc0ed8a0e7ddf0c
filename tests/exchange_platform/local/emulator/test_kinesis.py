"""Streams of the emulator whose shards are split and merged while others put, as Kinesis has it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import moto.kinesis.models
import pytest

from exchange_platform.local.emulator import kinesis as emulated_kinesis

RESHARDS = 60
PRODUCERS = 3


@pytest.fixture
def stream() -> Iterator[Any]:
    """A stream of one shard, while threads take turns as often as they can."""
    emulated_kinesis.install()
    models: Any = moto.kinesis.models
    stream = models.Stream("s", 1, None, 24, "123456789012", "eu-west-1")
    stream.init_shards(1)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield stream
    sys.setswitchinterval(interval_s)


def reshard(stream: Any) -> list[Any]:
    """Split the only open shard, or merge the two; returns what was closed."""
    closing = [shard for shard in stream.shards.values() if shard.is_open]
    if len(closing) == 1:
        stream.split_shard(closing[0].shard_id, str(2**127))
    else:
        stream.merge_shards(closing[0].shard_id, closing[1].shard_id)
    return closing


def test_what_is_put_amid_splits_and_merges_is_kept_and_nothing_comes_after_a_shards_end(stream: Any) -> None:
    acknowledged: list[tuple[str, str, str]] = []
    ended, one_more = threading.Event(), threading.Event()

    def produce(own: int) -> None:
        while not ended.is_set():
            data = f"{own}/{len(acknowledged)}"
            sequence_number, shard = stream.put_record(data, "", data)
            acknowledged.append((shard, sequence_number, data))
            one_more.set()

    producers = [threading.Thread(target=produce, args=(own,), daemon=True) for own in range(PRODUCERS)]
    for producer in producers:
        producer.start()
    closed: list[tuple[Any, int]] = []
    for _ in range(RESHARDS):
        closed += [(shard, len(shard.records)) for shard in reshard(stream)]
        one_more.clear()
        assert one_more.wait(5), "no put is acknowledged any more"
    ended.set()
    for producer in producers:
        producer.join()
    held = {
        (shard.shard_id, str(number), record.data)
        for shard in stream.shards.values()
        for number, record in shard.records.items()
    }
    assert held == set(acknowledged)
    assert [len(shard.records) for shard, _ in closed] == [size for _, size in closed]
