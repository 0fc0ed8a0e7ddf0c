"""What a customer's own limits are at any instant."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.betting_limits import (
    DAY_US,
    BettingLimit,
    LimitChange,
    LimitKind,
    change_of,
    limits_at,
)

STAKE = LimitKind.STAKE
HOUR_US = DAY_US // 24


def asked(*wishes: tuple[int, int | None]) -> list[LimitChange]:
    """Each wish (at which hour, which stake limit) as a change, decided by what holds then."""
    changes: list[LimitChange] = []
    for hour, value in wishes:
        now_us = hour * HOUR_US
        current = limits_at(changes, now_us).limits.get(STAKE, BettingLimit(STAKE))
        changes.append(change_of(current, value, now_us))
    return changes


def stake_limit(changes: list[LimitChange], hour: int) -> int | None:
    """What held at that hour, by what was asked for until then."""
    known = [change for change in changes if change.requested_at_us <= hour * HOUR_US]
    return limits_at(known, hour * HOUR_US).value(STAKE)


def test_the_first_limit_holds_at_once() -> None:
    changes = asked((1, 500))
    assert [stake_limit(changes, hour) for hour in (1, 30)] == [500, 500]


def test_a_lower_limit_holds_at_once() -> None:
    assert stake_limit(asked((1, 500), (2, 300)), 2) == 300


def test_a_higher_limit_holds_a_day_later() -> None:
    changes = asked((1, 500), (2, 900))
    assert [stake_limit(changes, hour) for hour in (2, 25, 26)] == [500, 500, 900]
    told = limits_at(changes, 3 * HOUR_US).limits[STAKE]
    assert told == BettingLimit(STAKE, 500, 900, 26 * HOUR_US)


def test_a_limit_is_gone_a_day_after_it_is_taken_away() -> None:
    changes = asked((1, 500), (2, None))
    assert [stake_limit(changes, hour) for hour in (25, 26)] == [500, None]


def test_lowering_calls_a_raise_off() -> None:
    changes = asked((1, 500), (2, 900), (3, 400))
    assert [stake_limit(changes, hour) for hour in (3, 26, 99)] == [400, 400, 400]


def test_asking_for_the_same_limit_calls_a_raise_off() -> None:
    assert stake_limit(asked((1, 500), (2, None), (3, 500)), 99) == 500


def test_a_second_raise_waits_a_day_of_its_own() -> None:
    changes = asked((1, 500), (2, 900), (20, 800))
    assert [stake_limit(changes, hour) for hour in (26, 43, 44)] == [500, 500, 800]


def test_a_raise_that_has_come_is_what_the_next_change_is_measured_by() -> None:
    changes = asked((1, 500), (2, 900), (30, 700))
    assert [stake_limit(changes, hour) for hour in (26, 30)] == [900, 700]


def test_kinds_do_not_touch_each_other() -> None:
    changes = [
        LimitChange(LimitKind.DEPOSIT_24H, 100, 0, 0),
        LimitChange(LimitKind.STAKE, 7, 0, 0),
        LimitChange(LimitKind.BREAK, 50, 0, 0),
    ]
    limits = limits_at(changes, 10)
    assert (limits.value(LimitKind.DEPOSIT_24H), limits.value(STAKE)) == (100, 7)
    assert (limits.break_until_us(49), limits.break_until_us(50)) == (50, None)


wishes = st.lists(st.tuples(st.integers(0, 200), st.none() | st.integers(1, 20)), min_size=1, max_size=8).map(
    lambda many: sorted(many, key=lambda one: one[0])
)


@given(wishes=wishes)
def test_no_limit_is_ever_loosened_within_a_day_of_asking(wishes: list[tuple[int, int | None]]) -> None:
    changes = asked(*wishes)

    def loose(value: int | None) -> float:
        return float("inf") if value is None else value

    first = wishes[0][0]
    held = [loose(stake_limit(changes, hour)) for hour in range(first, 240)]
    for hour, (before, after) in enumerate(itertools.pairwise(held), start=first + 1):
        if after > before:
            # Less than the raise that has come, where something lower was asked for in the same hour.
            assert any(hour - 24 == at and loose(value) >= after for at, value in wishes)
