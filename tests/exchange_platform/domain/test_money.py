"""Money in minor units."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.money import (
    MINOR_DIGITS,
    InvalidMoney,
    MixedCurrencies,
    Money,
    allocate,
    commission_minor,
    major,
    parse,
)

amounts = st.integers(-(10**12), 10**12)
currencies = st.sampled_from(sorted(MINOR_DIGITS))


@given(amounts, currencies)
def test_an_amount_survives_being_written_and_read(amount: int, currency: str) -> None:
    assert parse(str(major(amount, currency)), currency) == Money(amount, currency)


@given(amounts, amounts, currencies)
def test_adding_and_taking_away_is_exact(one: int, other: int, currency: str) -> None:
    total = Money(one, currency) + Money(other, currency)
    assert total - Money(other, currency) == Money(one, currency)
    assert total.amount_minor == one + other


def test_currencies_do_not_mix() -> None:
    with pytest.raises(MixedCurrencies):
        Money(1, "GBP") + Money(1, "EUR")


def test_money_is_not_mixed_with_bare_numbers_or_made_of_floats() -> None:
    one, number = Money(1, "GBP"), cast(Any, 5)
    with pytest.raises(MixedCurrencies):
        one + number
    with pytest.raises(MixedCurrencies):
        one - number
    with pytest.raises(MixedCurrencies):
        assert one < number
    for amount in (1.0, True, Decimal(1), "1"):
        with pytest.raises(InvalidMoney, match="allowed"):
            Money(cast(Any, amount), "GBP")
    assert Money(1, "GBP") != Money(1, "EUR")


@given(amounts, currencies, st.integers(1, 60))
def test_an_amount_between_two_minor_units_is_refused_however_close_it_is(
    amount: int, currency: str, zeros: int
) -> None:
    whole = str(major(amount, currency))
    padded = whole + ("0" * zeros if "." in whole else "." + "0" * zeros)
    assert parse(padded, currency) == parse(Decimal(padded), currency) == Money(amount, currency)
    for between in (padded + "1", Decimal(padded + "1")):
        with pytest.raises(InvalidMoney, match="more decimals"):
            parse(between, currency)


@given(st.text(max_size=12) | st.from_regex(r"[+-]?[0-9_.eE ]{1,16}", fullmatch=True) | st.decimals())
def test_anything_is_an_exact_amount_or_refused_with_what_is_allowed(given: str | Decimal) -> None:
    try:
        money = parse(given, "GBP")
    except InvalidMoney as refused:
        assert "allowed" in str(refused)  # noqa: PT017
    else:
        assert major(money.amount_minor, "GBP") == Decimal(given)


def test_the_largest_amount_is_allowed_and_a_minor_unit_more_is_not() -> None:
    assert parse("100000000000.00", "GBP") == Money(10**13, "GBP")
    assert parse("-10000000000000", "JPY") == Money(-(10**13), "JPY")
    for text in ("100000000000.01", "-100000000000.01", "1" * 1_000_000):
        with pytest.raises(InvalidMoney, match=r"at most 100000000000\.00 GBP") as refused:
            parse(text, "GBP")
        assert len(str(refused.value)) < 200
    with pytest.raises(InvalidMoney, match="too much"):
        Money(10**13, "GBP") + Money(1, "GBP")


@pytest.mark.parametrize(
    "text", ["", "abc", "NaN", "Infinity", "1.234", "1e20", "0.001", "1,50", "--1", "1_0", "٢", "1e2"]
)
def test_nonsense_amounts_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidMoney, match="allowed"):
        parse(text, "GBP")


def test_yen_have_no_decimals_and_unknown_currencies_do_not_exist() -> None:
    assert parse("100", "JPY") == Money(100, "JPY")
    with pytest.raises(InvalidMoney):
        parse("1.5", "JPY")
    with pytest.raises(InvalidMoney, match="'XXX'"):
        Money(1, "XXX")
    assert str(Money(1250, "GBP")) == "12.50 GBP"


@given(st.integers(-(10**9), 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=20).filter(any))
def test_a_split_adds_up_and_each_part_is_within_a_unit_of_its_share(amount: int, weights: list[int]) -> None:
    parts = allocate(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - amount * weight) < sum(weights)


@given(st.integers(-(10**9), 10**9), st.decimals(0, 1, places=4), st.decimals(0, 1, places=2))
def test_commission_is_charged_on_winnings_alone(net: int, rate: Decimal, discount: Decimal) -> None:
    charged = commission_minor(net, rate, discount)
    assert 0 <= charged <= max(0, net)
    if net <= 0:
        assert charged == 0


@given(st.integers(1, 10**12), st.decimals(0, 1, places=6), st.decimals(0, 1, places=25))
def test_commission_is_rounded_once_half_even(net: int, rate: Decimal, discount: Decimal) -> None:
    assert commission_minor(net, rate, discount) == round(net * Fraction(rate) * (1 - Fraction(discount)))


def test_known_commissions() -> None:
    assert commission_minor(10_000, Decimal("0.05")) == 500
    assert commission_minor(10_000, Decimal("0.05"), Decimal("0.2")) == 400
    assert (commission_minor(50, Decimal("0.05")), commission_minor(70, Decimal("0.05"))) == (2, 4)
    assert commission_minor(-10_000, Decimal("0.05")) == 0


@pytest.mark.parametrize("share", ["-0.01", "1.01", "NaN", "sNaN", "Infinity"])
def test_a_rate_or_discount_that_is_no_share_is_refused(share: str) -> None:
    for rate, discount in ((Decimal(share), Decimal(0)), (Decimal(0), Decimal(share))):
        with pytest.raises(ValueError, match="0 to 1 is allowed"):
            commission_minor(100, rate, discount)


def test_the_larger_remainders_get_the_odd_units_and_the_earlier_of_equal_ones() -> None:
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(-100, [1, 1, 1]) == [-34, -33, -33]
    assert allocate(10, [5, 0, 4]) == [6, 0, 4]
    assert allocate(2, [1, 1, 4]) == [1, 0, 1]
    for weights in ([], [0, 0], [1, -1], [2, -1]):
        with pytest.raises(ValueError, match="allowed"):
            allocate(1, weights)
