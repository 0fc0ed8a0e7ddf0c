"""Odds and the price ladder."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.odds import (
    CLASSIC,
    FINEST,
    InvalidOdds,
    from_american,
    from_fraction,
    implied_probability,
    parse_american,
    parse_decimal,
    parse_fractional,
    to_american,
    to_fraction,
)

on_ladder = st.sampled_from(list(CLASSIC))


def test_the_classic_ladder_has_350_prices_in_its_bands() -> None:
    prices = list(CLASSIC)
    assert len(CLASSIC) == 350
    assert (prices[0], prices[-1]) == (Decimal("1.01"), Decimal(1000))
    steps = {
        Decimal("1.5"): "0.01",
        Decimal("2.5"): "0.02",
        Decimal(5): "0.1",
        Decimal(11): "0.5",
        Decimal(200): "10",
    }
    for odds, step in steps.items():
        assert CLASSIC.next_up(odds) - odds == Decimal(step)
    assert len(FINEST) == 99_900


@given(on_ladder, st.integers(-400, 400))
def test_shifting_there_and_back_returns_unless_an_end_was_met(odds: Decimal, ticks: int) -> None:
    moved = CLASSIC.shift(odds, ticks)
    assert moved in CLASSIC
    between = CLASSIC.ticks_between(odds, moved)
    assert abs(between) <= abs(ticks)
    assert CLASSIC.shift(moved, -between) == odds


@given(st.decimals("1.01", "1000", places=3))
def test_nearest_is_on_the_ladder_and_none_is_nearer(odds: Decimal) -> None:
    nearest = CLASSIC.nearest(odds)
    assert nearest in CLASSIC
    assert abs(nearest - odds) == min(abs(price - odds) for price in CLASSIC)


def test_odds_off_the_ladder_are_refused_with_their_neighbours() -> None:
    with pytest.raises(InvalidOdds, match=r"2\.01 .* 2\.00 and 2\.02"):
        CLASSIC.check(Decimal("2.01"))
    for odds in ("1", "1000.01", "NaN", "Infinity", "-3"):
        with pytest.raises(InvalidOdds):
            CLASSIC.check(Decimal(odds))


@given(on_ladder)
def test_fractions_are_exact_both_ways(odds: Decimal) -> None:
    assert from_fraction(to_fraction(odds)) == odds


@given(on_ladder.filter(lambda odds: odds >= 2))
def test_american_odds_from_evens_up_are_exact_both_ways(odds: Decimal) -> None:
    assert from_american(to_american(odds)) == odds


@given(on_ladder.filter(lambda odds: odds < 2))
def test_american_odds_below_evens_come_back_within_rounding(odds: Decimal) -> None:
    assert abs(from_american(to_american(odds)) - odds) <= Decimal("0.0002")


def test_known_conversions() -> None:
    assert parse_fractional("5/2") == Decimal("3.5")
    assert parse_fractional("evens") == parse_american("+100") == parse_american("-100") == 2
    assert parse_american("+150") == Decimal("2.5")
    assert parse_american("-200") == Decimal("1.5")
    assert to_american(Decimal("1.5")) == -200
    assert to_fraction(Decimal("3.5")) == Fraction(5, 2)
    assert implied_probability(Decimal(4)) == Decimal("0.25")


@pytest.mark.parametrize("text", ["", "two", "1.00", "0", "-5", "NaN", "1e9", "∞", "1,5"])
def test_nonsense_decimal_odds_are_refused(text: str) -> None:
    with pytest.raises(InvalidOdds, match="allowed"):
        parse_decimal(text)


@pytest.mark.parametrize("text", ["", "5", "5/0", "0/5", "a/b", "5/2/1", "1/1000", "²/3"])
def test_nonsense_fractions_are_refused(text: str) -> None:
    with pytest.raises(InvalidOdds):
        parse_fractional(text)


@pytest.mark.parametrize("text", ["", "99", "-99", "0", "NaN", "x", "1e12"])
def test_nonsense_american_odds_are_refused(text: str) -> None:
    with pytest.raises(InvalidOdds):
        parse_american(text)
