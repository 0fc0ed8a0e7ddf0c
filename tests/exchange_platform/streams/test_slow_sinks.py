"""A sink that is slow, away or broken holds up nobody but itself, in bounded memory, and every record still
reaches it once.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from exchange_platform.domain.records import encode
from exchange_platform.operations.checks import consumer_alive
from exchange_platform.operations.status import StatusReader
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import Advance, StoreUnavailable
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow
from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.streams.engine.sink import Sink, SinkCommit
from exchange_platform.streams.engine.source import Read, ShardBatch, StreamRecord
from exchange_platform.streams.engine.steps import MIN_STEP, STEP_S
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.streams.engine_parts import (
    Gate,
    Platform,
    RecordingSink,
    Running,
    new_platform,
    of_a_user,
    poisoned_by,
)
from tests.support.memory_source import MemorySource


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with new_platform(tmp_path) as platform:
        yield platform


def consumer_of(platform: Platform, source: MemorySource, others: Sequence[Sink], **choices: Any) -> Consumer:
    chosen = {"duration_s": 100_000.0, "max_buffered_records": 400, **choices}
    return Consumer(
        source=source,
        first=choices.pop("first", None) or platform.first(),
        others=others,
        rows=platform.rows,
        run_id="test",
        report_interval_s=2.0,
        clock=platform.clock,
        **{name: value for name, value in chosen.items() if name != "first"},
    )


def filled(records: int, *, read_limit: int = 100) -> MemorySource:
    source = MemorySource(read_limit=read_limit)
    for number in range(records):
        source.put(of_a_user(number), arrived_at_us=time.time_ns() // 1000)
    return source


def wanted(source: MemorySource) -> Counter[tuple[str, str, int]]:
    return Counter(
        (shard, str(place), 0)
        for shard, entries in source.lists.items()
        for place in range(1, len(entries) + 1)
    )


def newest(platform: Platform) -> ConsumerRow:
    row = platform.rows.newest(EXCHANGE_BETS)
    assert row is not None
    return row


def bets(platform: Platform) -> int:
    return len(platform.table("bets"))


class Stuck:
    """A store that does not answer until it is let go."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.is_stuck = threading.Event()

    def __call__(self, records: Sequence[StreamRecord]) -> None:
        self.is_stuck.set()
        assert self.may_go_on.wait(60)


def test_a_stuck_sink_stops_neither_the_first_nor_its_neighbour_and_gets_everything_later(
    platform: Platform,
) -> None:
    source = filled(3_000)
    stuck, quick = RecordingSink("stuck"), RecordingSink("quick")
    held = stuck.before = Stuck()
    running = Running(consumer_of(platform, source, [stuck, quick]))
    running.until(lambda: bets(platform) == 3_000 and len(quick.store.written) == 3_000, "the others")
    assert stuck.store.written == []
    held.may_go_on.set()
    since_us = platform.clock.now_us()
    running.until(lambda: platform.is_caught_up(since_us), "caught up")
    running.stop()
    for sink in (stuck, quick):
        assert Counter(sink.store.places()) == wanted(source)
        assert [int(position) for _, position, _ in sink.store.places()] == list(range(1, 3_001))
    assert {row["version"] for row in platform.table("profiles")} == {1}


def test_a_store_that_stays_away_stops_the_operational_database_only_for_a_moment(
    platform: Platform,
) -> None:
    source = filled(2_000)
    away, gate = RecordingSink("away"), Gate()
    away.before = gate
    running = Running(consumer_of(platform, source, [away]))
    running.until(lambda: bets(platform) == 2_000, "the first sink")
    gate.is_open = True
    since_us = platform.clock.now_us()
    running.until(lambda: platform.is_caught_up(since_us), "caught up")
    running.stop()
    assert Counter(away.store.places()) == wanted(source)


@pytest.mark.parametrize("error", [StoreUnavailable("the lake is away"), PermissionError("denied")])
def test_a_sink_that_can_not_be_claimed_does_not_keep_the_first_from_reading(
    platform: Platform, error: Exception
) -> None:
    source = filled(300)
    follower = Unclaimable(error)
    running = Running(consumer_of(platform, source, [follower]))
    running.until(lambda: bets(platform) == 300, "the first sink")
    assert any(str(error) in text for text in newest(platform).statistics.trouble)
    assert newest(platform).caught_up_at_us is None
    follower.is_claimable = True
    since_us = platform.clock.now_us()
    running.until(lambda: platform.is_caught_up(since_us), "caught up")
    running.stop()
    assert Counter(follower.store.places()) == wanted(source)


class Unclaimable(RecordingSink):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.is_claimable = False

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        if not self.is_claimable:
            raise self.error
        return super().claim(epoch, shards)


