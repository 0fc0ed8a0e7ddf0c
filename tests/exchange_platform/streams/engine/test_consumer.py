"""The consumer engine: nothing lost and nothing doubled, whatever the sinks and the source do. Hand-over:
test_hand_over.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from tests.exchange_platform.streams.engine_parts import (
    Gate,
    Platform,
    RecordingSink,
    Running,
    Unavailable,
    new_platform,
    of_a_user,
    unavailable_in_a_row,
)
from tests.support.memory_source import MemorySource


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with new_platform(tmp_path) as platform:
        yield platform


def source_of(records: int, *, read_limit: int = 10_000) -> MemorySource:
    source = MemorySource(read_limit=read_limit)
    for number in range(records):
        source.put(of_a_user(number))
    return source


def all_places(source: MemorySource) -> Counter[tuple[str, str, int]]:
    return Counter(
        (shard, str(place + 1), 0) for shard, entries in source.lists.items() for place in range(len(entries))
    )


def test_every_sink_gets_every_record_once_and_in_order(platform: Platform) -> None:
    source = MemorySource(shards=3, read_limit=17)
    for number in range(300):
        source.put(of_a_user(number), shard=f"shard-{number % 3}")
    followers = [RecordingSink("one"), RecordingSink("two", interval_s=1.0)]
    reports = platform.consume_all(platform.consumer(source, followers))
    for follower in followers:
        assert Counter(follower.store.places()) == all_places(source)
        for shard in source.lists:
            numbers = [int(position) for where, position, _ in follower.store.places() if where == shard]
            assert numbers == sorted(numbers)
        assert follower.closed
    assert len(platform.table("bets")) == 300
    assert reports[-1].final
    assert reports[-1].records_total == 300
    assert reports[-1].positions == {f"shard-{n}": "100" for n in range(3)}
    assert sum(report.records for report in reports) == 300
    for name in ("one", "two", OPERATIONAL_DATABASE):
        assert sum(report.sinks[name].records for report in reports) == 300
    newest = platform.rows.newest(source.name)
    assert newest is not None
    assert (newest.state, newest.records) == ("ended", 300)


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("failing", ["first", "follower", "both"])
def test_nothing_is_lost_or_doubled_when_a_store_is_unavailable(
    platform: Platform, failing: str, times: int
) -> None:
    source = source_of(200, read_limit=20)
    first, follower = platform.first(), RecordingSink()
    first_away = Unavailable(0 if failing == "follower" else times)
    follower_away = Unavailable(0 if failing == "first" else times)
    first.before, follower.before = first_away, follower_away
    reports = platform.consume_all(platform.consumer(source, [follower], first=first))
    assert first_away.refused + follower_away.refused > 0
    assert Counter(follower.store.places()) == all_places(source)
    assert {row["version"] for row in platform.table("profiles")} == {1}
    assert len(platform.table("bets")) == 200
    retries = {
        name: sum(report.sinks[name].retries for report in reports)
        for name in (OPERATIONAL_DATABASE, "follower")
    }
    assert retries == {OPERATIONAL_DATABASE: first_away.refused, "follower": follower_away.refused}
    assert DeadLetters(platform.database).count().waiting == 0


@pytest.mark.long
def test_a_store_that_is_away_for_hours_costs_no_record(platform: Platform) -> None:
    source = source_of(1)
    follower = RecordingSink()
    # A pause that doubled for ever would leave the range of floats after 1024 tries.
    follower.before = unavailable_in_a_row(1_100)
    platform.clock.haste = 10_000.0
    platform.consume_all(platform.consumer(source, [follower], duration_s=1e9))
    assert Counter(follower.store.places()) == all_places(source)
    assert DeadLetters(platform.database).count().waiting == 0


def test_a_blocked_follower_stops_the_reading_at_the_limit(platform: Platform) -> None:
    source = source_of(1_000, read_limit=10)
    follower, gate = RecordingSink(), Gate()
    follower.before = gate
    running = Running(platform.consumer(source, [follower], max_buffered_records=100))
    running.until(lambda: len(platform.table("bets")) >= 100 and gate.refused > 3, "blocked")
    assert len(platform.table("bets")) == 100
    assert follower.store.written == []
    newest = platform.rows.newest(source.name)
    assert newest is not None
    assert newest.caught_up_at_us is None
    since_us = platform.clock.now_us()
    gate.is_open = True
    running.until(lambda: platform.is_caught_up(since_us))
    running.stop()
    assert Counter(follower.store.places()) == all_places(source)


def test_a_blocked_first_sink_gives_the_followers_nothing(platform: Platform) -> None:
    source = source_of(50)
    first, follower, gate = platform.first(), RecordingSink(), Gate()
    first.before = gate
    running = Running(platform.consumer(source, [follower], first=first))
    running.until(lambda: gate.refused > 3)
    assert follower.store.written == []
    since_us = platform.clock.now_us()
    gate.is_open = True
    running.until(lambda: platform.is_caught_up(since_us))
    running.stop()
    assert Counter(follower.store.places()) == all_places(source)


def test_it_is_caught_up_only_after_every_sink_has_committed(platform: Platform) -> None:
    source = source_of(30)
    quick, slow, gate = RecordingSink("quick"), RecordingSink("slow"), Gate()
    slow.before = gate
    running = Running(platform.consumer(source, [quick, slow]))
    running.until(lambda: len(quick.store.written) == 30 and gate.refused > 5)
    heartbeats = platform.heartbeats(source.name)
    running.until(lambda: platform.heartbeats(source.name) > heartbeats)
    newest = platform.rows.newest(source.name)
    assert newest is not None
    assert newest.at_tip
    assert newest.caught_up_at_us is None
    assert newest.statistics.trouble == ["the gate is shut"]
    opened_at_us = platform.clock.now_us()
    gate.is_open = True
    running.until(lambda: platform.is_caught_up(opened_at_us))
    assert len(slow.store.written) == 30
    running.stop()


def test_a_source_that_goes_away_and_comes_back_loses_nothing(platform: Platform) -> None:
    source = source_of(100, read_limit=9)
    follower = RecordingSink()
    running = Running(platform.consumer(source, [follower]))
    running.until(lambda: follower.store.written)
    source.unavailable = True

    def says_so() -> bool:
        newest = platform.rows.newest(source.name)
        return newest is not None and "the memory is away" in newest.statistics.trouble

    running.until(says_so)
    newest = platform.rows.newest(source.name)
    assert newest is not None
    assert not newest.at_tip
    for number in range(100, 120):
        source.put(of_a_user(number))
    since_us = platform.clock.now_us()
    source.unavailable = False
    running.until(lambda: platform.is_caught_up(since_us))
    running.stop()
    assert Counter(follower.store.places()) == all_places(source)


def test_a_source_that_is_away_at_the_start_is_waited_for(platform: Platform) -> None:
    source = source_of(10)
    source.unavailable = True
    follower = RecordingSink()
    running = Running(platform.consumer(source, [follower]))
    running.until(lambda: platform.heartbeats(source.name) > 0)
    since_us = platform.clock.now_us()
    source.unavailable = False
    running.until(lambda: platform.is_caught_up(since_us))
    running.stop()
    assert len(follower.store.written) == 10


def test_the_children_of_a_shard_are_read_only_after_it(platform: Platform) -> None:
    source = source_of(40, read_limit=7)
    source.reshard("shard-0", ["left", "right"])
    for number in range(40, 80):
        source.put(of_a_user(number), shard="left" if number % 2 else "right")
    source.reshard("left", ["merged"])
    source.reshard("right", ["merged"])
    for number in range(80, 100):
        source.put(of_a_user(number), shard="merged")
    follower = RecordingSink()
    platform.consume_all(platform.consumer(source, [follower]))
    order = [shard for shard, _, _ in follower.store.places()]
    assert Counter(order) == {"shard-0": 40, "left": 20, "right": 20, "merged": 20}
    assert set(order[:40]) == {"shard-0"}
    assert set(order[40:80]) == {"left", "right"}
    assert follower.store.positions["shard-0"] == "SHARD_END"


def test_a_reshard_while_consuming_loses_nothing(platform: Platform) -> None:
    source = source_of(20)
    follower = RecordingSink()
    running = Running(platform.consumer(source, [follower]))
    running.until(lambda: len(follower.store.written) == 20)
    source.put(of_a_user(20))
    source.reshard("shard-0", ["child"])
    source.put(of_a_user(21), shard="child")
    running.until(lambda: len(follower.store.written) == 22)
    running.stop()
    assert follower.store.places()[-2:] == [("shard-0", "21", 0), ("child", "1", 0)]


# How it ends.


def test_stop_commits_what_was_read(platform: Platform) -> None:
    source = source_of(500, read_limit=10)
    followers = [RecordingSink("quick"), RecordingSink("gathering", interval_s=10_000)]
    followers[1].enough_records = 10**9
    running = Running(platform.consumer(source, followers))
    running.until(lambda: followers[0].store.written)
    reports = running.stop()
    read = reports[-1].records_total
    assert reports[-1].final
    for follower in followers:
        assert len(follower.store.written) == read > 0
    assert len(platform.table("bets")) == read


def test_closing_the_generator_commits_what_was_read(platform: Platform) -> None:
    source = source_of(50)
    gathering = RecordingSink(interval_s=10_000)
    gathering.enough_records = 10**9
    closed: list[bool] = []
    consumer = platform.consumer(source, [gathering], on_close=lambda: closed.append(True))
    reports = consumer.run()
    assert isinstance(reports, Generator)
    while not next(reports).records_total:
        pass
    assert gathering.store.written == []
    reports.close()
    assert Counter(gathering.store.places()) == all_places(source)
    assert gathering.closed
    assert closed == [True]
    newest = platform.rows.newest(source.name)
    assert newest is not None
    assert newest.state == "ended"


def test_it_ends_by_itself_when_its_time_is_over(platform: Platform) -> None:
    source = source_of(5)
    follower = RecordingSink()
    reports = Running(platform.consumer(source, [follower], duration_s=5.0)).join()
    assert reports[-1].final
    assert [report.final for report in reports].count(True) == 1
    assert len(follower.store.written) == 5


def test_what_an_unavailable_store_can_not_take_at_the_end_is_read_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange_platform.streams.engine.consumer.DRAIN_S", 0.05)
    source = source_of(50)
    follower, gate = RecordingSink(), Gate()
    follower.before = gate
    running = Running(platform.consumer(source, [follower]))
    running.until(lambda: gate.refused)
    assert running.stop()[-1].final
    assert follower.store.written == []
    successor = RecordingSink(store=follower.store)
    platform.consume_all(platform.consumer(source, [successor]))
    assert Counter(follower.store.places()) == all_places(source)
    assert {row["version"] for row in platform.table("profiles")} == {1}


@pytest.mark.parametrize("how", ["stop", "duration"])
def test_a_consumer_that_could_not_claim_its_shards_ends_cleanly(platform: Platform, how: str) -> None:
    follower = Unclaimable()
    duration_s = 10_000.0 if how == "stop" else 5.0
    running = Running(platform.consumer(source_of(1), [follower], duration_s=duration_s))
    running.until(lambda: follower.asked > 1)
    reports = running.stop() if how == "stop" else running.join()
    assert reports[-1].final
    assert reports[-1].records_total == 0
    assert platform.table("bets") == []
    newest = platform.rows.newest("exchange-bets")
    assert newest is not None
    assert newest.state == "ended"


class Unclaimable(RecordingSink):
    """A follower whose store is away before it was claimed."""

    asked = 0

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        self.asked += 1
        raise StoreUnavailable("nothing to claim here")


def test_without_a_store_to_enter_its_epoch_in_it_closes_what_it_was_given(platform: Platform) -> None:
    follower = RecordingSink()
    closed: list[bool] = []
    consumer = platform.consumer(source_of(1), [follower], on_close=lambda: closed.append(True))
    platform.drop("source_epochs")
    with pytest.raises(Exception, match="source_epochs"):
        list(consumer.run())
    assert follower.closed
    assert closed == [True]
