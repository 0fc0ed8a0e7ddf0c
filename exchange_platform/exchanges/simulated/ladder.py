"""The price ladder that orders are placed on (CLASSIC), and steps along it. Not here: odds in other notations (odds.py)."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from decimal import Decimal

from exchange_platform.odds import MAX_ODDS, MIN_ODDS

_STEPS = (
    ("2", "0.01"),
    ("3", "0.02"),
    ("4", "0.05"),
    ("6", "0.1"),
    ("10", "0.2"),
    ("20", "0.5"),
    ("30", "1"),
    ("50", "2"),
    ("100", "5"),
    ("1000", "10"),
)
"""Up to these odds, the price increment (Betfair developer documentation, "Betfair Price Increments", CLASSIC)."""


def _classic_prices() -> tuple[Decimal, ...]:
    prices = [MIN_ODDS]
    for end, step in _STEPS:
        while prices[-1] < Decimal(end):
            prices.append(prices[-1] + Decimal(step))
    return tuple(Decimal(f"{price.normalize():f}") for price in prices)


PRICES: tuple[Decimal, ...] = _classic_prices()
"""The 350 prices, ascending: 1.01 to 1000."""

PLACE: Mapping[Decimal, int] = {price: place for place, price in enumerate(PRICES)}
"""A price's place on the ladder, from 0; a price that is not a key is off the ladder."""

_AS_FLOATS = tuple(float(price) for price in PRICES)


def is_on_ladder(odds: Decimal) -> bool:
    """Whether a customer may ask for these odds."""
    return MIN_ODDS <= odds <= MAX_ODDS and odds in PLACE


def place_near(odds: float) -> int:
    """The place of the highest price that is not above `odds`; 0 where there is none."""
    return max(0, bisect.bisect_right(_AS_FLOATS, odds) - 1)


def price_at(place: int) -> Decimal:
    """The price at a place, the ladder's end for a place beyond it."""
    return PRICES[min(max(place, 0), len(PRICES) - 1)]
