"""Windows as the domain knows them: which one an instant is in, what a row says, when a market's windows have
passed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.records import Execution
from exchange_platform.domain.windows import WINDOW, Watermarks, aggregate, window_start

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SECOND_US = 1_000_000
NOW_US = int(NOON.timestamp()) * SECOND_US

zones = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.builds(
    lambda naive, zone: naive.replace(tzinfo=UTC).astimezone(zone),
    st.datetimes(datetime(2001, 1, 1), datetime(2099, 12, 30)),  # noqa: DTZ001 (a zone is given in the next line)
    zones,
)


def execution(
    number: int, at: datetime = NOON, odds: str = "2", stake: str = "10", market: str = "1.1"
) -> Execution:
    return Execution(
        execution_id=f"x{number:06d}",
        event_id="e1",
        market_id=market,
        selection_id=7,
        odds=Decimal(odds),
        stake=Decimal(stake),
        executed_at=at,
    )


@given(instants)
def test_a_window_is_half_open_and_aligned_to_the_utc_hour(instant: datetime) -> None:
    start = window_start(instant)
    assert start <= instant < start + WINDOW
    assert start.utcoffset() == timedelta(0)
    assert start.minute % 5 == 0
    assert (start.second, start.microsecond) == (0, 0)


def test_a_windows_end_belongs_to_the_next_window() -> None:
    assert window_start(NOON + WINDOW) == NOON + WINDOW
    assert window_start(NOON + WINDOW - timedelta(microseconds=1)) == NOON


def test_an_offset_that_is_no_multiple_of_five_minutes_does_not_shift_windows() -> None:
    odd_zone = timezone(timedelta(hours=5, minutes=43))
    assert window_start(datetime(2026, 6, 1, 17, 43, tzinfo=odd_zone)) == NOON


def test_a_row_tells_open_close_extremes_both_averages_and_the_stake() -> None:
    (row,) = aggregate(
        [
            execution(2, NOON + timedelta(seconds=2), "4", "1"),
            execution(1, NOON + timedelta(seconds=1), "2", "3"),
            execution(3, NOON + timedelta(seconds=3), "3", "0.5"),
        ]
    )
    assert (row.open_odds, row.close_odds, row.min_odds, row.max_odds) == tuple(map(Decimal, "2324"))
    assert row.executions == 3
    assert row.average_odds == 3.0
    assert row.vwap == (2 * 3 + 4 * 1 + 3 * 0.5) / 4.5
    assert row.stake == Decimal("4.5")


def test_executions_of_one_instant_open_and_close_by_their_ids() -> None:
    (row,) = aggregate([execution(3, odds="3"), execution(1, odds="5"), execution(2, odds="4")])
    assert (row.open_odds, row.close_odds) == (Decimal(5), Decimal(3))


def test_neither_order_nor_repeats_change_a_row() -> None:
    rows = [execution(n, NOON + timedelta(seconds=n), odds=f"{2 + n / 8}") for n in range(20)]
    assert aggregate([*reversed(rows), *rows]) == aggregate(rows)


def watermarks() -> Watermarks:
    return Watermarks(delay_s=30, silent_after_s=60)


def test_a_market_has_passed_up_to_its_newest_event_less_the_delay() -> None:
    marks = watermarks()
    marks.saw("1.1", NOON - timedelta(seconds=5), NOW_US)
    marks.saw("1.1", NOON - timedelta(seconds=50), NOW_US)
    assert marks.passed(["1.1"], NOW_US) == {"1.1": NOON - timedelta(seconds=35)}


def test_a_market_is_not_held_up_or_hurried_by_another() -> None:
    marks = watermarks()
    marks.saw("1.1", NOON - timedelta(hours=2), NOW_US)
    marks.saw("1.2", NOON, NOW_US)
    passed = marks.passed(["1.1", "1.2"], NOW_US)
    assert passed == {"1.1": NOON - timedelta(hours=2, seconds=30), "1.2": NOON - timedelta(seconds=30)}


@pytest.mark.parametrize(("silent_s", "over"), [(59.9, False), (60, True)])
def test_a_silent_market_has_passed_wholly(silent_s: float, over: bool) -> None:
    marks = watermarks()
    marks.saw("1.1", NOON, NOW_US)
    passed = marks.passed(["1.1"], NOW_US + int(silent_s * SECOND_US))
    assert (passed["1.1"] is None) is over


def test_a_closed_market_has_passed_wholly_until_it_is_heard_of_again() -> None:
    marks = watermarks()
    marks.saw("1.1", NOON, NOW_US)
    marks.closed("1.1")
    assert marks.passed(["1.1"], NOW_US) == {"1.1": None}
    marks.saw("1.1", NOON, NOW_US)
    assert marks.passed(["1.1"], NOW_US) == {"1.1": NOON - timedelta(seconds=30)}


def test_a_market_never_heard_of_passes_once_it_was_silent_since_it_was_asked_for() -> None:
    marks = watermarks()
    assert marks.passed(["1.1"], NOW_US) == {}
    assert marks.passed(["1.1"], NOW_US + 60 * SECOND_US) == {"1.1": None}


def test_an_event_time_in_the_future_counts_as_now() -> None:
    marks = watermarks()
    marks.saw("1.1", NOON + timedelta(days=365), NOW_US)
    assert marks.watermark("1.1") == NOON - timedelta(seconds=30)


def test_markets_long_silent_are_forgotten_unless_they_have_windows_to_close() -> None:
    marks = watermarks()
    for market in ("1.1", "1.2"):
        marks.saw(market, NOON, NOW_US)
    marks.forget(["1.2"], NOW_US + 600 * SECOND_US)
    assert marks.watermark("1.1") is None
    assert marks.watermark("1.2") is not None