def test_dead_letters_reach_no_sink_that_reads_again_and_the_children_of_a_shard_come_after_it(
    platform: Platform,
) -> None:
    source = filled(600)
    refused, own = b"not a record", encode(of_a_user(250))
    source.put(refused)
    source.reshard("shard-0", ["left", "right"])
    for number in range(600, 1_200):
        source.put(of_a_user(number), shard="left" if number % 2 else "right")
    stuck = RecordingSink("stuck")
    held = Stuck()
    poison = poisoned_by(own)

    def before(records: Sequence[StreamRecord]) -> None:
        held(records)
        poison(records)

    stuck.before = before
    running = Running(consumer_of(platform, source, [stuck]))
    running.until(lambda: bets(platform) == 1_200, "the first sink")
    held.may_go_on.set()
    since_us = platform.clock.now_us()
    running.until(lambda: platform.is_caught_up(since_us), "caught up")
    running.stop()
    assert Counter(data for _, data in stuck.store.written) == Counter(
        encode(of_a_user(number)) for number in range(1_200) if number != 250
    )
    order = [shard for shard, _, _ in stuck.store.places()]
    assert "shard-0" not in order[599:]
    assert {(row["stage"], row["data"]) for row in platform.table("dead_letters")} == {
        ("decode", refused),
        ("stuck", own),
    }


def test_a_sink_that_is_behind_and_dies_with_its_run_goes_on_from_its_own_checkpoint(
    platform: Platform,
) -> None:
    source = filled(2_000)
    slow = RecordingSink("slow")

    def after_500(records: Sequence[StreamRecord]) -> None:
        if len(slow.store.written) >= 500:
            raise StoreUnavailable("for the successor")

    slow.before = after_500
    running = Running(consumer_of(platform, source, [slow]))
    running.until(lambda: bets(platform) == 2_000)
    running.consumer.superseded = True  # the shortest way to end without draining
    running.stop()
    assert 500 <= len(slow.store.written) < 2_000
    first, successor = platform.first(), RecordingSink("slow", store=slow.store)
    running = Running(consumer_of(platform, source, [successor], first=first))
    since_us = platform.clock.now_us()
    running.until(lambda: platform.is_caught_up(since_us), "caught up")
    running.stop()
    assert Counter(slow.store.places()) == wanted(source)
    assert first.committed == []  # nothing is read again for the first sink


# Memory.


class Watched(MemorySource):
    """Counts the bytes that were read."""

    def __init__(self) -> None:
        super().__init__(read_limit=10)
        self.read_bytes = 0

    def read(self, shard: str) -> Read:
        read = super().read(shard)
        self.read_bytes += sum(len(record.data) for record in read.records)
        return read


def test_large_records_are_bounded_by_their_bytes(platform: Platform) -> None:
    source = Watched()
    for _ in range(600):
        source.put(b"x" * 100_000)  # undecodable, so they go to the dead letters: what counts is their size
    first, gate = platform.first(), Gate()
    first.before = gate
    running = Running(
        consumer_of(
            platform,
            source,
            [],
            first=first,
            max_buffered_records=80_000,
            max_buffered_bytes=4_000_000,
        )
    )
    running.until(lambda: gate.refused > 3, "blocked")
    assert source.read_bytes <= 4_000_000 + 10 * 100_000  # the limit, and the read that passes it
    since_us = platform.clock.now_us()
    gate.is_open = True
    running.until(lambda: platform.is_caught_up(since_us), "caught up")
    running.stop()
    assert len(platform.table("dead_letters")) == 600


# The steps, and what is said meanwhile.


class SlowView:
    """Takes its time for each user, as a view that is written item by item does; the time is the
    clock's own.
    """

    name = "profile_view"
    interval_s = 0.4
    enough_records = 20_000

    def __init__(self, clock: Any, seconds_a_user: float) -> None:
        self.clock = clock
        self.seconds_a_user = seconds_a_user
        self.steps: list[tuple[int, float]] = []
        self.held: dict[str, str | None] = {}
        self._never = threading.Event()

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        return {shard: self.held.setdefault(shard, None) for shard in shards}

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        records = sum(len(batch.records) for batch in batches)
        began_s = self.clock.monotonic_s()
        self.clock.wait(self._never, records * self.seconds_a_user)
        self.steps.append((records, self.clock.monotonic_s() - began_s))
        for step in advances:
            assert self.held[step.shard] == step.expected
            self.held[step.shard] = step.position
        return SinkCommit(records)

    def tick(self, epoch: int) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.long
