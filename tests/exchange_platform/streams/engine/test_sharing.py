"""Several consumer runs share a stream: who takes which shard, and that splits and merges under load lose and
double nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.operations.checks import consumer_alive, money_conserved
from exchange_platform.operations.status import StatusReader
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.signs import ShardSigns
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.engine.sharing import Share, consumer_names, shares
from exchange_platform.streams.engine.source import HASHES, SHARD_END, Shard
from exchange_platform.streams.exchange_bets import build_consumer
from exchange_platform.streams.sources.kinesis import KinesisSource, ensure_stream
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.streams.engine_parts import Running
from tests.support.platform_parts import consume_all, encoded, lake_rows, operational_rows, publish, wait_for
from tests.support.prepared import prepare
from tests.support.workload import matched_pairs


def cut(bounds: list[int]) -> list[Shard]:
    """Shards that begin at these hashes, one after the other."""
    starts = sorted({0, *bounds})
    ends = [*(start - 1 for start in starts[1:]), HASHES - 1]
    return [Shard(f"s{place}", hashes=pair) for place, pair in enumerate(zip(starts, ends, strict=True))]


@given(st.lists(st.integers(0, HASHES - 1), max_size=40), st.integers(1, 12))
def test_every_shard_is_exactly_one_shares(bounds: list[int], of: int) -> None:
    for shard in cut(bounds):
        assert [Share(index, of).has(shard) for index in range(of)].count(True) == 1


@given(st.integers(1, 64), st.integers(1, 16))
def test_equal_shards_are_dealt_out_evenly(count: int, of: int) -> None:
    equal = cut([HASHES * place // count for place in range(count)])
    sizes = Counter(next(index for index in range(of) if Share(index, of).has(shard)) for shard in equal)
    held = [sizes.get(index, 0) for index in range(of)]
    assert max(held) - min(held) <= 1


def test_a_split_shards_children_stay_with_its_run() -> None:
    for shard in cut([HASHES * place // 4 for place in range(4)]):
        assert shard.hashes is not None
        first, last = shard.hashes
        middle = (first + last) // 2
        owners = {
            index
            for index in range(4)
            for half in ((first, middle), (middle + 1, last))
            if Share(index, 4).has(Shard("half", hashes=half))
        }
        assert owners == {index for index in range(4) if Share(index, 4).has(shard)}


def test_a_share_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no share 3 of 2: allowed are 1 to 2"):
        Share(2, 2)
    settings = Settings(bets_consumers=2)
    assert consumer_names(settings, EXCHANGE_BETS) == ["exchange-bets/1-of-2", "exchange-bets/2-of-2"]
    assert consumer_names(settings, "exchange-feed") == ["exchange-feed"]


@pytest.fixture
def shared(settings: Settings) -> Settings:
    """A platform whose bets' stream has four shards, for two consumers."""
    own = settings.model_copy(update={"bets_consumers": 2})
    prepare(own)
    ensure_stream(aws_client(own, "kinesis"), own.bets_stream, shards=4)
    return own


def start(settings: Settings) -> list[Running]:
    return [
        Running(build_consumer(settings, run_id=f"run-{share.index}", duration_s=300, share=share))
        for share in shares(settings, EXCHANGE_BETS)
    ]


def are_caught_up(rows: ConsumerRows, settings: Settings, since_us: int) -> bool:
    newest = [rows.newest(name) for name in consumer_names(settings, EXCHANGE_BETS)]
    return all(row is not None and (row.caught_up_at_us or 0) > since_us for row in newest)


