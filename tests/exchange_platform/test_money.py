"""Money in minor units."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.money import (
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


@pytest.mark.parametrize("text", ["", "abc", "NaN", "Infinity", "1.234", "1e20", "0.001", "1,50", "--1"])
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