def test_the_checkpoint_of_a_slow_view_of_100_000_users_moves_every_few_seconds(platform: Platform) -> None:
    users = 100_000
    update = of_a_user(0)
    source = MemorySource()
    text = encode(update)
    for number in range(users):
        source.put(
            text.replace(b'"bet-0"', b'"bet-%d"' % number).replace(b'"user-0"', b'"user-%d"' % number),
            arrived_at_us=platform.clock.now_us(),
        )
    view = SlowView(platform.clock, seconds_a_user=1 / 500)
    running = Running(
        consumer_of(platform, source, [view], first=Counting(platform), max_buffered_records=80_000)
    )
    running.until(lambda: len(view.steps) >= 12, "some steps")
    first, steps = running.consumer._workers["operational_database"], view.steps[2:]
    assert max(records for records, _ in steps) * view.seconds_a_user < 2 * STEP_S
    assert min(records for records, _ in steps[:-1]) > MIN_STEP
    running.until(lambda: first.positions["shard-0"] == str(users), "the first sink, meanwhile")
    assert int(view.held["shard-0"] or 0) < users
    assert not newest(platform).caught_up_at_us
    view.seconds_a_user = 0.0
    since_us = platform.clock.now_us()
    running.until(lambda: platform.is_caught_up(since_us), "caught up")
    running.stop()
    assert sum(records for records, _ in view.steps) == users
    assert view.held["shard-0"] == str(users)


class Counting:
    """A first sink that costs nothing, so that the other's pace shows."""

    def __new__(cls, platform: Platform) -> Any:
        first = platform.first()

        def commit(epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
            with platform.database.write() as connection:
                first._checkpoints.advance(
                    connection, EXCHANGE_BETS, epoch, advances, now_us=platform.clock.now_us()
                )
            return SinkCommit(sum(len(batch.records) for batch in batches))

        first.commit = commit  # type: ignore[method-assign]
        return first


def test_the_lag_grows_while_a_sink_is_stuck_and_the_check_names_it(platform: Platform) -> None:
    source = MemorySource(read_limit=100)
    for number in range(50):
        source.put(of_a_user(number), arrived_at_us=platform.clock.now_us())
    stuck = RecordingSink("stuck")
    held = stuck.before = Stuck()
    running = Running(consumer_of(platform, source, [stuck]))
    running.until(held.is_stuck.is_set)
    began_us = platform.clock.now_us()
    running.until(lambda: newest(platform).lag_ms > 3_000, "a lag that grows")
    row = newest(platform)
    assert row.lag_ms == pytest.approx(row.statistics.sinks["stuck"].behind_ms, abs=500)
    assert row.lag_ms <= (platform.clock.now_us() - began_us) / 1000 + 60_000
    assert row.caught_up_at_us is None
    held.may_go_on.set()
    since_us = platform.clock.now_us()
    running.until(lambda: platform.is_caught_up(since_us))
    heartbeats = platform.heartbeats(EXCHANGE_BETS)
    running.until(lambda: platform.heartbeats(EXCHANGE_BETS) > heartbeats)
    assert newest(platform).statistics.sinks["stuck"].behind_ms == 0
    running.stop()


def test_the_lag_grows_while_nothing_can_be_read(platform: Platform) -> None:
    source = filled(10)
    running = Running(consumer_of(platform, source, [RecordingSink()]))
    running.until(lambda: platform.is_caught_up(0) and newest(platform).at_tip)
    source.unavailable = True
    running.until(
        lambda: not newest(platform).at_tip and newest(platform).lag_ms > 20_000, "a lag by the clock"
    )
    source.unavailable = False
    running.until(lambda: newest(platform).at_tip)
    running.stop()


def test_the_lag_grows_while_the_first_sink_is_stuck_and_reading_is_paused(platform: Platform) -> None:
    source = filled(2_000)
    first = platform.first()
    held = first.before = Stuck()
    running = Running(consumer_of(platform, source, [RecordingSink()], first=first))
    running.until(held.is_stuck.is_set)
    running.until(lambda: newest(platform).lag_ms > 31_000)
    row = newest(platform)
    assert (row.at_tip, row.caught_up_at_us) == (False, None)
    check = consumer_alive(platform.rows, EXCHANGE_BETS, Settings(), platform.clock)
    assert not check.passed
    assert "behind the stream's tip" in check.description
    held.may_go_on.set()
    running.stop()


def test_status_shows_how_far_each_sink_is_behind(platform: Platform, tmp_path: Path) -> None:
    source = filled(20)
    stuck = RecordingSink("stuck")
    held = stuck.before = Stuck()
    running = Running(consumer_of(platform, source, [stuck]))
    running.until(held.is_stuck.is_set)
    running.until(lambda: (stuck := newest(platform).statistics.sinks.get("stuck")) and stuck.behind_ms)
    settings = Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'operational.db'}")
    reader = StatusReader(settings)
    status = reader.read(with_lake=False)
    reader.close()
    shard = next(one for one in status.sources if one.shard == "shard-0")
    assert shard.sinks["stuck"].behind_ms > 0
    assert shard.sinks["operational_database"].behind_ms == 0
    assert not status.caught_up
    held.may_go_on.set()
    running.stop()
