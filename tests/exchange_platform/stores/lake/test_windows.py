"""Odds windows in the lake: live, closed, re-opened, recomputed; always what the reference
(windows.aggregate) gives.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange_platform.domain.records import MAX_STAKE, Execution
from exchange_platform.domain.windows import WINDOW, aggregate
from exchange_platform.stores.lake import recompute as lake_recompute
from exchange_platform.stores.lake.lake import Lake
from exchange_platform.stores.lake.windows import ClosedDay, Recomputed
from tests.exchange_platform.stores.lake.lake_feed import NOON, SOURCE, Feed, bet, execution, lake_in
from tests.support.prepared import prepare_lake

COLUMNS = [
    "market_id",
    "selection_id",
    "handicap",
    "window_start",
    "executions",
    "average_odds",
    "vwap",
    "min_odds",
    "max_odds",
    "open_odds",
    "close_odds",
    "stake",
    "final",
    "revision",
]
DAY = date(2026, 6, 1)
_examples = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feed]:
    """A lake for many examples, each with markets of its own."""
    directory = tmp_path_factory.mktemp("lake")
    prepare_lake(directory)
    lake = lake_in(directory)
    yield Feed(lake)
    lake.close()


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    prepare_lake(tmp_path)
    lake = lake_in(tmp_path)
    yield Feed(lake)
    lake.close()


def rows(lake: Lake, table: str, where: str = "true") -> list[tuple[Any, ...]]:
    answer = lake.query(
        f"SELECT * FROM {table} WHERE {where} ORDER BY market_id, selection_id, handicap, window_start"
    )
    return list(zip(*(column.to_pylist() for column in answer.columns), strict=True))


def values(found: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows without `final` and `revision`."""
    return [row[:-2] for row in found]


def reference(executions: Sequence[Execution]) -> list[tuple[Any, ...]]:
    return [
        tuple(getattr(row, name) for name in COLUMNS[:-2])
        for row in sorted(
            aggregate(executions),
            key=lambda row: (row.market_id, row.selection_id, row.handicap, row.window_start),
        )
    ]


