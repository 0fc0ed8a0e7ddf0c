"""The reading side of a consumer, on a clock that the test moves."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from exchange_platform.domain.records import decode
from exchange_platform.streams.engine.meters import Progress
from exchange_platform.streams.engine.owner import ReaderOwner
from exchange_platform.streams.engine.reader import ShardReader
from exchange_platform.streams.engine.sharing import WHOLE, Share
from exchange_platform.streams.engine.source import (
    HASHES,
    SHARD_END,
    PositionRefused,
    Read,
    Shard,
    ShardBatch,
    ShardsChanged,
    SourceUnavailable,
    Throttled,
)
from tests.support.memory_source import MemorySource
from tests.support.platform_parts import wait_for

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


class Reading(ReaderOwner):
    """A reader whose batches one sink commits at once, and every instant as of which it was said to be caught
    up.
    """

    def __init__(
        self,
        source: MemorySource,
        clock: MovedClock,
        *,
        share: Share = WHOLE,
        room: Callable[[], bool] = lambda: True,
        finished: Callable[[Sequence[str]], set[str]] = lambda _shards: set(),
        claim: Callable[[Sequence[str]], dict[str, str | None]] = dict.fromkeys,
    ) -> None:
        self.source = source
        self.room = room
        self._finished, self._claim = finished, claim
        self.troubles: list[str] = []
        self.behind_ms: dict[str, list[float]] = {}
        self.progress = Progress(["sink"])
        self.batches: list[ShardBatch] = []
        self.failures: list[BaseException] = []
        self.missing: list[tuple[str, int]] = []
        self.caught_up_at_us: list[int] = []
        self.reader = ShardReader(
            source,
            self,
            decode=decode,
            clock=clock,
            poll_interval_s=0.2,
            progress=self.progress,
            share=share,
        )
        self.reader.start()
        wait_for(clock.ended.is_set)
        self.reader.stop(10)
        assert self.failures == []

    def forward(self, batches: Sequence[ShardBatch]) -> None:
        self.batches.extend(batches)
        self.progress.done("sink", len(batches))

    def claim(self, shards: Sequence[str]) -> dict[str, str | None]:
        return self._claim(shards)

    def finished(self, shards: Sequence[str]) -> set[str]:
        return self._finished(shards)

    def fail(self, error: BaseException) -> None:
        self.failures.append(error)

    def has_room(self) -> bool:
        """Asked at the begin of each round: look whether what was said of the last one is true."""
        if isinstance(self.source, SlowSource):
            self.source.arrive()
        for shard, behind_ms in self.reader.behind_ms.items():
            self.behind_ms.setdefault(shard, []).append(behind_ms)
        self.troubles.append(self.reader.last_error)
        said = self.progress.caught_up_at_us
        if said is not None:
            self.caught_up_at_us.append(said)
            read = {(batch.shard, record.position) for batch in self.batches for record in batch.records}
            for shard, entries in self.source.lists.items():
                for place, (_, arrived_at_us) in enumerate(entries, 1):
                    if arrived_at_us < said and (shard, str(place)) not in read:
                        self.missing.append((shard, place))
        return self.room()


class RefusingSource(MemorySource):
    """A source that counts its calls and refuses reads of a shard, or listings, while it is told to."""

    def __init__(self, clock: MovedClock, *, shards: int = 2) -> None:
        super().__init__(shards=shards)
        self.clock = clock
        self.listed_s: list[float] = []
        self.read_s: dict[str, list[float]] = {}
        self.refuse: dict[str, Callable[[], Exception | None]] = {}
        """By shard, or `list`."""

    def shards(self) -> Sequence[Shard]:
        self.listed_s.append(self.clock.time_s)
        self._refuse("list")
        return super().shards()

    def read(self, shard: str) -> Read:
        self.read_s.setdefault(shard, []).append(self.clock.time_s)
        self._refuse(shard)
        return super().read(shard)

    def _refuse(self, what: str) -> None:
        error = self.refuse[what]() if what in self.refuse else None
        if error is not None:
            raise error


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


def test_a_throttled_shard_holds_up_no_other() -> None:
    clock = MovedClock(ends_s=31.0)
    source = RefusingSource(clock)
    source.put(b"any", shard="shard-1")
    source.refuse["shard-0"] = lambda: Throttled("shard-0 throttled", retry_after_s=5.0)
    reading = Reading(source, clock)
    assert len(source.read_s["shard-1"]) >= 140
    assert 5 <= len(source.read_s["shard-0"]) <= 7
    assert len(source.listed_s) <= 4
    assert set(reading.troubles[1:]) == {"shard-0 throttled"}
    assert [batch.shard for batch in reading.batches] == ["shard-1"]
    assert not reading.reader.at_tip
    assert reading.caught_up_at_us == []


def test_the_lag_of_a_shard_that_can_not_be_read_grows_with_the_time() -> None:
    clock = MovedClock(ends_s=31.0)
    source = RefusingSource(clock)
    source.refuse["shard-0"] = lambda: (
        Throttled("shard-0 throttled", retry_after_s=1.0) if clock.time_s > 10 else None
    )
    reading = Reading(source, clock)
    assert reading.behind_ms["shard-0"] == sorted(reading.behind_ms["shard-0"])
    assert 18_000 < reading.behind_ms["shard-0"][-1] < 21_500
    assert set(reading.behind_ms["shard-1"]) == {0.0}


def test_a_shard_that_is_no_longer_throttled_catches_up() -> None:
    clock = MovedClock(ends_s=20.0)
    source = RefusingSource(clock)
    source.put(b"any", shard="shard-0")
    source.refuse["shard-0"] = lambda: (
        Throttled("shard-0 throttled", retry_after_s=1.0) if clock.time_s < 10 else None
    )
    reading = Reading(source, clock)
    assert [batch.shard for batch in reading.batches] == ["shard-0"]
    assert reading.reader.last_error == ""
    assert min(reading.caught_up_at_us) > START_US + 9_900_000
    assert reading.reader.at_tip


def test_a_throttled_listing_waits_alone_while_the_known_shards_are_read() -> None:
    clock = MovedClock(ends_s=61.0)
    source = RefusingSource(clock)
    source.refuse["list"] = lambda: (
        Throttled("listing throttled", retry_after_s=20.0) if clock.time_s > 2 else None
    )
    reading = Reading(source, clock)
    assert len(source.listed_s) <= 4
    assert all(len(read_s) > 250 for read_s in source.read_s.values())
    assert reading.reader.last_error == "listing throttled"
    assert not reading.reader.at_tip


def test_a_throttled_first_listing_is_waited_for_and_nothing_is_asked_meanwhile() -> None:
    clock = MovedClock(ends_s=20.0)
    source = RefusingSource(clock)
    source.refuse["list"] = lambda: (
        Throttled("listing throttled", retry_after_s=4.0) if clock.time_s < 10 else None
    )
    reading = Reading(source, clock)
    assert len(source.listed_s) == 4
    assert min(min(read_s) for read_s in source.read_s.values()) > 10
    assert reading.reader.at_tip


def test_a_shard_that_says_for_ever_that_it_changed_has_the_shards_listed_seldom_and_holds_up_no_other() -> (
    None
):
    clock = MovedClock(ends_s=61.0)
    source = RefusingSource(clock)
    source.refuse["shard-0"] = lambda: ShardsChanged("shard-0 is no more")
    reading = Reading(source, clock)
    assert len(source.listed_s) <= 15
    assert len(source.read_s["shard-1"]) > 250
    assert reading.reader.last_error == "shard-0 is no more"
    assert reading.behind_ms["shard-0"][-1] > 50_000


def test_pauses_for_want_of_room_have_the_shards_listed_only_when_they_are_long() -> None:
    clock = MovedClock(ends_s=31.0)
    source = RefusingSource(clock)
    Reading(source, clock, room=lambda: int(clock.time_s * 2) % 2 == 0)
    assert len(source.listed_s) <= 4
    clock = MovedClock(ends_s=31.0)
    source = RefusingSource(clock)
    Reading(source, clock, room=lambda: int(clock.time_s / 3) % 2 == 0)
    assert 5 <= len(source.listed_s) <= 8


def test_after_a_long_pause_no_shard_is_read_before_the_shards_are_listed() -> None:
    clock = MovedClock(ends_s=20.0)
    source = RefusingSource(clock)
    Reading(source, clock, room=lambda: not 5 <= clock.time_s < 7)
    after = [read_s for read_s in source.read_s["shard-0"] if read_s >= 7]
    assert any(7 <= listed_s <= after[0] for listed_s in source.listed_s)


def test_who_waits_for_anothers_parent_asks_the_database_and_not_the_stream() -> None:
    clock = MovedClock(ends_s=31.0)
    asked_s: list[float] = []

    class CountingHalves(Halves):
        listings = 0

        def shards(self) -> Sequence[Shard]:
            self.listings += 1
            return super().shards()

    def finished(_shards: Sequence[str]) -> set[str]:
        asked_s.append(clock.time_s)
        return {"shard-0"} if clock.time_s > 25 else set()

    source = CountingHalves()
    source.put(b"any", shard="merged")
    reading = Reading(source, clock, share=Share(1, 2), finished=finished)
    assert source.listings <= 5
    assert len(asked_s) > 40
    assert [batch.shard for batch in reading.batches] == ["shard-1", "shard-1", "merged"]
    assert reading.reader.at_tip


def test_children_that_are_not_listed_yet_keep_it_from_being_caught_up() -> None:
    clock = MovedClock(ends_s=60.0)

    class Resharded(RefusingSource):
        """Its one open shard is split again and again, each time with a record in the child; a sibling stays
        at its tip.
        """

        def read(self, shard: str) -> Read:
            number = len(self.lists)
            if shard == f"shard-{number - 1}" and self.clock.time_s > number:
                child = f"shard-{number}"
                self.reshard(shard, [child])
                self.put(b"any", shard=child, arrived_at_us=self.clock.now_us())
            return super().read(shard)

    reading = Reading(Resharded(clock, shards=2), clock)
    assert len(reading.batches) > 12
    assert reading.missing == []
    assert len(reading.source.lists) > 6


def test_a_refused_position_is_an_error_that_holds_up_no_other_shard_until_somebody_sets_it_back() -> None:
    clock = MovedClock(ends_s=60.0)
    source = RefusingSource(clock)
    source.put(b"any", shard="shard-0")
    source.put(b"any", shard="shard-1")
    held: dict[str, str | None] = {"shard-0": "999", "shard-1": None}

    def refused() -> Exception | None:
        if source.at("shard-0") == 999:
            return PositionRefused("shard-0 refuses position 999", retry_after_s=5.0)
        return None

    source.refuse["shard-0"] = refused

    def claim(shards: Sequence[str]) -> dict[str, str | None]:
        if clock.time_s > 30:
            held["shard-0"] = None
        return {shard: held[shard] for shard in shards}

    reading = Reading(source, clock, claim=claim)
    assert len(source.read_s["shard-1"]) > 250
    assert len(source.listed_s) <= 7
    while_refused = [text for text in reading.troubles if text]
    assert set(while_refused) == {"shard-0 refuses position 999"}
    assert max(reading.behind_ms["shard-0"]) > 20_000
    assert [batch.shard for batch in reading.batches] == ["shard-1", "shard-0"]
    assert reading.reader.last_error == ""
    assert reading.reader.at_tip
