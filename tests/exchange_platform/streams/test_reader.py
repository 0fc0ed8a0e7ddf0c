"""The reading side of a consumer, on a clock that the test moves."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from exchange_platform.records import decode
from exchange_platform.streams.meters import Progress
from exchange_platform.streams.reader import ShardReader
from exchange_platform.streams.sharing import WHOLE, Share
from exchange_platform.streams.source import (
    HASHES,
    SHARD_END,
    Read,
    Shard,
    ShardBatch,
    SourceUnavailable,
)
from tests.memory_source import MemorySource
from tests.platform_parts import wait_for

START_US = 1_800_000_000_000_000


class MovedClock:
    """Moves on by what is waited; at its end it stops whoever waits."""

    def __init__(self, ends_s: float) -> None:
        self.time_s = 1.0
        self.ends_s = ends_s
        self.ended = threading.Event()

    def now_us(self) -> int:
        return START_US + round(self.time_s * 1e6)

    def monotonic_s(self) -> float:
        return self.time_s

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        self.time_s += max(0.0, timeout_s)
        if self.time_s >= self.ends_s:
            wake.set()
            self.ended.set()
        return wake.is_set()


class SlowSource(MemorySource):
    """A source whose reads take time, while records keep arriving."""

    def __init__(self, clock: MovedClock, *, shards: int, seed: int) -> None:
        super().__init__(shards=shards)
        self.clock = clock
        self.chance = random.Random(seed)
        self.read_at_us: dict[str, list[int]] = {shard: [] for shard in self.lists}
        self._next_s = 0.0

    def read(self, shard: str) -> Read:
        self.arrive()
        self.read_at_us[shard].append(self.clock.now_us())
        if self.chance.random() < 0.05:
            raise SourceUnavailable("for once", retry_after_s=self.chance.choice([0.0, 0.3]))
        read = super().read(shard)
        self.clock.time_s += self.chance.choice([0.0, 0.001, 0.07])
        return read

    def arrive(self) -> None:
        """Put what has arrived by now, one record every 30 ms or so."""
        while self._next_s <= self.clock.time_s:
            arrived_at_us = START_US + round(self._next_s * 1e6)
            self.put(b"any", shard=self.chance.choice(sorted(self.lists)), arrived_at_us=arrived_at_us)
            self._next_s += self.chance.uniform(0.0, 0.06)


class Reading:
    """A reader whose batches one sink commits at once, and every instant as of which it was said to be caught up."""

    def __init__(self, source: MemorySource, clock: MovedClock, *, share: Share = WHOLE) -> None:
        self.source = source
        self.progress = Progress(["sink"])
        self.batches: list[ShardBatch] = []
        self.failures: list[BaseException] = []
        self.missing: list[tuple[str, int]] = []
        self.caught_up_at_us: list[int] = []
        self.reader = ShardReader(
            source,
            decode=decode,
            clock=clock,
            poll_interval_s=0.2,
            progress=self.progress,
            room=self._room,
            claim=lambda shards: dict.fromkeys(shards),
            hand_on=self._hand_on,
            on_failure=self.failures.append,
            share=share,
        )
        self.reader.start()
        wait_for(clock.ended.is_set)
        self.reader.stop(10)
        assert self.failures == []

    def _hand_on(self, batches: Sequence[ShardBatch]) -> None:
        self.batches.extend(batches)
        self.progress.done("sink", len(batches))

    def _room(self) -> bool:
        """Asked at the begin of each round: look whether what was said of the last one is true."""
        if isinstance(self.source, SlowSource):
            self.source.arrive()
        said = self.progress.caught_up_at_us
        if said is not None:
            self.caught_up_at_us.append(said)
            read = {(batch.shard, record.position) for batch in self.batches for record in batch.records}
            for shard, entries in self.source.lists.items():
                for place, (_, arrived_at_us) in enumerate(entries, 1):
                    if arrived_at_us < said and (shard, str(place)) not in read:
                        self.missing.append((shard, place))
        return True


class Halves(MemorySource):
    """A stream of two equal shards, which were merged."""

    hashes: ClassVar = {
        "shard-0": (0, HASHES // 2 - 1),
        "shard-1": (HASHES // 2, HASHES - 1),
        "merged": (0, HASHES - 1),
    }

    def __init__(self) -> None:
        super().__init__(shards=2)
        for shard in ("shard-0", "shard-1"):
            self.put(b"any", shard=shard)
            self.reshard(shard, ["merged"])

    def shards(self) -> Sequence[Shard]:
        return [replace(shard, hashes=self.hashes[shard.name]) for shard in super().shards()]


@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_caught_up_as_of_an_instant_only_with_all_that_had_arrived_by_then(
    shards: int, seed: int
) -> None:
    clock = MovedClock(ends_s=60.0)
    reading = Reading(SlowSource(clock, shards=shards, seed=seed), clock)
    assert reading.missing == []
    assert len(set(reading.caught_up_at_us)) > 100
    assert reading.caught_up_at_us == sorted(reading.caught_up_at_us)


def test_no_shard_is_read_more_often_than_its_service_allows() -> None:
    clock = MovedClock(ends_s=30.0)
    source = SlowSource(clock, shards=4, seed=1)
    Reading(source, clock)
    for instants in source.read_at_us.values():
        assert len(instants) > 50
        gaps = [later - earlier for earlier, later in itertools.pairwise(instants)]
        assert min(gaps) >= 199_999


def test_whom_a_merge_left_without_an_open_shard_is_caught_up() -> None:
    clock = MovedClock(ends_s=20.0)
    source, share = Halves(), Share(0, 2)
    assert [shard.name for shard in source.shards() if share.has(shard)] == ["shard-0"]
    reading = Reading(source, clock, share=share)
    assert [batch.position for batch in reading.batches] == ["1", SHARD_END]
    assert reading.reader.at_tip
    assert reading.caught_up_at_us[-1] > START_US + 19_000_000


def test_who_waits_for_a_parent_that_another_has_not_finished_is_not_caught_up() -> None:
    clock = MovedClock(ends_s=20.0)
    reading = Reading(Halves(), clock, share=Share(1, 2))
    assert [batch.shard for batch in reading.batches] == ["shard-1", "shard-1"]
    assert not reading.reader.at_tip
    assert reading.caught_up_at_us == []