@st.composite
def markets(draw: st.DrawFn) -> list[Execution]:
    """Executions of a few selections around a window's edge; many at the same instant."""
    example = next(_examples)
    count = draw(st.integers(1, 40))
    return [
        execution(
            number,
            NOON
            + WINDOW
            + timedelta(microseconds=draw(st.sampled_from((-1, 0, 1, 10**6, 3 * 10**8 - 1, 3 * 10**8)))),
            odds=str(Decimal(draw(st.integers(1010, 1_000_000))) / 1000),
            stake=str(Decimal(draw(st.integers(1, 10**9))) / 1000),
            market=f"{example}.{draw(st.integers(0, 1))}",
            selection=draw(st.integers(1, 2)),
            handicap=draw(st.sampled_from(("0", "-0.5"))),
        )
        for number in range(count)
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream=markets(), order=st.randoms(use_true_random=False), pieces=st.integers(1, 4))
@pytest.mark.long
def test_any_order_with_repeats_and_any_closing_gives_the_reference(
    shared: Feed, stream: list[Execution], order: random.Random, pieces: int
) -> None:
    doubled = [*stream, *stream]
    order.shuffle(doubled)
    size = -(-len(doubled) // pieces)
    for start in range(0, len(doubled), size):
        shared.commit(doubled[start : start + size])
        if order.random() < 0.5:
            shared.close_all()
    example = stream[0].market_id.partition(".")[0]
    own = f"market_id LIKE '{example}.%'"
    assert values(rows(shared.lake, "odds_windows_live", own)) == reference(stream)
    shared.close_all()
    closed = rows(shared.lake, "odds_windows", own)
    assert values(closed) == reference(stream)
    assert all(final for *_, final, _ in closed)
    assert shared.lake.disagreeing_windows() == []


def test_both_tables_have_exactly_the_columns_that_analysts_are_told(feed: Feed) -> None:
    for table in ("odds_windows", "odds_windows_live"):
        assert feed.lake.query(f"SELECT * FROM {table}").column_names == COLUMNS


def test_live_windows_are_current_at_once_and_not_final(feed: Feed) -> None:
    feed.commit([execution(1)])
    assert [row[-2:] for row in rows(feed.lake, "odds_windows_live")] == [(False, 0)]
    feed.commit([execution(2)])
    assert [row[4] for row in rows(feed.lake, "odds_windows_live")] == [2]
    assert rows(feed.lake, "odds_windows") == []


def test_only_windows_that_their_market_has_passed_are_closed(feed: Feed) -> None:
    late = NOON + WINDOW
    feed.commit([execution(1, market="1.1"), execution(2, late, market="1.1"), execution(1, market="1.2")])
    almost = late - timedelta(microseconds=1)
    assert feed.lake.close_windows(SOURCE, 1, {"1.1": almost, "1.2": almost}) == []
    assert feed.lake.close_windows(SOURCE, 1, {"1.1": late}) == [ClosedDay(DAY, 1, 0)]
    assert feed.lake.open_windows() == {("1.1", late), ("1.2", NOON)}
    assert feed.lake.close_windows(SOURCE, 1, {"1.1": None, "1.2": None}) == [ClosedDay(DAY, 2, 0)]
    assert feed.lake.open_windows(refresh=True) == set()
    assert [row[-2:] for row in rows(feed.lake, "odds_windows")] == [(True, 1)] * 3


def test_a_late_execution_reopens_its_window_alone(feed: Feed) -> None:
    feed.commit([execution(1), execution(2, selection=8), execution(1, NOON + WINDOW, market="1.2")])
    feed.close_all()
    feed.commit([execution(3)])
    assert feed.lake.open_windows() == {("1.1", NOON)}
    assert feed.lake.disagreeing_windows() == [], "an open window is not expected to agree"
    assert feed.lake.close_windows(SOURCE, 1, {"1.1": None}) == [ClosedDay(DAY, 0, 1)]
    revisions = {(row[0], row[1]): row[-1] for row in rows(feed.lake, "odds_windows")}
    assert revisions == {("1.1", 7): 2, ("1.1", 8): 1, ("1.2", 7): 1}


def test_a_repeat_of_an_old_execution_reopens_nothing(feed: Feed) -> None:
    feed.commit([execution(1)])
    feed.close_all()
    feed.commit([execution(1)])
    assert feed.lake.open_windows(refresh=True) == set()


def test_bets_open_no_windows(feed: Feed) -> None:
    feed.commit(bets=[bet(1)])
    assert feed.lake.open_windows(refresh=True) == set()


def test_a_successor_finds_the_open_windows_and_how_far_their_markets_were(
    feed: Feed, tmp_path: Path
) -> None:
    feed.commit([execution(1), execution(2), execution(9, market="1.2")])
    feed.lake.close_windows(SOURCE, 1, {"1.2": None})
    successor = Feed(lake_in(tmp_path), epoch=2)
    assert successor.lake.open_windows() == {("1.1", NOON)}
    assert successor.lake.open_market_times() == {"1.1": NOON + timedelta(seconds=2)}
    successor.close_all()
    assert len(rows(successor.lake, "odds_windows")) == 2
    successor.lake.close()


def test_a_window_that_another_process_opened_is_found_when_asked_anew(feed: Feed, tmp_path: Path) -> None:
    feed.commit([execution(1)])
    feed.close_all()
    replay = lake_in(tmp_path)
    replay.commit("dead-letters", 0, [], [execution(2)], [])
    replay.close()
    assert feed.lake.open_windows() == set()
    assert feed.lake.open_windows(refresh=True) == {("1.1", NOON)}
    feed.close_all()
    assert [row[-1] for row in rows(feed.lake, "odds_windows")] == [2]


def test_recomputing_a_day_that_is_right_changes_nothing(feed: Feed) -> None:
    feed.commit([execution(n, NOON + n * WINDOW) for n in range(5)])
    feed.close_all()
    before = rows(feed.lake, "odds_windows")
    for _ in range(2):
        assert feed.lake.recompute(DAY) == Recomputed(DAY, rows=5, changed=0, added=0, removed=0)
    assert rows(feed.lake, "odds_windows") == before


def test_recomputing_mends_wrong_missing_and_superfluous_rows(feed: Feed) -> None:
    stream = [execution(n, NOON + n * WINDOW) for n in range(4)]
    feed.commit(stream)
    feed.close_all()
    session = feed.lake._connection.session
    session.execute(f"UPDATE odds_windows SET vwap = 99 WHERE window_start = '{NOON.isoformat()}'")
    session.execute(f"DELETE FROM odds_windows WHERE window_start = '{(NOON + WINDOW).isoformat()}'")
    session.execute(
        "INSERT INTO odds_windows SELECT * REPLACE (99 AS selection_id) FROM odds_windows LIMIT 1"
    )
    assert len(feed.lake.disagreeing_windows()) == 3
    assert feed.lake.recompute(DAY) == Recomputed(DAY, rows=4, changed=1, added=1, removed=1)
    assert values(rows(feed.lake, "odds_windows")) == reference(stream)
    assert feed.lake.disagreeing_windows() == []


def spoiled(feed: Feed, windows: int) -> list[Execution]:
    """So many closed windows of two hours, each with a wrong row; returns their executions."""
    stream = [execution(n, NOON + (n % 24) * WINDOW, market=f"1.{n // 24}") for n in range(windows)]
    feed.commit(stream)
    feed.close_all()
    feed.lake._connection.session.execute("UPDATE odds_windows SET vwap = 99")
    assert len(feed.lake.disagreeing_windows(limit=1000)) == windows
    return stream


class Transactions:
    """Watches the lake's writing transactions; before each, `meanwhile` is called with its number, from 1."""

    def __init__(self, feed: Feed, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[int], None]) -> None:
        self.count = 0
        write = feed.lake._connection.write

        @contextmanager
        def watched() -> Iterator[Any]:
            self.count += 1
            meanwhile(self.count)
            with write() as connection:
                yield connection

        monkeypatch.setattr(feed.lake._connection, "write", watched)


