"""Records that can not be written: found, buried, and everything around them written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from exchange_platform.domain.records import encode
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from tests.exchange_platform.streams.engine_parts import (
    AggregatingSource,
    Place,
    Platform,
    RecordingSink,
    Running,
    new_platform,
    of_a_user,
    poisoned_by,
    unavailable_in_a_row,
)
from tests.support.memory_source import MemorySource

BETS = [of_a_user(number) for number in range(60)]
DATA = [encode(bet) for bet in BETS]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with new_platform(tmp_path) as platform:
        yield platform


def filled(source: MemorySource) -> MemorySource:
    for data in DATA:
        source.put(data)
    return source


def dead_places(platform: Platform) -> dict[Place, str]:
    return {
        (letter.shard, letter.position, letter.part): letter.stage
        for letter in DeadLetters(platform.database).list()
    }


def written_data(sink: RecordingSink) -> Counter[bytes]:
    return Counter(data for _, data in sink.store.written)


@pytest.mark.parametrize("poison", [[0], [59], [31], [7, 8], [0, 30, 59], list(range(60))])
def test_what_a_follower_can_not_write_is_buried_and_the_rest_is_written(
    platform: Platform, poison: list[int]
) -> None:
    source = filled(MemorySource())
    follower = RecordingSink()
    follower.before = poisoned_by(*(DATA[number] for number in poison))
    reports = platform.consume_all(platform.consumer(source, [follower]))
    assert written_data(follower) == Counter(data for number, data in enumerate(DATA) if number not in poison)
    assert dead_places(platform) == {("shard-0", str(number + 1), 0): "follower" for number in poison}
    assert follower.store.positions == {"shard-0": "60"}
    letter = DeadLetters(platform.database).list()[0]
    assert letter.reason == "ValueError: this can not be written"
    assert letter.data in DATA
    # The first sink holds it: a follower's trouble does not take back what was accepted.
    assert len(platform.table("bets")) == 60
    assert sum(report.dead_letters for report in reports) == len(poison)


@pytest.mark.parametrize("poison", [[0], [59], [7, 8]])
def test_what_the_first_sink_can_not_write_is_buried_and_no_follower_gets_it(
    platform: Platform, poison: list[int]
) -> None:
    source = filled(MemorySource())
    first, follower = platform.first(), RecordingSink()
    first.before = poisoned_by(*(DATA[number] for number in poison))
    reports = platform.consume_all(platform.consumer(source, [follower], first=first))
    rest = [number for number in range(60) if number not in poison]
    assert written_data(follower) == Counter(DATA[number] for number in rest)
    assert {row["bet_id"] for row in platform.table("bets")} == {BETS[number].bet_id for number in rest}
    assert {row["version"] for row in platform.table("profiles")} == {1}
    assert dead_places(platform) == {
        ("shard-0", str(number + 1), 0): OPERATIONAL_DATABASE for number in poison
    }
    assert sum(report.dead_letters for report in reports) == len(poison)


@pytest.mark.parametrize("sink", ["first", "follower"])
@pytest.mark.parametrize("poison", [[0], [13], [19], [10, 29], [20, 21, 22, 23]])
@pytest.mark.parametrize("group", [1, 3, 10, 60])
def test_poison_inside_an_aggregated_record_costs_only_itself(
    platform: Platform, sink: str, poison: list[int], group: int
) -> None:
    source = filled(AggregatingSource(group=group))
    first, follower = platform.first(), RecordingSink()
    failing = first if sink == "first" else follower
    failing.before = poisoned_by(*(DATA[number] for number in poison))
    platform.consume_all(platform.consumer(source, [follower], first=first))
    assert written_data(follower) == Counter(data for number, data in enumerate(DATA) if number not in poison)
    assert {row["version"] for row in platform.table("profiles")} == {1}
    assert len(platform.table("bets")) == 60 - (len(poison) if sink == "first" else 0)
    assert set(dead_places(platform)) == {
        ("shard-0", str(number // group + 1), number % group) for number in poison
    }
    assert follower.store.positions == {"shard-0": str(60 // group)}
    assert [row["position"] for row in platform.table("checkpoints")] == [str(60 // group)]


def test_what_can_not_be_decoded_or_is_refused_reaches_no_follower(platform: Platform) -> None:
    source = MemorySource()
    first = of_a_user(1)
    accepted = [first, of_a_user(2)]
    other_stake = msgspec.structs.replace(first, version=2, stake_minor=1, remaining_minor=1)
    for data in (first, b"not a record", other_stake, b"", accepted[1]):
        source.put(data)
    follower = RecordingSink()
    reports = platform.consume_all(platform.consumer(source, [follower]))
    assert written_data(follower) == Counter(encode(bet) for bet in accepted)
    assert dead_places(platform) == {
        ("shard-0", "2", 0): "decode",
        ("shard-0", "3", 0): OPERATIONAL_DATABASE,
        ("shard-0", "4", 0): "decode",
    }
    assert sum(report.dead_letters for report in reports) == 3


def test_poison_is_buried_only_once_its_dead_letter_can_be_written(platform: Platform) -> None:
    source = filled(MemorySource())
    first, follower = platform.first(), RecordingSink()
    follower.before = poisoned_by(DATA[5])
    first.before_burying = unavailable_in_a_row(4)
    platform.consume_all(platform.consumer(source, [follower], first=first))
    assert list(dead_places(platform)) == [("shard-0", "6", 0)]
    assert sum(written_data(follower).values()) == 59


def test_a_consumer_stopped_while_it_can_not_bury_ends_cleanly_and_its_successor_buries(
    platform: Platform,
) -> None:
    source = filled(MemorySource())
    first, follower = platform.first(), RecordingSink()
    follower.before = poisoned_by(DATA[5])
    tries = 0

    def before_burying() -> None:
        nonlocal tries
        tries += 1
        raise StoreUnavailable("no dead letters now")

    first.before_burying = before_burying
    running = Running(platform.consumer(source, [follower], first=first))
    running.until(lambda: tries > 2)
    assert running.stop()[-1].final
    assert dead_places(platform) == {}
    successor = RecordingSink(store=follower.store)
    successor.before = follower.before
    platform.consume_all(platform.consumer(source, [successor]))
    assert list(dead_places(platform)) == [("shard-0", "6", 0)]
    assert written_data(follower) == Counter(data for data in DATA if data != DATA[5])