def open_shards(settings: Settings) -> list[str]:
    listed = aws_client(settings, "kinesis").list_shards(StreamName=settings.bets_stream)["Shards"]
    return [
        shard["ShardId"]
        for shard in sorted(listed, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        if not shard["SequenceNumberRange"].get("EndingSequenceNumber")
    ]


@pytest.mark.timeout(240)
@pytest.mark.long
def test_splits_and_merges_under_load_lose_and_double_nothing(shared: Settings, tmp_path: Path) -> None:
    kinesis = aws_client(shared, "kinesis")
    data = encoded(matched_pairs(700, users=60, markets=40))
    database = Database(shared.operational_database_url)
    rows = ConsumerRows(database)
    running = start(shared)
    published = threading.Event()
    failures: list[BaseException] = []

    def produce() -> None:
        try:
            for place in range(0, len(data), 100):
                publish(shared, data[place : place + 100])
                published.wait(0.1)
        except BaseException as error:
            failures.append(error)
        published.set()

    producer = threading.Thread(target=produce)
    producer.start()
    before = open_shards(shared)
    # The second and third lie on both sides of the border between the two runs.
    kinesis.merge_shards(
        StreamName=shared.bets_stream, ShardToMerge=before[1], AdjacentShardToMerge=before[2]
    )
    kinesis.split_shard(
        StreamName=shared.bets_stream, ShardToSplit=before[0], NewStartingHashKey=str(HASHES // 8)
    )
    producer.join()
    assert failures == []
    since_us = publish(shared, data[-100:])  # repeats, of which some go to the new shards
    wait_for(lambda: are_caught_up(rows, shared, since_us), what="both caught up")
    status = StatusReader(shared)
    told = status.read()
    status.close()
    bets = [shard for shard in told.sources if shard.source == EXCHANGE_BETS]
    owners: dict[str | None, set[str]] = {}
    for shard in bets:
        owners.setdefault(shard.shard, set()).add(shard.consumer)
    assert all(len(names) == 1 for names in owners.values()), owners
    assert len(owners) == 4 + 3  # the first four, the merged one, the halves
    assert len({shard.consumer for shard in bets if shard.position == SHARD_END}) == 2
    assert consumer_alive(rows, EXCHANGE_BETS, shared, SYSTEM_CLOCK).passed
    for consumer in running:
        consumer.stop()
        assert not consumer.consumer.superseded
    assert money_conserved(database).passed
    database.dispose()

    calm = shared.model_copy(
        update={
            "data_dir": tmp_path / "calm",
            "bets_consumers": 1,
            "bets_stream": f"{shared.bets_stream}-calm",
            "profiles_table": f"{shared.profiles_table}-calm",
        }
    )
    prepare(calm)
    ensure_stream(aws_client(calm, "kinesis"), calm.bets_stream)
    consume_all(calm, publish(calm, data))
    assert operational_rows(shared) == operational_rows(calm)
    assert lake_rows(shared) == lake_rows(calm)


@pytest.mark.long
def test_another_number_of_consumers_takes_over_from_the_old_ones(shared: Settings) -> None:
    database = Database(shared.operational_database_url)
    rows = ConsumerRows(database)
    whole = Running(build_consumer(shared, run_id="whole", duration_s=300))
    data = encoded(matched_pairs(60, users=20, markets=20))
    since_us = publish(shared, data[:200])
    wait_for(
        lambda: (row := rows.newest(EXCHANGE_BETS)) is not None and (row.caught_up_at_us or 0) > since_us
    )
    two = start(shared)
    whole.join()
    assert whole.consumer.superseded
    since_us = publish(shared, data[200:])
    wait_for(lambda: are_caught_up(rows, shared, since_us), what="both caught up")
    for consumer in two:
        consumer.stop()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM bets").scalar() == 120
    database.dispose()


def test_a_child_waits_for_the_parents_that_another_run_has_not_finished(shared: Settings) -> None:
    kinesis = aws_client(shared, "kinesis")
    data = encoded(matched_pairs(40, users=20, markets=40))
    publish(shared, data)
    before = open_shards(shared)
    kinesis.merge_shards(
        StreamName=shared.bets_stream, ShardToMerge=before[1], AdjacentShardToMerge=before[2]
    )
    source = KinesisSource(kinesis, shared.bets_stream)
    (child,) = [shard for shard in source.shards() if len(shard.parents) == 2]
    (owner,) = [share for share in shares(shared, EXCHANGE_BETS) if share.has(child)]
    (other,) = [share for share in shares(shared, EXCHANGE_BETS) if share != owner]
    rows = ConsumerRows(Database(shared.operational_database_url))
    first = Running(build_consumer(shared, run_id="owner", duration_s=300, share=owner))

    def told() -> dict[str, ShardSigns]:
        row = rows.newest(owner.consumer_of(EXCHANGE_BETS))
        return row.statistics.shards if row is not None else {}

    own_parent = next(
        name for name in child.parents if owner.has(next(s for s in source.shards() if s.name == name))
    )
    wait_for(lambda: own_parent in told() and told()[own_parent].position == SHARD_END)
    row = rows.newest(owner.consumer_of(EXCHANGE_BETS))
    assert row is not None
    assert child.name not in told()
    assert not row.at_tip
    second = Running(build_consumer(shared, run_id="other", duration_s=300, share=other))
    since_us = SYSTEM_CLOCK.now_us()
    wait_for(lambda: are_caught_up(rows, shared, since_us), what="both caught up")
    assert child.name in told()
    first.stop()
    second.stop()
