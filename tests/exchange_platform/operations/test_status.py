"""The status tells what the stores hold; `caught_up` is never said of an instant before the question."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exchange_platform.operations.status import SOURCES, NoPlatform, StatusReader
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sources.names import EXCHANGE_BETS, EXCHANGE_FEED
from tests.support.consumer_rows import beat
from tests.support.prepared import prepare

NOW_US = 1_800_000_000_000_000


class SetClock:
    """A clock that stands still but for what waits on it: each wait moves it on, and calls back."""

    def __init__(self) -> None:
        self.now = NOW_US
        self.on_wait: Callable[[], None] = lambda: None

    def now_us(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return self.now / 1e6

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        self.now += int(timeout_s * 1e6)
        self.on_wait()
        return wake.is_set()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def stores(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path)
    prepare(settings)
    return settings


@pytest.fixture
def rows(stores: Settings) -> Iterator[ConsumerRows]:
    database = Database(stores.operational_database_url)
    yield ConsumerRows(database)
    database.dispose()


@pytest.fixture
def reader(stores: Settings, clock: SetClock) -> Iterator[StatusReader]:
    reader = StatusReader(stores, clock=clock)
    yield reader
    reader.close()


def begin(rows: ConsumerRows, source: str = EXCHANGE_BETS, **said: object) -> int:
    epoch = rows.begin(source, "run-1", now_us=NOW_US, ends_at_us=NOW_US + 900_000_000)
    beat(rows, source, epoch, **{"heartbeat_at_us": NOW_US, "at_tip": True} | said)
    return epoch


def begin_all(rows: ConsumerRows, **beat: object) -> None:
    """A consumer of every source, which says the same."""
    for source in SOURCES:
        begin(rows, source, **beat)


STATISTICS = {
    "shards": {"shardId-000000000000@1": {"position": "41", "lag_ms": 12.5, "records": 40, "at_tip": True}},
    "sinks": {
        "lake": {
            "records": 40,
            "repeats": 1,
            "batches": 2,
            "commit_ms": 46.0,
            "lag_p50_ms": 300.0,
            "lag_p99_ms": 700.0,
            "retries": 0,
        }
    },
    "windows": {"open": 3, "closed": 5},
    "watermark_us": None,
    "trouble": [],
}


def test_a_heartbeat_that_lies_ahead_since_the_clock_was_set_back_is_no_sign_of_life(
    reader: StatusReader, rows: ConsumerRows
) -> None:
    begin_all(rows, heartbeat_at_us=NOW_US + 3_600_000_000, host="another-machine")
    status = reader.read(with_lake=False)
    assert {one.state for one in status.consumers} == {"silent"}
    assert not status.running
    assert {one.heartbeat_age_s for one in status.consumers} == {3600.0}


def test_it_tells_what_the_consumer_says(reader: StatusReader, rows: ConsumerRows) -> None:
    begin(rows, records=40, rate=8.0, lag_ms=12.5, caught_up_at_us=NOW_US, statistics=STATISTICS)
    begin(rows, EXCHANGE_FEED, caught_up_at_us=NOW_US)
    status = reader.read(with_lake=False)
    shard, feed = status.sources
    assert (feed.source, feed.shard, feed.epoch) == (EXCHANGE_FEED, None, 1)
    assert (shard.source, shard.shard, shard.epoch, shard.position) == (
        EXCHANGE_BETS,
        "shardId-000000000000@1",
        1,
        "41",
    )
    assert (shard.lag_ms, shard.records, shard.heartbeat_age_s) == (12.5, 40, 0.0)
    assert shard.sinks["lake"].lag_p99_ms == 700.0
    assert (status.windows.open, status.windows.closed) == (3, 5)
    assert status.running
    assert status.caught_up


def test_a_consumer_that_was_caught_up_before_the_question_is_not_caught_up(
    reader: StatusReader, rows: ConsumerRows
) -> None:
    begin_all(rows, caught_up_at_us=NOW_US - 1)
    assert not reader.read_when_caught_up(wait_s=1.0).caught_up


def test_it_waits_for_the_heartbeat_that_says_caught_up(
    reader: StatusReader, rows: ConsumerRows, clock: SetClock
) -> None:
    epoch = begin(rows, caught_up_at_us=NOW_US - 1)
    begin(rows, EXCHANGE_FEED, caught_up_at_us=NOW_US)

    def go_on() -> None:
        if clock.now >= NOW_US + 1_000_000:
            beat(rows, EXCHANGE_BETS, epoch, heartbeat_at_us=clock.now, caught_up_at_us=NOW_US + 600_000)

    clock.on_wait = go_on
    assert reader.read_when_caught_up(wait_s=3.0).caught_up
    assert clock.now < NOW_US + 1_500_000


def test_a_platform_is_caught_up_when_every_source_is(reader: StatusReader, rows: ConsumerRows) -> None:
    begin(rows, caught_up_at_us=NOW_US)
    assert not reader.read(with_lake=False).caught_up
    epoch = begin(rows, EXCHANGE_FEED, caught_up_at_us=None)
    assert not reader.read(with_lake=False).caught_up
    beat(rows, EXCHANGE_FEED, epoch, caught_up_at_us=NOW_US)
    assert reader.read(with_lake=False).caught_up


def test_a_silent_consumer_is_not_caught_up_whatever_it_last_said(
    reader: StatusReader, rows: ConsumerRows, clock: SetClock
) -> None:
    begin_all(rows, caught_up_at_us=NOW_US)
    clock.now += 5_000_000
    status = reader.read(with_lake=False)
    assert status.consumers[0].state == "silent"
    assert not status.caught_up
    assert not status.running


@pytest.mark.parametrize("state", ["ended", "superseded", "failed"])
def test_a_consumer_that_ended_is_not_waited_for(
    state: str, reader: StatusReader, rows: ConsumerRows, clock: SetClock
) -> None:
    begin_all(rows, caught_up_at_us=NOW_US, state=state)
    assert not reader.read_when_caught_up().caught_up
    assert clock.now == NOW_US


def test_a_successor_that_has_not_caught_up_counts_and_not_its_predecessor(
    reader: StatusReader, rows: ConsumerRows
) -> None:
    begin_all(rows, caught_up_at_us=NOW_US, records=7)
    begin(rows, caught_up_at_us=None, records=1)
    status = reader.read(with_lake=False)
    assert status.sources[0].epoch == 2
    assert status.records == 15
    assert not status.caught_up


def test_where_there_are_no_stores_it_says_so_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(NoPlatform, match="exchange-platform up"):
        StatusReader(Settings(data_dir=tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_a_database_without_tables_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "operational.sqlite").touch()
    reader = StatusReader(Settings(data_dir=tmp_path))
    with pytest.raises(NoPlatform, match="exchange-platform migrate"):
        reader.read(with_lake=False)
    reader.close()
