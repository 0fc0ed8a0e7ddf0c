"""Records that were gone before they were read: noticed at the stream, kept before reading goes on, and said
until somebody takes note.
"""

from __future__ import annotations

import itertools
import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError
from moto import mock_aws

from exchange_platform.domain.records import encode
from exchange_platform.local.emulator import kinesis as emulated_kinesis
from exchange_platform.operations.checks import consumer_alive, no_lost_spans
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.consumers.consumers import set_back
from exchange_platform.stores.operational.consumers.lost_spans import Loss, LostSpans
from exchange_platform.stores.operational.database import checkpoints
from exchange_platform.streams.engine.losses import KEPT_AT_LEAST_S, LossWatch
from exchange_platform.streams.engine.source import SHARD_END, PositionRefused, Unread
from exchange_platform.streams.sources.kinesis import KinesisSource, ensure_stream
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.streams.engine_parts import Platform, Running, bet_updates, new_platform
from tests.support.consumer_rows import beat

HOUR_US = 3_600_000_000
SHARD, SIBLING, OTHERS = "shardId-0@5", "shardId-1@5", "shardId-0@4"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with new_platform(tmp_path) as platform:
        yield platform


@dataclass
class Watched:
    """A watch over one source, and what a consumer before it said."""

    platform: Platform
    epochs: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.first = self.platform.first()
        self.watch = LossWatch(EXCHANGE_BETS, self.first, self.platform.rows, self.platform.clock)

    def caught_up(self, hours_ago: float | None, *shards: str, name: str = EXCHANGE_BETS) -> None:
        """A consumer said that it had read everything of these shards so long ago."""
        now_us = self.platform.clock.now_us()
        epoch = self.platform.rows.begin(EXCHANGE_BETS, "run", now_us=now_us, ends_at_us=now_us, name=name)
        beat(
            self.platform.rows,
            name,
            epoch,
            caught_up_at_us=None if hours_ago is None else now_us - int(hours_ago * HOUR_US),
            statistics={"shards": {shard: {} for shard in shards}},
        )

    def holds(self, shard: str, position: str | None) -> None:
        """The operational database holds the shard up to there."""
        self.first.claim(next(self.epochs), [shard])
        with self.platform.database.write() as connection:
            connection.execute(
                sa.update(checkpoints).where(checkpoints.c.shard == shard).values(position=position)
            )

    def losses(self) -> list[Loss]:
        return [span.loss for span in LostSpans(self.platform.database).list()]


@pytest.fixture
def watched(platform: Platform) -> Watched:
    return Watched(platform)


def test_a_position_that_expired_while_the_platform_was_down_is_a_span_that_may_be_lost(
    watched: Watched,
) -> None:
    watched.caught_up(30.0, SHARD)
    watched.watch.unread(SHARD, Unread("495", "511", until_us=77))
    (loss,) = watched.losses()
    assert (loss.source, loss.shard, loss.after, loss.before) == (EXCHANGE_BETS, SHARD, "495", "511")
    assert (loss.records, loss.until_us) == (None, 77)
    assert loss.from_us is not None
    assert "may have been dropped" in loss.reason


def test_a_position_that_expired_on_a_quiet_shard_is_no_loss(watched: Watched) -> None:
    watched.caught_up(KEPT_AT_LEAST_S / 3600 - 0.1, SHARD)
    watched.watch.unread(SHARD, Unread("495", "511", until_us=77))
    assert watched.losses() == []


def test_where_nobody_knows_when_the_shard_was_last_read_the_worst_is_assumed(watched: Watched) -> None:
    watched.caught_up(None, SHARD)
    watched.caught_up(0.1, SIBLING)
    watched.watch.unread(SHARD, Unread("495", "511"))
    assert [loss.from_us for loss in watched.losses()] == [None]


def test_a_loss_that_the_positions_prove_needs_no_time(watched: Watched) -> None:
    watched.caught_up(0.001, SHARD)
    watched.watch.unread(SHARD, Unread("10", "14", 3, certain=True))
    assert [loss.records for loss in watched.losses()] == [3]


@pytest.mark.parametrize(
    ("hours_ago", "shards", "lost"),
    [(30.0, (SIBLING,), True), (1.0, (SIBLING,), False), (30.0, (OTHERS,), False)],
    ids=["its stream was left for long", "its stream was just read", "only another stream was read"],
)
def test_a_new_shard_that_does_not_begin_where_its_stream_was_left_is_a_loss(
    watched: Watched, hours_ago: float, shards: tuple[str, ...], lost: bool
) -> None:
    watched.caught_up(hours_ago, *shards)
    watched.watch.unread(SHARD, Unread(None, "511"))
    assert bool(watched.losses()) == lost


def test_what_a_stream_dropped_before_the_platform_was_there_is_no_loss(watched: Watched) -> None:
    watched.watch.unread(SHARD, Unread(None, "511"))
    assert watched.losses() == []
    watched.holds(SIBLING, "400")
    watched.watch.unread(SHARD, Unread(None, "511"))
    assert len(watched.losses()) == 1


