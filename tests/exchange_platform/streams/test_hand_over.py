"""From one consumer to the next: whatever the first died of, and also while it still lives."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from exchange_platform.domain.records import BetUpdate, encode
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.streams.engine.source import StreamRecord
from tests.exchange_platform.streams.engine_parts import (
    Gate,
    Platform,
    RecordingSink,
    Running,
    Store,
    bet_updates,
    new_platform,
    of_a_user,
    poisoned_by,
)
from tests.support.memory_source import MemorySource


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with new_platform(tmp_path) as platform:
        yield platform


class Died(MemoryError):
    """What a consumer dies of here; the engine blames no record for it."""


def same_stream(source: MemorySource) -> MemorySource:
    """The stream as another consumer reads it, from places of its own."""
    other = MemorySource(read_limit=source.read_limit)
    other.lists, other.parents, other.closed = source.lists, source.parents, source.closed
    return other


def source_of(updates: Sequence[BetUpdate | bytes], *, read_limit: int = 10_000) -> MemorySource:
    source = MemorySource(read_limit=read_limit)
    for update in updates:
        source.put(update)
    return source


def other_stake(bet: BetUpdate) -> BetUpdate:
    """A later version that the first sink refuses."""
    return msgspec.structs.replace(bet, version=9, stake_minor=1, remaining_minor=1)


def written(store: Store) -> Counter[bytes]:
    return Counter(data for _, data in store.written)


def states(platform: Platform) -> dict[int, str]:
    return {row.epoch: row.state for row in platform.rows.recent("exchange-bets")}


def gates(count: int) -> tuple[list[RecordingSink], list[Gate]]:
    sinks = [RecordingSink(f"follower-{number}") for number in range(count)]
    shut = [Gate() for _ in sinks]
    for sink, gate in zip(sinks, shut, strict=True):
        sink.before = gate
    return sinks, shut


# A successor beside a consumer that lives.


def test_a_successor_takes_over_from_a_living_consumer_and_nothing_comes_twice(platform: Platform) -> None:
    source = source_of([of_a_user(number) for number in range(300)], read_limit=5)
    sink = RecordingSink()
    old = Running(platform.consumer(source, [sink]))
    old.until(lambda: len(sink.store.written) >= 50)
    successor = RecordingSink(store=sink.store)
    new = Running(platform.consumer(same_stream(source), [successor]))
    reports = old.join()
    assert old.consumer.superseded
    assert reports[-1].final
    for number in range(300, 350):
        source.put(of_a_user(number))
    new.until(lambda: len(sink.store.written) == 350)
    new.stop()
    assert sink.store.doubled() == []
    assert not new.consumer.superseded
    assert len(platform.table("bets")) == 350
    assert {row["version"] for row in platform.table("profiles")} == {1}
    assert states(platform) == {1: "superseded", 2: "ended"}


def test_a_consumer_without_anything_to_read_notices_its_successor(platform: Platform) -> None:
    source = source_of([of_a_user(1)])
    old = Running(platform.consumer(source, [RecordingSink()]))
    old.until(lambda: platform.is_caught_up(0))
    new = Running(platform.consumer(same_stream(source), [RecordingSink()]))
    assert old.join()[-1].final
    assert old.consumer.superseded
    new.stop()


def test_a_superseded_consumer_writes_nothing_more(platform: Platform) -> None:
    source = source_of([of_a_user(number) for number in range(20)])
    (sink,), (gate,) = gates(1)
    old = Running(platform.consumer(source, [sink]))
    old.until(lambda: gate.refused > 2)
    successor = RecordingSink(name=sink.name, store=sink.store)
    new = Running(platform.consumer(same_stream(source), [successor]))
    new.until(lambda: len(sink.store.written) == 20)
    gate.is_open = True
    old.join()
    assert sink.commits == 0
    assert sink.store.doubled() == []
    new.stop()


# A successor of a consumer that ended.


def test_it_begins_at_the_lowest_sinks_position_and_the_others_skip_what_they_hold(
    platform: Platform,
) -> None:
    source = source_of([of_a_user(number) for number in range(40)], read_limit=10)
    (quick, slow), (quick_gate, slow_gate) = gates(2)
    quick_gate.is_open = True
    slow.before = lambda records: slow_gate() if len(slow.store.written) >= 10 else None
    slow.interval_s = 0.0
    old = Running(platform.consumer(source, [quick, slow], max_buffered_records=1))
    old.until(lambda: len(slow.store.written) == 10 and slow_gate.refused > 0)
    old.consumer.superseded = True  # the shortest way to end without draining
    old.stop()
    taken = len(platform.table("profiles"))
    assert taken > 10

    first = platform.first()
    followers = [RecordingSink(sink.name, store=sink.store) for sink in (quick, slow)]
    platform.consume_all(platform.consumer(same_stream(source), followers, first=first))
    for follower in followers:
        assert Counter(position for _, position, _ in follower.store.places()) == Counter(
            str(number) for number in range(1, 41)
        )
    assert sorted(int(position) for _, position, _ in first.committed) == list(range(taken + 1, 41))
    assert {row["version"] for row in platform.table("profiles")} == {1}


def test_a_batch_that_a_sink_holds_in_part_is_written_in_part(platform: Platform) -> None:
    bets = [of_a_user(number) for number in range(30)]
    source = source_of(bets[:20], read_limit=7)
    (sink,), _ = gates(1)
    die_when_shut(platform, source, sink)
    for bet in bets[20:]:
        source.put(bet)
    first = platform.first()
    successor = RecordingSink(sink.name, store=sink.store)
    source.read_limit = 15
    reports = platform.consume_all(platform.consumer(same_stream(source), [successor], first=first))
    assert reports[-1].records_total == 30
    assert [position for _, position, _ in first.committed] == [str(number) for number in range(21, 31)]
    assert written(sink.store) == Counter(encode(bet) for bet in bets)


def die_when_shut(platform: Platform, source: MemorySource, *sinks: RecordingSink) -> None:
    """Run a consumer whose first sink writes all there is while the followers' gates are shut; then let it
    die.
    """
    dying = False
    before = [sink.before for sink in sinks]

    def until_dying(number: int) -> Callable[[Sequence[StreamRecord]], None]:
        def ask(records: Sequence[StreamRecord]) -> None:
            if dying:
                raise Died
            before[number](records)

        return ask

    for number, sink in enumerate(sinks):
        sink.before = until_dying(number)
    running = Running(platform.consumer(source, sinks))
    last = {shard: str(len(entries)) for shard, entries in source.lists.items()}
    running.until(
        lambda: (
            {
                row["shard"]: row["position"]
                for row in platform.table("checkpoints")
                if row["sink"] == "operational_database"
            }
            == last
        )
    )
    dying = True
    with pytest.raises(Died):
        running.join()


def test_the_dead_letters_before_the_resume_point_reach_no_follower(platform: Platform) -> None:
    bets = [of_a_user(number) for number in range(5)]
    source = source_of([*bets, other_stake(bets[0]), b"not a record", other_stake(bets[1])])
    (sink,), _ = gates(1)
    die_when_shut(platform, source, sink)
    assert len(DeadLetters(platform.database).list()) == 3
    assert sink.store.written == []
    successor = RecordingSink(sink.name, store=sink.store)
    platform.consume_all(platform.consumer(same_stream(source), [successor]))
    assert written(sink.store) == Counter(encode(bet) for bet in bets)
    assert len(DeadLetters(platform.database).list()) == 3


def test_a_followers_own_dead_letters_do_not_hide_those_of_the_first_sink(platform: Platform) -> None:
    """A follower buries late: its dead letters are newer than the first sink's of records that come after."""
    bets = [of_a_user(number) for number in range(6)]
    refused = other_stake(bets[0])
    source = source_of(bets[:4])
    quick, slow, gate = RecordingSink("quick"), RecordingSink("slow"), Gate()
    poison = poisoned_by(encode(bets[2]))

    def slowly(records: Sequence[StreamRecord]) -> None:
        if any(int(record.position) > 4 for record in records):
            raise StoreUnavailable("the rest is for the successor")
        gate(records)
        poison(records)

    slow.before = slowly
    running = Running(platform.consumer(source, [quick, slow]))
    running.until(lambda: gate.refused)
    for update in (*bets[4:], refused):
        source.put(update)
    running.until(lambda: len(DeadLetters(platform.database).list()) == 1)
    gate.is_open = True
    running.until(lambda: slow.store.positions["shard-0"] == "4")
    assert len(DeadLetters(platform.database).list()) == 2
    running.consumer.superseded = True
    running.stop()

    successor = RecordingSink("slow", store=slow.store)
    platform.consume_all(
        platform.consumer(same_stream(source), [RecordingSink("quick", store=quick.store), successor])
    )
    assert encode(refused) not in written(slow.store)
    assert written(slow.store) == Counter(encode(bet) for bet in bets if bet is not bets[2])


