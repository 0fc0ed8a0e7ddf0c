"""Clients read closed and live windows as one list, from any thread, while the lake is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from exchange_platform.domain.records import Execution
from exchange_platform.domain.windows import WINDOW, aggregate
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.lake.lake import Lake
from exchange_platform.stores.lake.window_reading import MarketWindow, WindowReader, WindowSpan
from tests.exchange_platform.stores.lake.lake_feed import NOON, SECOND, SOURCE, Feed, execution
from tests.support.prepared import prepare

ALL = WindowSpan()


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """A lake in a directory of its own."""
    settings = Settings(data_dir=tmp_path)
    prepare(settings)
    return settings


@pytest.fixture
def feed(own: Settings) -> Iterator[Feed]:
    lake = Lake.from_settings(own)
    yield Feed(lake)
    lake.close()


@pytest.fixture
def reader(own: Settings) -> Iterator[WindowReader]:
    reader = WindowReader(own)
    yield reader
    reader.close()


def told(windows: list[MarketWindow]) -> list[tuple[int, int, bool, int]]:
    """Each window's number since noon, executions, final, revision."""
    return [
        ((window.row.window_start - NOON) // WINDOW, window.row.executions, window.final, window.revision)
        for window in windows
    ]


def test_closed_and_live_windows_are_one_list(feed: Feed, reader: WindowReader) -> None:
    feed.commit([execution(n, NOON + n * 100 * SECOND) for n in range(9)])
    feed.lake.close_windows(SOURCE, 1, {"1.1": NOON + 2 * WINDOW})
    assert told(reader.read("1.1", ALL, limit=100)) == [(0, 3, True, 1), (1, 3, True, 1), (2, 3, False, 0)]


def test_a_window_that_opens_again_tells_its_last_revision_until_it_is_closed(
    feed: Feed, reader: WindowReader
) -> None:
    feed.commit([execution(1)])
    feed.close_all()
    feed.commit([execution(2)])
    assert told(reader.read("1.1", ALL, limit=100)) == [(0, 2, False, 1)]
    feed.close_all()
    assert told(reader.read("1.1", ALL, limit=100)) == [(0, 2, True, 2)]


def test_a_window_is_what_its_executions_give(feed: Feed, reader: WindowReader) -> None:
    executions = [
        execution(
            n, NOON + n * 37 * SECOND, odds=f"{2 + n * 0.02:.2f}", stake=f"{n + 1}.125", selection=7 + n % 2
        )
        for n in range(40)
    ]
    feed.commit(executions)
    expected = sorted(
        aggregate(executions), key=lambda row: (row.window_start, row.selection_id, row.handicap)
    )
    assert [window.row for window in reader.read("1.1", ALL, limit=100)] == expected


def test_a_read_is_bounded_by_span_selection_and_number(feed: Feed, reader: WindowReader) -> None:
    feed.commit(
        [
            execution(10 * n + selection, NOON + n * WINDOW, selection=selection)
            for n in range(4)
            for selection in (7, 8)
        ]
    )
    feed.lake.close_windows(SOURCE, 1, {"1.1": NOON + 2 * WINDOW})
    span = WindowSpan(NOON + WINDOW, NOON + 3 * WINDOW)
    assert [number for number, *_ in told(reader.read("1.1", span, limit=100))] == [1, 1, 2, 2]
    assert [number for number, *_ in told(reader.read("1.1", span, selection_id=8, limit=100))] == [1, 2]
    assert [number for number, *_ in told(reader.read("1.1", ALL, limit=3))] == [2, 3, 3]
    assert reader.read("1.2", ALL, limit=100) == []


def test_several_markets_are_read_each_from_its_floor(feed: Feed, reader: WindowReader) -> None:
    long_ago = NOON - timedelta(days=900)
    feed.commit([execution(n, NOON + n * WINDOW, market="1.1") for n in range(3)])
    feed.commit([execution(n, long_ago + n * WINDOW, market="1.2") for n in range(3)])
    found = reader.read_since({"1.1": NOON + 2 * WINDOW, "1.2": long_ago + WINDOW}, limit=100)
    assert sorted((window.row.market_id, window.row.window_start) for window in found) == [
        ("1.1", NOON + 2 * WINDOW),
        ("1.2", long_ago + WINDOW),
        ("1.2", long_ago + 2 * WINDOW),
    ]


def test_the_snapshot_stays_until_something_is_committed(feed: Feed, reader: WindowReader) -> None:
    before = reader.snapshot()
    assert reader.snapshot() == before
    feed.commit([execution(1)])
    assert reader.snapshot() > before


def test_threads_share_the_connections_while_the_lake_is_written(feed: Feed, reader: WindowReader) -> None:
    feed.commit([execution(0)])
    done = threading.Event()

    def write() -> None:
        for n in range(1, 15):
            feed.commit([execution(n)])
        done.set()

    def read(_: int) -> list[int]:
        counted = []
        while not done.is_set():
            counted.append(sum(window.row.executions for window in reader.read("1.1", ALL, limit=100)))
        return counted

    with ThreadPoolExecutor(7) as threads:
        writing = threads.submit(write)
        reads = list(threads.map(read, range(6)))
        writing.result()
    for counted in reads:
        assert counted == sorted(counted)  # nobody sees less than before
    assert sum(window.row.executions for window in reader.read("1.1", ALL, limit=100)) == 15


def test_a_lake_that_is_away_is_told_and_found_again(own: Settings, feed: Feed, reader: WindowReader) -> None:
    feed.commit([execution(1)])
    catalog = own.data_dir / "lake" / "catalog.sqlite"
    away = catalog.with_suffix(".away")
    catalog.rename(away)
    with pytest.raises(StoreUnavailable, match="restore-lake"):
        reader.read("1.1", ALL, limit=100)
    away.rename(catalog)
    assert len(reader.read("1.1", ALL, limit=100)) == 1


TIMES = st.lists(st.integers(0, 6 * 300 - 1), min_size=1, max_size=25)


@hypothesis_settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(st.tuples(TIMES, st.integers(0, 6)), min_size=1, max_size=4), own_market=st.uuids())
def test_however_windows_were_closed_and_opened_they_are_what_the_executions_give(
    feed: Feed, reader: WindowReader, batches: list[tuple[list[int], int]], own_market: object
) -> None:
    market = f"1.{own_market}"
    executions: list[Execution] = []
    for times, closed_windows in batches:
        new = [
            execution(
                len(executions) + place, NOON + second * SECOND, market=market, odds=f"{2 + second % 50}"
            )
            for place, second in enumerate(times)
        ]
        executions += new
        feed.commit(new)
        feed.lake.close_windows(SOURCE, 1, {market: NOON + closed_windows * WINDOW})
    rows = [window.row for window in reader.read(market, ALL, limit=1000)]
    assert rows == aggregate(executions)
    assert all(isinstance(row.stake, Decimal) for row in rows)