@pytest.mark.parametrize("position", ["495", None])
def test_a_shard_that_is_gone_before_its_end_was_read_is_a_loss(
    watched: Watched, position: str | None
) -> None:
    watched.holds(SHARD, position)
    watched.holds(OTHERS, "17")
    watched.watch.listed([SIBLING])
    watched.watch.listed([SIBLING])
    assert [(loss.shard, loss.after, loss.before) for loss in watched.losses()] == [(SHARD, position, None)]


def test_a_shard_that_was_read_to_its_end_may_go(watched: Watched) -> None:
    watched.holds(SHARD, SHARD_END)
    watched.watch.listed([SIBLING])
    assert watched.losses() == []


def test_the_time_that_counts_is_that_of_whichever_share_read_the_shard(watched: Watched) -> None:
    watched.caught_up(50.0, SHARD)
    watched.caught_up(2.0, SHARD, name=f"{EXCHANGE_BETS}/1-of-2")
    watched.caught_up(0.0, SIBLING, name=f"{EXCHANGE_BETS}/2-of-2")
    watched.watch.unread(SHARD, Unread("495", "511"))
    assert watched.losses() == []


# A stream as Kinesis has it: numbers of 56 digits with gaps, what is too old gone without a word.

NUMBER = 49590338271490256608559692538361571095921575989136588898


class Trimmed:
    """The client of a stream of one shard whose records have these numbers, and that drops its oldest on
    demand.
    """

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)
        self.kinds: list[str] = []
        self.empty_pages = 0

    def describe_stream_summary(self, **_kwargs: Any) -> Any:
        return {"StreamDescriptionSummary": {"StreamCreationTimestamp": datetime.fromtimestamp(5, UTC)}}

    def list_shards(self, **_kwargs: Any) -> Any:
        return {
            "Shards": [
                {"ShardId": "shardId-0", "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"}}
            ]
        }

    def get_shard_iterator(self, **kwargs: Any) -> Any:
        self.kinds.append(kwargs["ShardIteratorType"])
        number = int(kwargs.get("StartingSequenceNumber", 0))
        at = kwargs["ShardIteratorType"] == "AT_SEQUENCE_NUMBER"
        return {"ShardIterator": str(number - 1 if at else number)}

    def get_records(self, **kwargs: Any) -> Any:
        if self.empty_pages:
            self.empty_pages -= 1
            return {"Records": [], "NextShardIterator": kwargs["ShardIterator"], "MillisBehindLatest": 0}
        found = [number for number in self.numbers if number > int(kwargs["ShardIterator"])]
        return {
            "Records": [
                {
                    "SequenceNumber": str(number),
                    "ApproximateArrivalTimestamp": datetime.fromtimestamp(100, UTC),
                    "PartitionKey": "m",
                    "Data": b"%d" % (number - NUMBER),
                }
                for number in found
            ],
            "NextShardIterator": str(found[-1]) if found else kwargs["ShardIterator"],
            "MillisBehindLatest": 0,
        }


def _reading(client: Trimmed, position: int | None) -> tuple[KinesisSource, str]:
    source = KinesisSource(client, "s")
    (shard,) = source.shards()
    source.seek(shard.name, None if position is None else str(NUMBER + position))
    return source, shard.name


def test_a_position_that_is_still_held_is_read_on_without_a_word() -> None:
    source, shard = _reading(Trimmed(NUMBER + 3, NUMBER + 7, NUMBER + 12), 3)
    read = source.read(shard)
    assert ([record.data for record in read.records], read.unread) == ([b"7", b"12"], None)
    assert source.read(shard).unread is None


def test_a_position_that_the_stream_dropped_is_noticed_at_the_first_record_that_it_holds() -> None:
    client = Trimmed(NUMBER + 7, NUMBER + 12)
    client.empty_pages = 2
    source, shard = _reading(client, 3)
    assert [(source.read(shard).records, source.read(shard).unread)] == [([], None)]
    read = source.read(shard)
    assert [record.data for record in read.records] == [b"7", b"12"]
    assert read.unread == Unread(str(NUMBER + 3), str(NUMBER + 7), until_us=100_000_000)
    assert source.read(shard).unread is None


def test_a_position_that_expires_with_its_iterator_is_noticed_too() -> None:
    client = Trimmed(NUMBER + 3, NUMBER + 7)
    source, shard = _reading(client, 3)
    source.read(shard)
    real = client.get_records

    def expired(**_kwargs: Any) -> Any:
        client.get_records = real  # type: ignore[method-assign]
        raise ClientError({"Error": {"Code": "ExpiredIteratorException"}}, "GetRecords")

    client.get_records = expired  # type: ignore[method-assign]
    client.numbers = [NUMBER + 20]
    assert not source.read(shard).records
    assert source.read(shard).unread == Unread(str(NUMBER + 7), str(NUMBER + 20), until_us=100_000_000)