@pytest.mark.parametrize("seed", range(12))
def test_consumers_that_die_at_any_moment_lose_and_double_nothing(platform: Platform, seed: int) -> None:
    chance = random.Random(seed)
    updates: list[BetUpdate] = bet_updates(60, users=8, seed=seed)
    poison = [encode(update) for update in chance.sample(updates, 3) if update.version == 3]
    source = source_of(updates[:150], read_limit=chance.choice([7, 40, 10_000]))
    later_shard = "shard-0"
    if seed % 2:
        later_shard = "child"
        source.reshard("shard-0", [later_shard])
    for update in (*updates[150:], other_stake(updates[0])):
        source.put(update, shard=later_shard)
    stores = {"one": Store(), "two": Store()}

    def dies(before: Callable[[Sequence[StreamRecord]], None]) -> Callable[[Sequence[StreamRecord]], None]:
        def ask(records: Sequence[StreamRecord]) -> None:
            if chance.random() < 0.2:
                raise Died
            if chance.random() < 0.2:
                raise StoreUnavailable("away")
            before(records)

        return ask

    runs = 0
    ended = False
    while not ended:
        runs += 1
        first = platform.first()
        followers = [RecordingSink(name, store=store) for name, store in stores.items()]
        followers[0].before = poisoned_by(*poison)
        if runs < 15:
            first.before = dies(first.before)
            for follower in followers:
                follower.before = dies(follower.before)
        try:
            platform.consume_all(platform.consumer(same_stream(source), followers, first=first))
            ended = True
        except Died:
            pass
    letters = {letter.data: letter.stage for letter in DeadLetters(platform.database).list()}
    assert letters == {
        **dict.fromkeys(poison, "one"),
        encode(other_stake(updates[0])): "operational_database",
    }
    alive = {encode(update) for update in updates} - set(poison)
    assert set(written(stores["one"])) == alive
    assert alive <= set(written(stores["two"])) <= alive | set(poison)
    assert all(store.doubled() == [] for store in stores.values())
    assert len(platform.table("bets")) == 120
    assert {row["version"] for row in platform.table("bets")} == {3}
    assert sum(row["version"] for row in platform.table("profiles")) == len(updates)
