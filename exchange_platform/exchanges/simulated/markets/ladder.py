"""Places on the price ladder that orders are held to, and steps along it. Not here: the ladder itself
(odds.py).
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from decimal import Decimal

from exchange_platform.domain.odds import CLASSIC

PRICES: tuple[Decimal, ...] = tuple(Decimal(f"{price.normalize():f}") for price in CLASSIC)
"""The 350 prices, ascending: 1.01 to 1000, each written as short as can be, as records carry them."""

PLACE: Mapping[Decimal, int] = {price: place for place, price in enumerate(PRICES)}
"""A price's place on the ladder, from 0; a price that is not a key is off the ladder."""

_AS_FLOATS = tuple(float(price) for price in PRICES)


def is_on_ladder(odds: Decimal) -> bool:
    """Whether a customer may ask for these odds."""
    return odds.is_finite() and odds in PLACE


def place_near(odds: float) -> int:
    """The place of the highest price that is not above `odds`; 0 where there is none."""
    return max(0, bisect.bisect_right(_AS_FLOATS, odds) - 1)


def price_at(place: int) -> Decimal:
    """The price at a place, the ladder's end for a place beyond it."""
    return PRICES[min(max(place, 0), len(PRICES) - 1)]
