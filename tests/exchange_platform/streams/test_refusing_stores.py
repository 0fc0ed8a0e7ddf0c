"""A store that refuses everything is down, whatever it says: no good record is buried, and the cause is
reported until it is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from exchange_platform.domain.records import encode
from exchange_platform.operations.checks import consumer_alive
from exchange_platform.operations.status import StatusReader
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.profile_view import ProfileView, ensure_table
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow, ConsumerRows
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.engine.condition import SinkDegraded
from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.streams.engine.source import StreamRecord
from exchange_platform.streams.sinks.lake import LakeSink, Windows
from exchange_platform.streams.sinks.operational import BetsSink
from exchange_platform.streams.sinks.profile_view import ProfileViewSink
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.streams.engine_parts import (
    HastyClock,
    Platform,
    RecordingSink,
    Running,
    new_platform,
    of_a_user,
    poisoned_by,
)
from tests.support.memory_source import MemorySource
from tests.support.platform_parts import wait_for
from tests.support.prepared import prepare
from tests.support.workload import matched_pairs


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with new_platform(tmp_path) as platform:
        yield platform


def source_of(records: int, *, read_limit: int = 10_000) -> MemorySource:
    source = MemorySource(read_limit=read_limit)
    for number in range(records):
        source.put(of_a_user(number))
    return source


class Broken:
    """A store that answers every write with one error, until it is repaired."""

    def __init__(self, error: Callable[[Sequence[StreamRecord]], Exception]) -> None:
        self.error = error
        self.is_broken = True
        self.refused = 0

    def __call__(self, records: Sequence[StreamRecord]) -> None:
        if self.is_broken and records:
            self.refused += 1
            raise self.error(records)


def newest(platform: Platform) -> ConsumerRow:
    row = platform.rows.newest(EXCHANGE_BETS)
    assert row is not None
    return row


def last_error(platform: Platform) -> str:
    row = platform.rows.newest(EXCHANGE_BETS)
    return "; ".join(row.statistics.trouble) if row is not None else ""


def repaired(platform: Platform, running: Running, broken: Broken) -> None:
    """Repair the store, wait until all is caught up, and stop."""
    broken.is_broken = False
    since_us = platform.clock.now_us()
    running.until(lambda: platform.is_caught_up(since_us), "caught up")
    assert last_error_is_gone(platform, running)
    running.stop()


def last_error_is_gone(platform: Platform, running: Running) -> bool:
    running.until(lambda: not last_error(platform), "no error any more")
    return True


OTHER_ERRORS: list[Exception] = [
    TypeError("'NoneType' object is not subscriptable"),
    KeyError("venue"),
    PermissionError("not allowed"),
    duckdb.BinderException("table executions has 11 columns but 10 values were supplied"),
    duckdb.PermissionException("read only"),
]


@pytest.mark.parametrize("error", OTHER_ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_that_blames_no_record_buries_none(platform: Platform, error: Exception) -> None:
    source = source_of(120, read_limit=50)
    follower = RecordingSink()
    broken = follower.before = Broken(lambda records: error)
    running = Running(platform.consumer(source, [follower]))
    running.until(lambda: broken.refused > 2 and type(error).__name__ in last_error(platform), "reported")
    assert "follower degraded since 2" in last_error(platform)
    assert len(platform.table("bets")) == 120  # the first sink goes on
    assert platform.table("dead_letters") == []
    repaired(platform, running, broken)
    assert Counter(data for _, data in follower.store.written) == Counter(
        encode(of_a_user(number)) for number in range(120)
    )
    assert platform.table("dead_letters") == []


def test_the_first_sinks_own_defect_buries_none(platform: Platform) -> None:
    source = source_of(120)
    first, follower = platform.first(), RecordingSink()
    broken = first.before = Broken(lambda records: AttributeError("a defect"))
    running = Running(platform.consumer(source, [follower], first=first))
    running.until(lambda: broken.refused > 2 and "a defect" in last_error(platform))
    assert platform.table("dead_letters") == []
    repaired(platform, running, broken)
    assert len(follower.store.written) == len(platform.table("bets")) == 120
    assert platform.table("dead_letters") == []


@pytest.mark.parametrize("records", [150, 900])
@pytest.mark.parametrize("read_limit", [7, 10_000])
def test_many_good_records_that_are_refused_in_a_row_for_one_reason_are_not_buried(
    platform: Platform, records: int, read_limit: int
) -> None:
    """As when a column was made NOT NULL: each refusal is an error of the record, by its kind."""
    source = source_of(records, read_limit=read_limit)
    follower = RecordingSink()
    broken = follower.before = Broken(
        lambda batch: duckdb.ConstraintException(f"NOT NULL constraint failed: '{batch[0].position}'")
    )
    running = Running(platform.consumer(source, [follower]))
    running.until(lambda: "records in a row were refused" in last_error(platform), "the breaker")
    wait_for(lambda: platform.table("dead_letters") == [], timeout_s=30)
    wait_for(lambda: len(platform.table("bets")) == records, timeout_s=60)  # the first sink goes on
    repaired(platform, running, broken)
    assert Counter(position for _, position, _ in follower.store.places()) == Counter(
        str(number) for number in range(1, records + 1)
    )
    assert platform.table("dead_letters") == []


def test_bad_records_among_good_ones_are_buried_while_the_store_refuses_them_alone(
    platform: Platform,
) -> None:
    source = source_of(700, read_limit=300)
    follower = RecordingSink()
    bad = [number for number in range(700) if number % 5 == 0]  # more than would trip the breaker in a row
    follower.before = poisoned_by(*(encode(of_a_user(number)) for number in bad))
    platform.consume_all(platform.consumer(source, [follower]))
    assert len(follower.store.written) == 700 - len(bad)
    letters = DeadLetters(platform.database).list(limit=1000)
    assert {letter.position for letter in letters} == {str(number + 1) for number in bad}
    assert {letter.stage for letter in letters} == {"follower"}


def test_a_bad_record_behind_a_repaired_store_is_still_found(platform: Platform) -> None:
    source = source_of(200)
    follower = RecordingSink()
    poison = poisoned_by(encode(of_a_user(0)))
    broken = Broken(lambda records: ValueError("this can not be written"))

    def before(records: Sequence[StreamRecord]) -> None:
        broken(records)
        poison(records)

    follower.before = before
    running = Running(platform.consumer(source, [follower]))
    running.until(lambda: "in a row" in last_error(platform))
    repaired(platform, running, broken)
    assert len(follower.store.written) == 199
    assert [(row["position"], row["stage"]) for row in platform.table("dead_letters")] == [("1", "follower")]


def test_who_dies_before_it_is_decided_who_is_at_fault_buries_nothing(platform: Platform) -> None:
    """The checkpoint did not pass the suspects, so what is suspected of them is taken back by whoever reads
    them again.
    """
    source = source_of(60)
    follower = RecordingSink()
    tries = 0

    def before(records: Sequence[StreamRecord]) -> None:
        nonlocal tries
        tries += 1
        if tries > 50:
            raise MemoryError
        if records:
            raise ValueError("refused")

    follower.before = before
    running = Running(platform.consumer(source, [follower]))
    with pytest.raises(MemoryError):
        running.join()
    successor = RecordingSink(store=follower.store)
    platform.consume_all(platform.consumer(source, [successor]))
    assert len(successor.store.written) == 60
    assert successor.store.doubled() == []
    assert platform.table("dead_letters") == []


def test_what_was_suspected_and_passed_when_its_consumer_died_stays_buried(platform: Platform) -> None:
    source = source_of(20)
    follower = RecordingSink()
    follower.before = poisoned_by(encode(of_a_user(5)))
    first = platform.first()

    def convict(shard: str, records: Sequence[StreamRecord]) -> None:
        raise MemoryError

    first.convict = convict  # type: ignore[method-assign]
    running = Running(platform.consumer(source, [follower], first=first))
    with pytest.raises(MemoryError):
        running.join()
    assert [row["stage"] for row in platform.table("dead_letters")] == ["suspected:follower"]
    successor = RecordingSink(store=follower.store)
    platform.consume_all(platform.consumer(source, [successor]))
    assert [row["stage"] for row in platform.table("dead_letters")] == ["follower"]
    assert len(follower.store.written) == 19


def test_a_sink_that_stays_degraded_ends_its_run_with_the_cause(platform: Platform) -> None:
    source = source_of(5)
    follower = RecordingSink()
    follower.before = Broken(lambda records: TypeError("a defect"))
    platform.clock.haste = 100.0
    running = Running(platform.consumer(source, [follower]))
    with pytest.raises(SinkDegraded, match=r"follower degraded since .*TypeError: a defect.*the run ends"):
        running.join()
    assert newest(platform).state == "failed"
    check = consumer_alive(platform.rows, EXCHANGE_BETS, Settings(), platform.clock)
    assert not check.passed
    assert "TypeError: a defect" in check.description
    assert platform.table("dead_letters") == []


def test_a_degraded_sink_fails_the_check_with_cause_and_remedy(platform: Platform) -> None:
    source = source_of(5)
    follower = RecordingSink()
    broken = follower.before = Broken(lambda records: duckdb.BinderException("no column venue"))
    running = Running(platform.consumer(source, [follower]))
    running.until(lambda: "venue" in last_error(platform))
    check = consumer_alive(platform.rows, EXCHANGE_BETS, Settings(), platform.clock)
    assert not check.passed
    assert "BinderException: no column venue" in check.description
    assert "exchange-platform migrate" in check.description
    assert newest(platform).statistics.sinks["follower"].last_error in check.description
    repaired(platform, running, broken)


# With the real stores.


class Denying:
    """DynamoDB's answer to every write of a client that may not write."""

    def __init__(self, client: Any) -> None:
        self.denies = True
        self.denied = 0
        for call in ("TransactWriteItems", "PutItem", "BatchWriteItem"):
            client.meta.events.register(f"before-send.dynamodb.{call}", self._answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse | None:
        if not self.denies:
            return None
        self.denied += 1
        body = (
            b'{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User: arn:aws:sts::1:'
            b'assumed-role/run is not authorized to perform: dynamodb:PutItem"}'
        )
        return AWSResponse(request.url, 400, HTTPHeaders.from_dict({}), _Raw(body))


class _Raw(BytesIO):
    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()


class Real:
    """A consumer of the real stores, whose profile view may be denied."""

    def __init__(self, settings: Settings, source: MemorySource) -> None:
        self.clock = HastyClock()
        self.database = Database(settings.operational_database_url)
        self.rows = ConsumerRows(self.database)
        client = aws_client(settings, "dynamodb")
        ensure_table(client, settings.profiles_table)
        self.denying = Denying(client)
        self.view = ProfileView(aws_client(settings, "dynamodb"), settings.profiles_table)
        windows = Windows(settings)
        self.consumer = Consumer(
            source=source,
            first=BetsSink(self.database, self.clock),
            others=[
                LakeSink(Lake.from_settings(settings), windows, settings.lake_interval_s, self.clock),
                ProfileViewSink(
                    self.database, ProfileView(client, settings.profiles_table), settings, self.clock
                ),
            ],
            rows=self.rows,
            run_id="test",
            duration_s=10_000.0,
            windows=windows,
            degraded_limit_s=10_000.0,
            clock=self.clock,
        )
        self.running = Running(self.consumer)

    def last_error(self) -> str:
        row = self.rows.newest(EXCHANGE_BETS)
        return "; ".join(row.statistics.trouble) if row is not None else ""

    def until_caught_up(self) -> None:
        since_us = self.clock.now_us()

        def is_caught_up() -> bool:
            row = self.rows.newest(EXCHANGE_BETS)
            return row is not None and (row.caught_up_at_us or 0) > since_us

        self.running.until(is_caught_up, "caught up")
        self.running.stop()


def test_access_denied_on_every_write_of_the_view_makes_no_dead_letter(settings: Settings) -> None:
    prepare(settings)
    source = MemorySource()
    updates = [of_a_user(number) for number in range(900)]
    for update in updates:
        source.put(update)
    real = Real(settings, source)
    real.running.until(lambda: real.denying.denied > 2 and "AccessDenied" in real.last_error(), "reported")
    assert DeadLetters(real.database).count().waiting == 0
    reader = StatusReader(settings)
    status = reader.read()
    reader.close()
    (consumer,) = [one for one in status.consumers if one.source == EXCHANGE_BETS]
    assert "profile_view degraded since" in consumer.last_error
    assert "permission" in consumer.last_error
    assert not consumer.caught_up
    assert "AccessDenied" in status.sources[0].sinks["profile_view"].last_error
    assert status.sources[0].sinks["lake"].last_error == ""
    assert status.bets == 900  # the operational database goes on
    check = consumer_alive(real.rows, EXCHANGE_BETS, settings, real.clock)
    assert (check.passed, "AccessDenied" in check.description) == (False, True)
    real.denying.denies = False
    real.until_caught_up()
    assert DeadLetters(real.database).count().waiting == 0
    assert all(real.view.get(update.user_id) is not None for update in updates[::90])
    real.database.dispose()


@pytest.mark.parametrize(
    "widened",
    [
        "ALTER TABLE executions ADD COLUMN venue VARCHAR",
        "ALTER TABLE bet_history ADD COLUMN venue VARCHAR DEFAULT 'x'",
        "ALTER TABLE odds_windows ADD COLUMN median_odds DOUBLE",
        "ALTER TABLE open_windows ADD COLUMN since TIMESTAMPTZ",
        "ALTER TABLE checkpoints ADD COLUMN updated_at TIMESTAMPTZ",
    ],
)
def test_a_lake_that_was_widened_takes_every_record(settings: Settings, widened: str) -> None:
    prepare(settings)
    lake = Lake.from_settings(settings)
    with lake._connection.write() as connection:
        connection.execute(widened)
    lake.close()
    source = MemorySource()
    for record in matched_pairs(60):
        source.put(record)
    real = Real(settings, source)
    real.denying.denies = False
    real.until_caught_up()
    assert DeadLetters(real.database).count().waiting == 0
    lake = Lake.from_settings(settings, read_only=True)
    assert lake.counts().executions == 60
    lake.close()
    real.database.dispose()


def test_a_lake_whose_column_is_gone_waits_for_it(settings: Settings) -> None:
    prepare(settings)
    _change_lake(settings, "ALTER TABLE executions RENAME COLUMN stake TO staked")
    source = MemorySource()
    for record in matched_pairs(60):
        source.put(record)
    real = Real(settings, source)
    real.denying.denies = False
    real.running.until(lambda: "lake degraded since" in real.last_error(), "reported")
    assert "exchange-platform migrate" in real.last_error()
    _change_lake(settings, "ALTER TABLE executions RENAME COLUMN staked TO stake")
    real.until_caught_up()
    assert DeadLetters(real.database).count().waiting == 0
    lake = Lake.from_settings(settings, read_only=True)
    assert lake.counts().executions == 60
    lake.close()
    real.database.dispose()


def _change_lake(settings: Settings, statement: str) -> None:
    lake = Lake.from_settings(settings)
    with lake._connection.write() as connection:
        connection.execute(statement)
    lake.close()
