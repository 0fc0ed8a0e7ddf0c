"""Limits: as text, and the decision, which is exact for any period wherever it begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.limits import InvalidLimits, RateLimit, parse_limits, remembered, wait_us
from exchange_platform.settings import InvalidSettings, load_settings

SECOND = 1_000_000


def test_limits_are_read_as_they_are_written() -> None:
    limits = parse_limits("1/minute, 5/day")
    assert limits == (RateLimit(1, 60), RateLimit(5, 86_400))
    assert ", ".join(map(str, limits)) == "1/minute, 5/day"


@pytest.mark.parametrize(
    "text", ["", "5", "5/week", "0/day", "-1/day", "2001/second", "5/day,", "5 / day", "x/day"]
)
def test_what_is_no_limit_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidLimits, match="TIMES/PERIOD"):
        parse_limits(text)
    with pytest.raises(InvalidSettings, match="limit_resends"):
        load_settings(limit_resends=text)


def test_the_wait_ends_when_the_oldest_hit_of_the_period_is_over() -> None:
    limits = parse_limits("2/minute")
    assert wait_us([], limits, 0) == 0
    assert wait_us([0], limits, SECOND) == 0
    assert wait_us([0, 10 * SECOND], limits, 20 * SECOND) == 40 * SECOND
    assert wait_us([0, 10 * SECOND], limits, 60 * SECOND) == 0


@given(
    st.lists(st.integers(0, 20 * SECOND), min_size=1, max_size=60),
    st.sampled_from(["1/second", "3/minute", "2/second, 5/minute", "4/second, 20/hour"]),
)
def test_no_period_ever_lets_through_more_than_its_limit(gaps_us: list[int], text: str) -> None:
    limits = parse_limits(text)
    now_us, kept, admitted = 0, list[int](), list[int]()
    for gap_us in gaps_us:
        now_us += gap_us
        wait = wait_us(kept, limits, now_us)
        if wait <= 0:
            admitted.append(now_us)
            kept = [*remembered(kept, limits, now_us), now_us]
        else:
            assert wait_us(kept, limits, now_us + wait - 1) > 0
            assert wait_us(kept, limits, now_us + wait) == 0
    for limit in limits:
        for last in admitted:
            within = [at for at in admitted if last - limit.period_s * SECOND < at <= last]
            assert len(within) <= limit.times


def test_a_clock_that_was_set_back_shuts_nobody_out_for_as_long() -> None:
    """All registrations were refused for an hour, as their limit's hits lay an hour ahead."""
    limits = parse_limits("2/minute")
    hour_ahead = [3600 * SECOND, 3601 * SECOND]
    assert wait_us(hour_ahead, limits, 0) == 0
    assert remembered(hour_ahead, limits, 0) == []


def test_another_machines_clock_that_is_ahead_by_less_than_the_period_counts() -> None:
    limits = parse_limits("2/minute")
    ahead = [10 * SECOND, 20 * SECOND]
    assert wait_us(ahead, limits, 0) == 70 * SECOND
    assert remembered(ahead, limits, 0) == ahead


def test_hits_that_lie_ahead_do_not_crowd_out_those_of_now() -> None:
    limits = parse_limits("2/minute")
    kept = remembered([3600 * SECOND, 3601 * SECOND], limits, 0)
    for _ in range(2):
        assert wait_us(kept, limits, SECOND) == 0
        kept = sorted([*remembered(kept, limits, SECOND), SECOND])
    assert wait_us(kept, limits, SECOND) > 0
