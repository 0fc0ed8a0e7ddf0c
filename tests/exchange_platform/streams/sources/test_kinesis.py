"""The Kinesis source and publisher against the emulator's HTTP API."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.streams.engine.source import (
    SHARD_END,
    PositionRefused,
    ShardsChanged,
    SourceUnavailable,
    StreamRecord,
    Throttled,
)
from exchange_platform.streams.sources.aggregation import MAGIC, aggregate, disaggregate
from exchange_platform.streams.sources.kinesis import (
    KinesisSource,
    Publisher,
    StreamUnavailable,
    ensure_stream,
)


@pytest.fixture
def client(settings: Settings) -> Any:
    client = aws_client(settings, "kinesis")
    ensure_stream(client, settings.bets_stream)
    return client


def _source(client: Any, settings: Settings) -> KinesisSource:
    return KinesisSource(client, settings.bets_stream)


def _read_all(source: KinesisSource) -> list[StreamRecord]:
    """Every record of every shard, parents before children, as the reader would."""
    records: list[StreamRecord] = []
    for shard in source.shards():
        source.seek(shard.name, None)
        while True:
            read = source.read(shard.name)
            records.extend(read.records)
            if read.ended or not read.behind_ms:
                break
    return records


def test_what_is_published_is_read_in_order(client: Any, settings: Settings) -> None:
    data = [b"%d" % number for number in range(1203)]
    Publisher(client, settings.bets_stream).publish([("m", entry) for entry in data])
    assert [record.data for record in _read_all(_source(client, settings))] == data


def test_aggregated_records_are_taken_apart_in_order_per_key(client: Any, settings: Settings) -> None:
    pairs = [(f"m{number % 7}", b"%d" % number) for number in range(5000)]
    Publisher(client, settings.bets_stream, aggregate=True).publish(pairs)
    records = _read_all(_source(client, settings))
    assert len({record.position for record in records}) <= 14
    for key in {key for key, _ in pairs}:
        assert [r.data for r in records if r.partition_key == key] == [d for k, d in pairs if k == key]
    assert len({(record.position, record.part) for record in records}) == len(pairs)


def test_reading_goes_on_after_a_position(client: Any, settings: Settings) -> None:
    Publisher(client, settings.bets_stream).publish([("m", b"%d" % number) for number in range(10)])
    source = _source(client, settings)
    (shard,) = source.shards()
    source.seek(shard.name, None)
    fifth = source.read(shard.name).records[4].position
    again = _source(client, settings)
    again.shards()
    again.seek(shard.name, fifth)
    assert [record.data for record in again.read(shard.name).records] == [b"5", b"6", b"7", b"8", b"9"]


def test_a_split_shard_ends_and_its_children_continue_it(client: Any, settings: Settings) -> None:
    publisher = Publisher(client, settings.bets_stream)
    publisher.publish([(f"m{n}", b"before %d" % n) for n in range(20)])
    client.split_shard(
        StreamName=settings.bets_stream,
        ShardToSplit="shardId-000000000000",
        NewStartingHashKey=str(2**127),
    )
    publisher.publish([(f"m{n}", b"after %d" % n) for n in range(20)])
    source = _source(client, settings)
    parent, *children = source.shards()
    assert [child.parents for child in children] == [(parent.name,), (parent.name,)]
    source.seek(parent.name, None)
    first = source.read(parent.name)
    assert len(first.records) == 20
    assert first.ended or source.read(parent.name).ended
    for child in children:
        source.seek(child.name, None)
    after = [record.data for child in children for record in source.read(child.name).records]
    assert sorted(after) == sorted(b"after %d" % n for n in range(20))


def test_the_read_that_comes_to_a_closed_shards_end_tells_it_before_shards_are_listed_again(
    client: Any, settings: Settings
) -> None:
    source = _source(client, settings)
    (shard,) = source.shards()
    source.seek(shard.name, None)
    Publisher(client, settings.bets_stream).publish([("m", b"1"), ("m", b"2")])
    client.split_shard(
        StreamName=settings.bets_stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    read = source.read(shard.name)
    assert [record.data for record in read.records] == [b"1", b"2"]
    assert read.ended


def test_a_closed_shard_is_not_finished_by_an_empty_page_while_an_iterator_follows(
    client: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Publisher(client, settings.bets_stream).publish([("m", b"1"), ("m", b"2")])
    client.split_shard(
        StreamName=settings.bets_stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    source = _source(client, settings)
    (parent, *_) = source.shards()
    source.seek(parent.name, None)
    real, empty_pages = client.get_records, [True, True]

    def get_records(**kwargs: Any) -> Any:
        if empty_pages:
            empty_pages.pop()
            return {"Records": [], "NextShardIterator": kwargs["ShardIterator"], "MillisBehindLatest": 0}
        return real(**kwargs)

    monkeypatch.setattr(client, "get_records", get_records)
    assert [(read.records, read.ended) for read in (source.read(parent.name), source.read(parent.name))] == [
        ([], False)
    ] * 2
    last = source.read(parent.name)
    assert [record.data for record in last.records] == [b"1", b"2"]
    assert last.ended


def test_a_throttled_shard_waits_longer_each_time_and_no_other_waits(
    client: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.split_shard(
        StreamName=settings.bets_stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    source = KinesisSource(client, settings.bets_stream, rng=random.Random(1))
    _, one, other = source.shards()
    for shard in (one, other):
        source.seek(shard.name, None)
    real = client.get_shard_iterator

    def get_shard_iterator(**kwargs: Any) -> Any:
        if kwargs["ShardId"] == one.name.partition("@")[0]:
            raise ClientError(
                {"Error": {"Code": "ProvisionedThroughputExceededException"}}, "GetShardIterator"
            )
        return real(**kwargs)

    monkeypatch.setattr(client, "get_shard_iterator", get_shard_iterator)
    pauses: list[float] = []
    for _ in range(1_100):
        with pytest.raises(Throttled, match=one.name.partition("@")[0]) as throttled:
            source.read(one.name)
        pauses.append(throttled.value.retry_after_s)
        if len(pauses) < 4:
            assert not source.read(other.name).records
    assert pauses[0] < 0.6 < pauses[1] < pauses[2]
    assert 3.75 <= max(pauses) <= 6.25


@pytest.mark.parametrize("call", ["list_shards", "describe_stream_summary"])
def test_a_throttled_listing_asks_for_longer_and_longer_pauses_and_leaves_the_known_shards_readable(
    client: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    Publisher(client, settings.bets_stream).publish([("m", b"1")])
    source = KinesisSource(client, settings.bets_stream, rng=random.Random(1))
    (shard,) = source.shards()
    source.seek(shard.name, None)

    def throttled(**_kwargs: Any) -> Any:
        raise ClientError({"Error": {"Code": "LimitExceededException"}}, call)

    monkeypatch.setattr(client, call, throttled)
    pauses: list[float] = []
    for _ in range(8):
        with pytest.raises(Throttled, match="listing the shards") as error:
            source.shards()
        pauses.append(error.value.retry_after_s)
    assert pauses[0] < pauses[2] < pauses[4] <= 37.5
    assert [record.data for record in source.read(shard.name).records] == [b"1"]


def test_a_position_that_the_stream_never_gave_out_is_refused_and_not_taken_for_a_reshard(
    client: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _source(client, settings)
    (shard,) = source.shards()
    source.seek(shard.name, "49590338271490256608559692538361571095921575989136588898")

    def get_shard_iterator(**_kwargs: Any) -> Any:
        raise ClientError(
            {"Error": {"Code": "InvalidArgumentException", "Message": "did not come from this stream"}},
            "GetShardIterator",
        )

    monkeypatch.setattr(client, "get_shard_iterator", get_shard_iterator)
    for _ in range(2):
        with pytest.raises(PositionRefused, match=r"49590338.* did not come from this stream"):
            source.read(shard.name)


def test_merged_shards_have_both_parents(client: Any, settings: Settings) -> None:
    client.split_shard(
        StreamName=settings.bets_stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    client.merge_shards(
        StreamName=settings.bets_stream,
        ShardToMerge="shardId-000000000001",
        AdjacentShardToMerge="shardId-000000000002",
    )
    shards = _source(client, settings).shards()
    assert shards[-1].parents == (shards[1].name, shards[2].name)


def test_a_stream_made_anew_has_other_shards(client: Any, settings: Settings) -> None:
    source = _source(client, settings)
    (old,) = source.shards()
    source.seek(old.name, None)
    client.delete_stream(StreamName=settings.bets_stream)
    with pytest.raises(SourceUnavailable):
        source.shards()
    ensure_stream(client, settings.bets_stream)
    (new,) = source.shards()
    assert new.name != old.name
    with pytest.raises(ShardsChanged):
        source.read(old.name)


def test_an_expired_iterator_is_replaced_without_a_gap(
    client: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Publisher(client, settings.bets_stream).publish([("m", b"1"), ("m", b"2")])
    source = _source(client, settings)
    (shard,) = source.shards()
    source.seek(shard.name, None)
    real, failures = (
        client.get_records,
        ["ExpiredIteratorException", "ProvisionedThroughputExceededException"],
    )

    def get_records(**kwargs: Any) -> Any:
        if failures:
            raise ClientError({"Error": {"Code": failures.pop()}}, "GetRecords")
        return real(**kwargs)

    monkeypatch.setattr(client, "get_records", get_records)
    with pytest.raises(SourceUnavailable) as throttled:
        source.read(shard.name)
    assert throttled.value.retry_after_s > 0.2
    assert not source.read(shard.name).records
    assert [record.data for record in source.read(shard.name).records] == [b"1", b"2"]


def test_records_that_a_put_refused_go_again_with_all_that_follow_of_their_key(
    client: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = client.put_records, []

    def put_records(**kwargs: Any) -> Any:
        calls.append(len(kwargs["Records"]))
        if len(calls) > 1:
            return real(**kwargs)
        kept = [entry for place, entry in enumerate(kwargs["Records"]) if place != 2]
        real(StreamName=kwargs["StreamName"], Records=kept)
        results: list[dict[str, Any]] = [{"SequenceNumber": "1"} for _ in kwargs["Records"]]
        results[2] = {"ErrorCode": "ProvisionedThroughputExceededException"}
        return {"FailedRecordCount": 1, "Records": results}

    monkeypatch.setattr(client, "put_records", put_records)
    pairs = [("a", b"a0"), ("b", b"b0"), ("a", b"a1"), ("b", b"b1"), ("a", b"a2")]
    Publisher(client, settings.bets_stream).publish(pairs)
    data = [record.data for record in _read_all(_source(client, settings))]
    assert calls == [5, 2]
    newest = {entry: place for place, entry in enumerate(data)}
    assert newest[b"a0"] < newest[b"a1"] < newest[b"a2"]
    assert newest[b"b0"] < newest[b"b1"]


def test_a_publisher_gives_up_on_a_stream_that_takes_nothing(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"aws_endpoint_url": "http://127.0.0.1:9"})
    publisher = Publisher(aws_client(nowhere, "kinesis"), settings.bets_stream, give_up_after_s=0.2)
    with pytest.raises(StreamUnavailable, match="took nothing"):
        publisher.publish([("m", b"1")])


def test_producers_that_put_at_once_lose_nothing(client: Any, settings: Settings) -> None:
    def produce(name: str) -> None:
        publisher = Publisher(aws_client(settings, "kinesis"), settings.bets_stream)
        for round_ in range(5):
            publisher.publish([(name, f"{name} {round_} {n}".encode()) for n in range(100)])

    threads = [threading.Thread(target=produce, args=(f"p{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({record.data for record in _read_all(_source(client, settings))}) == 2000


@pytest.mark.parametrize("damage", ["digest", "index", "message", "short"])
def test_a_damaged_aggregate_stays_one_record_with_all_its_bytes(damage: str) -> None:
    ((key, packed),) = aggregate([("m", b"one"), ("m", b"two")])
    assert disaggregate(key, packed) == [("m", b"one"), ("m", b"two")]
    damaged = {
        "digest": packed[:-1] + bytes([packed[-1] ^ 1]),
        "index": packed.replace(b"one", b"on\xff"),
        "message": MAGIC + b"\xff" * 40,
        "short": packed[:10],
    }[damage]
    assert disaggregate(key, damaged) == [(key, damaged)]


def test_positions_are_ordered_as_numbers() -> None:
    source = KinesisSource(None, "s")
    assert source.is_after("10", "9")
    assert not source.is_after("9", "10")
    assert source.is_after("1", None)
    assert source.is_after(SHARD_END, "99")
    assert not source.is_after("99", SHARD_END)
