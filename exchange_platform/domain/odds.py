"""Odds: decimal inside; fractional and American at the edges; the price ladder. Pure, exact, no floats."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

MIN_ODDS = Decimal("1.01")
MAX_ODDS = Decimal(1000)

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_SIGNED_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{1,12})?")
_FRACTION = re.compile(r"([0-9]{1,12})[/-]([0-9]{1,12})")
_EVENS = frozenset({"evens", "evs", "even"})


class InvalidOdds(ValueError):
    """Odds that no bet can have. The message says which they were and which are allowed."""


def parse_decimal(text: str) -> Decimal:
    """Read decimal odds such as `2.50`. Raises `InvalidOdds` unless they are a plain number from 1.01 to
    1000.
    """
    if not _NUMBER.fullmatch(text.strip()):
        raise InvalidOdds(f"odds {_clipped(text)!r} are not a number; decimal odds such as 2.50 are allowed")
    return check_in_range(Decimal(text.strip()))


def parse_fractional(text: str) -> Decimal:
    """Read fractional odds such as `5/2` (or `5-2`, `evens`) as decimal odds, rounded half-even to 4 places.

    Raises `InvalidOdds`.
    """
    cleaned = text.strip().lower()
    if cleaned in _EVENS:
        return Decimal(2)
    parts = _FRACTION.fullmatch(cleaned)
    if parts is None:
        raise InvalidOdds(f"odds {_clipped(text)!r} are not a fraction; such as 5/2 or evens are allowed")
    numerator, denominator = int(parts[1]), int(parts[2])
    if not numerator or not denominator:
        raise InvalidOdds(f"odds {_clipped(text)!r} have a zero; both parts must be 1 or more to be allowed")
    return from_fraction(Fraction(numerator, denominator))


def parse_american(text: str) -> Decimal:
    """Read American odds such as `+150` or `-200` as decimal odds, rounded half-even to 4 places. Raises
    `InvalidOdds`.
    """
    if not _SIGNED_NUMBER.fullmatch(text.strip()):
        raise InvalidOdds(
            f"odds {_clipped(text)!r} are not a number; American odds such as +150 or -200 are allowed"
        )
    return from_american(Decimal(text.strip()))


def to_fraction(odds: Decimal) -> Fraction:
    """Decimal odds D as the exact fraction D - 1: what a stake of 1 wins. Raises `InvalidOdds` out of 1.01 to
    1000.
    """
    return Fraction(check_in_range(odds)) - 1


def from_fraction(fraction: Fraction) -> Decimal:
    """A fraction a/b as decimal odds 1 + a/b, rounded half-even to 4 places. Raises `InvalidOdds` out of
    1/100 to 999/1.
    """
    if not MIN_ODDS - 1 <= fraction <= MAX_ODDS - 1:
        raise InvalidOdds(f"fractional odds {fraction} out of range; 1/100 to 999/1 are allowed")
    return _rounded(1 + fraction, 4).normalize() + 0


def to_american(odds: Decimal) -> Decimal:
    """Decimal odds as American: +100(D - 1) from 2.0 up, -100/(D - 1) below, rounded half-even to 2 places.

    Raises `InvalidOdds` out of 1.01 to 1000.
    """
    won = to_fraction(odds)
    return _rounded(100 * won if won >= 1 else -100 / won, 2)


def from_american(american: Decimal) -> Decimal:
    """American odds A as decimal: 1 + A/100 from +100 up, 1 + 100/|A| from -100 down, half-even to 4 places.

    +100 and -100 are both 2.0. Raises `InvalidOdds` for |A| below 100, as there are none between, and for
    what decimal odds of 1.01 to 1000 are not.
    """
    if not american.is_finite() or not (100 <= american <= 99_900 or -10_000 <= american <= -100):
        raise InvalidOdds(
            f"American odds {american} out of range; +100 to +99900 and -100 to -10000 are allowed"
        )
    ratio = Fraction(american) / 100
    return _rounded(1 + (ratio if ratio > 0 else -1 / ratio), 4).normalize() + 0


def implied_probability(odds: Decimal) -> Decimal:
    """1/D, rounded half-even to 6 places. Raises `InvalidOdds` out of 1.01 to 1000."""
    return _rounded(1 / Fraction(check_in_range(odds)), 6)


def check_in_range(odds: Decimal) -> Decimal:
    """The same odds. Raises `InvalidOdds` unless they are a number from 1.01 to 1000."""
    if not odds.is_finite() or not MIN_ODDS <= odds <= MAX_ODDS:
        raise InvalidOdds(f"odds {_clipped(str(odds))} out of range; {MIN_ODDS} to {MAX_ODDS} are allowed")
    return odds


def _rounded(exact: Fraction, places: int) -> Decimal:
    # Through integers, since a division of decimals would round a first time.
    return Decimal(round(exact * 10**places)).scaleb(-places)


def _clipped(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."


class PriceLadder:
    """The odds that a customer may ask for, in order. A tick is a step on it.

    Matched odds can lie off the ladder (a removed runner reduces them), so only orders are held to it.
    """

    def __init__(self, name: str, bands: tuple[tuple[str, str], ...]) -> None:
        """`bands` are (upper end, step), from 1.01 up; an upper end belongs to the band below it."""
        self.name = name
        self._bands = bands

    # Built when first asked for: FINEST has 99,900 prices, and most processes never look at it.
    @cached_property
    def _prices(self) -> list[Decimal]:
        prices = [MIN_ODDS]
        for upper, step in self._bands:
            while prices[-1] < Decimal(upper):
                prices.append(prices[-1] + Decimal(step))
        return prices

    @cached_property
    def _known(self) -> frozenset[Decimal]:
        return frozenset(self._prices)

    def __iter__(self) -> Iterator[Decimal]:
        return iter(self._prices)

    def __len__(self) -> int:
        return len(self._prices)

    def __contains__(self, odds: object) -> bool:
        return isinstance(odds, Decimal) and odds.is_finite() and odds in self._known

    def check(self, odds: Decimal) -> Decimal:
        """The same odds. Raises `InvalidOdds`, naming the nearest that are allowed, if they are not on the
        ladder.
        """
        if check_in_range(odds) in self._known:
            return odds
        below, above = (
            self._prices[bisect_left(self._prices, odds) - 1],
            self._prices[bisect_right(self._prices, odds)],
        )
        raise InvalidOdds(
            f"odds {_clipped(str(odds))} are not on the price ladder {self.name}; the nearest allowed are {below} and {above}"
        )

    def nearest(self, odds: Decimal) -> Decimal:
        """The ladder's odds nearest to these, its ends for odds beyond them; the lower of two equally near.

        Raises `InvalidOdds` for what is no number.
        """
        if not odds.is_finite():
            raise InvalidOdds(f"odds {odds} are not a number; {MIN_ODDS} to {MAX_ODDS} are allowed")
        place = bisect_left(self._prices, odds)
        if place == 0:
            return self._prices[0]
        if place == len(self._prices):
            return self._prices[-1]
        below, above = self._prices[place - 1], self._prices[place]
        return below if odds - below <= above - odds else above

    def shift(self, odds: Decimal, ticks: int) -> Decimal:
        """The odds so many ticks up (or down, negative), at most to the ladder's ends. Raises `InvalidOdds`
        off the ladder.
        """
        self.check(odds)
        return self._prices[min(max(bisect_left(self._prices, odds) + ticks, 0), len(self._prices) - 1)]

    def next_up(self, odds: Decimal) -> Decimal:
        """One tick up."""
        return self.shift(odds, 1)

    def next_down(self, odds: Decimal) -> Decimal:
        """One tick down."""
        return self.shift(odds, -1)

    def ticks_between(self, odds: Decimal, other: Decimal) -> int:
        """How many ticks up from `odds` `other` is; negative if it is below. Raises `InvalidOdds` off the
        ladder.
        """
        self.check(odds)
        self.check(other)
        return bisect_left(self._prices, other) - bisect_left(self._prices, odds)


# Betfair developer documentation, "Additional information: Price increments".
CLASSIC = PriceLadder(
    "CLASSIC",
    (
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
    ),
)
FINEST = PriceLadder("FINEST", (("1000", "0.01"),))
