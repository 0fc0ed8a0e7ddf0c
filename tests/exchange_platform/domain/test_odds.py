"""Odds and the price ladder."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.odds import (
    CLASSIC,
    FINEST,
    MAX_ODDS,
    MIN_ODDS,
    InvalidOdds,
    PriceLadder,
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


@pytest.mark.parametrize(
    ("upper", "lower", "step"),
    [("2", "1.01", "0.01"), ("3", "2", "0.02"), ("4", "3", "0.05"), ("6", "4", "0.1"), ("10", "6", "0.2"),
     ("20", "10", "0.5"), ("30", "20", "1"), ("50", "30", "2"), ("100", "50", "5"), ("1000", "100", "10")],
)  # fmt: skip
def test_each_band_of_the_classic_ladder_has_its_step(upper: str, lower: str, step: str) -> None:
    band = [price for price in CLASSIC if Decimal(lower) <= price <= Decimal(upper)]
    assert (band[0], band[-1]) == (Decimal(lower), Decimal(upper))
    assert {above - below for below, above in itertools.pairwise(band)} == {Decimal(step)}


@pytest.mark.parametrize("ladder", [CLASSIC, FINEST], ids=["CLASSIC", "FINEST"])
def test_shifts_stop_at_the_ends(ladder: PriceLadder) -> None:
    assert ladder.next_down(MIN_ODDS) == MIN_ODDS == ladder.shift(MAX_ODDS, -200_000)
    assert ladder.next_up(MAX_ODDS) == MAX_ODDS == ladder.shift(MIN_ODDS, 200_000)
    assert ladder.ticks_between(MIN_ODDS, MAX_ODDS) == len(ladder) - 1
    assert ladder.ticks_between(MAX_ODDS, MIN_ODDS) == 1 - len(ladder)
    assert (ladder.nearest(Decimal("-5")), ladder.nearest(Decimal("1e9"))) == (MIN_ODDS, MAX_ODDS)


@given(on_ladder)
def test_a_tick_up_and_a_tick_down_are_neighbours(odds: Decimal) -> None:
    prices = list(CLASSIC)
    place = prices.index(odds)
    assert CLASSIC.next_up(odds) == prices[min(place + 1, 349)]
    assert CLASSIC.next_down(odds) == prices[max(place - 1, 0)]


def test_what_is_equally_near_goes_down_and_writing_does_not_matter() -> None:
    assert CLASSIC.nearest(Decimal("2.01")) == 2
    assert Decimal("2.000") in CLASSIC
    assert Decimal("2.01") not in CLASSIC
    assert "2.0" not in CLASSIC
    assert Decimal("sNaN") not in CLASSIC
    with pytest.raises(InvalidOdds):
        CLASSIC.nearest(Decimal("NaN"))


@given(st.fractions(Fraction(1, 100), 999), st.fractions(Fraction(1, 100), 999))
def test_fractions_round_half_even_to_the_nearest_four_places_and_keep_their_order(
    one: Fraction, other: Fraction
) -> None:
    odds = from_fraction(one)
    assert Fraction(odds) == round(1 + one, 4)
    assert (one <= other) or odds >= from_fraction(other)


@given(st.decimals(-10_000, -100, places=2) | st.decimals(100, 99_900, places=2))
def test_american_odds_come_back_as_near_as_their_rounding_allows(american: Decimal) -> None:
    odds = from_american(american)
    assert MIN_ODDS <= odds <= MAX_ODDS
    won = Fraction(american) / 100 if american > 0 else -100 / Fraction(american)
    assert abs(Fraction(odds) - 1 - won) <= Fraction(1, 20_000)
    if abs(american) == 100:
        assert odds == 2


@given(st.decimals(MIN_ODDS, MAX_ODDS, places=3))
def test_implied_probability_is_the_inverse_to_six_places(odds: Decimal) -> None:
    assert abs(Fraction(implied_probability(odds)) - 1 / Fraction(odds)) <= Fraction(1, 2_000_000)


@given(st.text(max_size=12) | st.from_regex(r"[+-]?[0-9_./eE ]{1,10}", fullmatch=True))
def test_any_text_is_odds_or_refused_with_what_is_allowed(text: str) -> None:
    for parse in (parse_decimal, parse_fractional, parse_american):
        try:
            assert MIN_ODDS <= parse(text) <= MAX_ODDS
        except InvalidOdds as refused:
            assert "allowed" in str(refused)  # noqa: PT017


@pytest.mark.parametrize("odds", ["1", "0.5", "0", "-2", "1000.01", "NaN", "sNaN", "Infinity", "1e400"])
def test_what_no_bet_can_have_is_not_converted(odds: str) -> None:
    for convert in (to_american, to_fraction, implied_probability):
        with pytest.raises(InvalidOdds, match=r"1\.01 to 1000 are allowed"):
            convert(Decimal(odds))


@pytest.mark.parametrize(
    "american", ["99.99", "-99.99", "0", "99900.01", "-10000.01", "1e40", "1e999999", "NaN"]
)
def test_american_odds_that_do_not_exist_are_refused_with_those_that_do(american: str) -> None:
    with pytest.raises(InvalidOdds, match=r"\+100 to \+99900 and -100 to -10000 are allowed"):
        from_american(Decimal(american))


@pytest.mark.parametrize(
    "text", ["", "two", "1.00", "0", "-5", "NaN", "1e9", "∞", "1,5", "2_0", "٢", "1001", "2." + "0" * 99]
)
def test_nonsense_decimal_odds_are_refused(text: str) -> None:
    with pytest.raises(InvalidOdds, match="allowed"):
        parse_decimal(text)


@pytest.mark.parametrize(
    "text", ["", "5", "5/0", "0/5", "a/b", "5/2/1", "1/1000", "1000/1", "²/3", "-5/2", "1" * 5000 + "/1"]
)
def test_nonsense_fractions_are_refused(text: str) -> None:
    with pytest.raises(InvalidOdds, match="allowed") as refused:
        parse_fractional(text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "text", ["", "99", "-99", "0", "NaN", "x", "1e12", "1_50", "+ 150", "100000", "-10001"]
)
def test_nonsense_american_odds_are_refused(text: str) -> None:
    with pytest.raises(InvalidOdds, match="allowed"):
        parse_american(text)
