"""Odds: decimal inside; fractional and American at the edges; the price ladder. Pure, exact, no floats."""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from fractions import Fraction

MIN_ODDS = Decimal("1.01")
MAX_ODDS = Decimal(1000)

_HUNDREDTH = Decimal("0.01")


class InvalidOdds(ValueError):
    """Odds that no bet can have. The message says which they were and which are allowed."""


def parse_decimal(text: str) -> Decimal:
    """Read decimal odds such as `2.50`. Raises `InvalidOdds` unless they are a number from 1.01 to 1000."""
    try:
        odds = Decimal(text.strip())
    except InvalidOperation:
        raise InvalidOdds(f"odds {text!r} are not a number; decimal odds such as 2.50 are allowed") from None
    return _in_range(odds, text)


def parse_fractional(text: str) -> Decimal:
    """Read fractional odds such as `5/2` (or `5-2`, `evens`) as decimal odds, rounded half-even to 4 places.

    Raises `InvalidOdds`.
    """
    cleaned = text.strip().lower().replace("-", "/")
    if cleaned in ("evens", "evs", "even"):
        return Decimal(2)
    numerator, slash, denominator = cleaned.partition("/")
    if not (
        slash
        and numerator.isascii()
        and numerator.isdigit()
        and denominator.isascii()
        and denominator.isdigit()
    ):
        raise InvalidOdds(f"odds {text!r} are not a fraction; such as 5/2 or evens are allowed")
    if int(denominator) == 0 or int(numerator) == 0:
        raise InvalidOdds(f"odds {text!r} have a zero; both parts must be 1 or more")
    return _in_range(from_fraction(Fraction(int(numerator), int(denominator))), text)


def parse_american(text: str) -> Decimal:
    """Read American odds such as `+150` or `-200` as decimal odds. Raises `InvalidOdds`."""
    try:
        american = Decimal(text.strip())
    except InvalidOperation:
        raise InvalidOdds(
            f"odds {text!r} are not a number; American odds such as +150 or -200 are allowed"
        ) from None
    return _in_range(from_american(american), text)


def to_fraction(odds: Decimal) -> Fraction:
    """Decimal odds D as the exact fraction D - 1: what a stake of 1 wins."""
    return Fraction(odds) - 1


def from_fraction(fraction: Fraction) -> Decimal:
    """A fraction a/b as decimal odds 1 + a/b, rounded half-even to 4 places."""
    exact = 1 + Decimal(fraction.numerator) / Decimal(fraction.denominator)
    return exact.quantize(Decimal("0.0001"), ROUND_HALF_EVEN).normalize() + 0


def to_american(odds: Decimal) -> Decimal:
    """Decimal odds as American: +100(D - 1) from 2.0 up, -100/(D - 1) below, rounded half-even to 2 places."""
    american = 100 * (odds - 1) if odds >= 2 else -100 / (odds - 1)
    return american.quantize(_HUNDREDTH, ROUND_HALF_EVEN)


def from_american(american: Decimal) -> Decimal:
    """American odds A as decimal: 1 + A/100 from +100 up, 1 + 100/|A| from -100 down, half-even to 4 places.

    +100 and -100 are both 2.0. Raises `InvalidOdds` for |A| below 100: there are none between.
    """
    if not american.is_finite() or abs(american) < 100:
        raise InvalidOdds(
            f"American odds {american} do not exist; +100 and more, or -100 and less, are allowed"
        )
    exact = 1 + american / 100 if american > 0 else 1 + 100 / -american
    return exact.quantize(Decimal("0.0001"), ROUND_HALF_EVEN).normalize() + 0


def implied_probability(odds: Decimal) -> Decimal:
    """1/D, to 6 places."""
    return (1 / odds).quantize(Decimal("0.000001"), ROUND_HALF_EVEN)


def _in_range(odds: Decimal, text: str) -> Decimal:
    if not odds.is_finite() or not MIN_ODDS <= odds <= MAX_ODDS:
        raise InvalidOdds(f"odds {text!r} out of range; {MIN_ODDS} to {MAX_ODDS} are allowed")
    return odds


class PriceLadder:
    """The odds that a customer may ask for, in order. A tick is a step on it.

    Matched odds can lie off the ladder (a removed runner reduces them), so only orders are held to it.
    """

    def __init__(self, name: str, bands: tuple[tuple[str, str], ...]) -> None:
        """`bands` are (upper end, step), from 1.01 up; an upper end belongs to the band below it."""
        self.name = name
        self._bands = bands

    @functools.cached_property
    def _prices(self) -> list[Decimal]:
        """Made when first asked for: the finest ladder is megabytes that most processes never need."""
        prices = [MIN_ODDS]
        for upper, step in self._bands:
            while prices[-1] < Decimal(upper):
                prices.append(prices[-1] + Decimal(step))
        return prices

    @functools.cached_property
    def _known(self) -> frozenset[Decimal]:
        return frozenset(self._prices)

    def __iter__(self) -> Iterator[Decimal]:
        return iter(self._prices)

    def __len__(self) -> int:
        return len(self._prices)

    def __contains__(self, odds: object) -> bool:
        return odds in self._known

    def check(self, odds: Decimal) -> Decimal:
        """The same odds. Raises `InvalidOdds`, naming the nearest that are allowed, if they are not on the ladder."""
        if odds in self._known:
            return odds
        if not odds.is_finite() or not MIN_ODDS <= odds <= MAX_ODDS:
            raise InvalidOdds(f"odds {odds} out of range; {MIN_ODDS} to {MAX_ODDS} are allowed")
        below, above = (
            self._prices[bisect_left(self._prices, odds) - 1],
            self._prices[bisect_right(self._prices, odds)],
        )
        raise InvalidOdds(
            f"odds {odds} are not on the price ladder {self.name}; the nearest are {below} and {above}"
        )

    def nearest(self, odds: Decimal) -> Decimal:
        """The ladder's odds nearest to these; the lower of two equally near."""
        place = bisect_left(self._prices, odds)
        if place == 0:
            return self._prices[0]
        if place == len(self._prices):
            return self._prices[-1]
        below, above = self._prices[place - 1], self._prices[place]
        return below if odds - below <= above - odds else above

    def shift(self, odds: Decimal, ticks: int) -> Decimal:
        """The odds so many ticks up (or down, negative), at most to the ladder's ends. Raises `InvalidOdds` off the ladder."""
        self.check(odds)
        return self._prices[min(max(bisect_left(self._prices, odds) + ticks, 0), len(self._prices) - 1)]

    def next_up(self, odds: Decimal) -> Decimal:
        """One tick up."""
        return self.shift(odds, 1)

    def next_down(self, odds: Decimal) -> Decimal:
        """One tick down."""
        return self.shift(odds, -1)

    def ticks_between(self, odds: Decimal, other: Decimal) -> int:
        """How many ticks up from `odds` `other` is; negative if it is below. Raises `InvalidOdds` off the ladder."""
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