def test_recomputing_a_day_that_is_right_waits_for_no_writer_and_holds_none_up(
    feed: Feed, tmp_path: Path
) -> None:
    feed.commit([execution(n, NOON + n * WINDOW) for n in range(20)])
    feed.close_all()
    with FileLock(f"{tmp_path / 'catalog.sqlite'}.lock"):
        assert feed.lake.recompute(DAY) == Recomputed(DAY, rows=20, changed=0, added=0, removed=0)


def test_recomputing_a_wrong_day_lets_consumers_write_in_between(
    feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = spoiled(feed, 40)
    monkeypatch.setattr(lake_recompute, "MAX_ROWS_AT_ONCE", 8)
    other = Feed(lake_in(tmp_path), epoch=2)
    late: list[Execution] = []

    def a_consumer_commits(number: int) -> None:
        late.append(execution(100 + number, NOON + number * WINDOW, market="1.0"))
        other.commit(late[-1:])

    transactions = Transactions(feed, monkeypatch, a_consumer_commits)
    done = feed.lake.recompute(DAY)
    assert transactions.count >= 5, "40 rows, 8 at once"
    assert done.changed >= 40 - len(late), "those that a late execution opened are the consumer's to close"
    other.close_all()
    assert values(rows(feed.lake, "odds_windows")) == reference([*stream, *late])
    other.lake.close()


def test_recomputing_that_is_killed_in_between_leaves_whole_windows_and_is_finished_by_the_next(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = spoiled(feed, 24)
    with monkeypatch.context() as patched:
        patched.setattr(lake_recompute, "MAX_ROWS_AT_ONCE", 5)

        def killed(number: int) -> None:
            if number == 3:
                raise KeyboardInterrupt

        Transactions(feed, patched, killed)
        with pytest.raises(KeyboardInterrupt):
            feed.lake.recompute(DAY)
    assert len(feed.lake.disagreeing_windows()) == 14
    assert feed.lake.recompute(DAY) == Recomputed(DAY, rows=24, changed=14, added=0, removed=0)
    assert values(rows(feed.lake, "odds_windows")) == reference(stream)
    assert {row[-1] for row in rows(feed.lake, "odds_windows")} == {2}


def test_recomputing_leaves_other_days_and_open_windows_alone(feed: Feed) -> None:
    other_day = NOON + timedelta(days=1)
    feed.commit([execution(1), execution(2, other_day)])
    feed.close_all()
    feed.commit([execution(3), execution(4, other_day)])
    assert feed.lake.recompute(DAY) == Recomputed(DAY, rows=0, changed=0, added=0, removed=0)
    assert [row[4] for row in rows(feed.lake, "odds_windows")] == [1, 1]
    assert len(feed.lake.open_windows(refresh=True)) == 2


def test_a_day_is_the_utc_day(feed: Feed) -> None:
    midnight = NOON + timedelta(hours=12)
    feed.commit([execution(1, midnight - timedelta(microseconds=1)), execution(2, midnight)])
    assert feed.lake.close_windows(SOURCE, 1, {"1.1": None}) == [
        ClosedDay(DAY, 1, 0),
        ClosedDay(date(2026, 6, 2), 1, 0),
    ]
    assert feed.lake.recompute(DAY).rows == 1


def test_the_largest_stakes_allowed_can_not_stop_a_window_from_closing(feed: Feed) -> None:
    feed.commit([execution(n, NOON, odds="1000", stake=str(MAX_STAKE)) for n in range(2000)])
    feed.close_all()
    ((*_, stake, final, revision),) = rows(feed.lake, "odds_windows")
    assert (stake, final, revision) == (2000 * MAX_STAKE, True, 1)


def test_days_apart_are_closed_together_each_with_its_own_rows(feed: Feed) -> None:
    feed.commit([execution(n, NOON + timedelta(days=n)) for n in range(3)])
    days = feed.lake.close_windows(SOURCE, 1, {"1.1": None})
    assert [(day.day.day, day.closed) for day in days] == [(1, 1), (2, 1), (3, 1)]