# The emulator, which numbers records and drops them by size.


@pytest.fixture
def stream() -> Iterator[Any]:
    """A client of an emulated stream of one shard, in this process."""
    emulated_kinesis.install()
    with mock_aws():
        client = boto3.client(
            "kinesis", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="a"
        )
        ensure_stream(client, EXCHANGE_BETS)
        yield client


def put(client: Any, entries: Sequence[bytes]) -> None:
    for data in entries:
        client.put_record(StreamName=EXCHANGE_BETS, PartitionKey="m", Data=data)


def trim_to(monkeypatch: pytest.MonkeyPatch, client: Any, entry: bytes) -> None:
    """Let the shard drop all but the newest, which is this one."""
    monkeypatch.setattr(emulated_kinesis, "MAX_BYTES", len(b64encode(entry)) * 3 // 2)
    put(client, [entry])


def consume(platform: Platform, client: Any, until: Callable[[], object]) -> None:
    running = Running(platform.consumer(KinesisSource(client, EXCHANGE_BETS, name=EXCHANGE_BETS)))  # type: ignore[arg-type]
    running.until(until)
    running.stop()


def test_records_that_the_emulator_dropped_unread_are_counted_and_kept_before_the_position_passes_them(
    platform: Platform, stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [encode(update) for update in bet_updates(6)]
    put(stream, data[:2])
    consume(platform, stream, lambda: platform.is_caught_up(0) and platform.table("bets"))
    put(stream, data[2:5])
    trim_to(monkeypatch, stream, data[5])
    put(stream, data[6:7])
    first = platform.first()
    seen: list[int] = []
    first.before = lambda records: seen.append(LostSpans(platform.database).standing())
    source = KinesisSource(stream, EXCHANGE_BETS, name=EXCHANGE_BETS)
    running = Running(platform.consumer(source, first=first))  # type: ignore[arg-type]
    running.until(lambda: len(first.committed) == 1)
    running.stop()
    (span,) = LostSpans(platform.database).list()
    assert (span.loss.after, span.loss.before, span.loss.records) == ("2", "7", 4)
    assert seen == [1]
    outcome = no_lost_spans(platform.database, EXCHANGE_BETS)
    assert not outcome.passed
    assert "4 records of shardId-000000000000" in outcome.description
    assert no_lost_spans(platform.database, "exchange-feed").passed
    LostSpans(platform.database).acknowledge(None, "published again", now_us=1)
    assert no_lost_spans(platform.database, EXCHANGE_BETS).passed


def test_records_that_are_dropped_in_front_of_a_reader_at_work_are_noticed_too(
    stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = KinesisSource(stream, EXCHANGE_BETS)
    (shard,) = source.shards()
    source.seek(shard.name, None)
    put(stream, [b"1", b"2"])
    assert len(source.read(shard.name).records) == 2
    put(stream, [b"3", b"4"])
    trim_to(monkeypatch, stream, b"5")
    read = source.read(shard.name)
    assert read.unread is not None
    assert (read.unread.after, read.unread.before, read.unread.records) == ("2", "5", 2)


@pytest.mark.parametrize("position", ["3", "99999999999999999999", "nonsense"])
def test_the_emulator_refuses_a_position_that_it_never_gave_out(stream: Any, position: str) -> None:
    put(stream, [b"1", b"2"])
    source = KinesisSource(stream, EXCHANGE_BETS)
    (shard,) = source.shards()
    source.seek(shard.name, position)
    with pytest.raises(PositionRefused, match="did not come from this stream"):
        source.read(shard.name)


def test_a_refused_position_fails_the_check_and_the_shard_is_read_again_once_it_was_set_back(
    platform: Platform, stream: Any
) -> None:
    data = [encode(update) for update in bet_updates(3)]
    put(stream, data)
    consume(platform, stream, lambda: platform.is_caught_up(0) and len(platform.table("bets")) == 6)
    (held,) = platform.table("checkpoints")
    with platform.database.write() as connection:
        connection.execute(sa.update(checkpoints).values(position="99"))
    running = Running(platform.consumer(KinesisSource(stream, EXCHANGE_BETS, name=EXCHANGE_BETS)))  # type: ignore[arg-type]

    def alive() -> Any:
        return consumer_alive(platform.rows, EXCHANGE_BETS, Settings(), platform.clock)

    running.until(lambda: "refuses position 99" in alive().description)
    assert not alive().passed
    assert set_back(platform.database, EXCHANGE_BETS, held["shard"]) == "99"
    running.until(lambda: platform.table("checkpoints")[0]["position"] == held["position"])
    running.until(lambda: alive().passed)
    running.stop()
    assert len(platform.table("bets")) == 6
    assert json.loads(platform.table("consumers")[-1]["statistics"])["trouble"] == []
