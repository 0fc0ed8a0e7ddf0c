"""Money: integers in minor units of a currency. Pure, exact, no floats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction

# ISO 4217 minor units of the currencies in which customers hold accounts.
MINOR_DIGITS = {
    "AUD": 2,
    "CAD": 2,
    "DKK": 2,
    "EUR": 2,
    "GBP": 2,
    "JPY": 0,
    "NOK": 2,
    "NZD": 2,
    "SEK": 2,
    "USD": 2,
}
MAX_MINOR = 10**13

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]+)?|\.[0-9]+)")


class InvalidMoney(ValueError):
    """An amount or currency that no account can have. The message says what it was and what is allowed."""


class MixedCurrencies(TypeError):
    """Amounts of two currencies, or an amount and a bare number, can't be added or compared."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (pence for GBP, yen for JPY), which may be negative."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        digits(self.currency)
        if type(self.amount_minor) is not int:
            raise InvalidMoney(
                f"{self.amount_minor!r} minor units are not allowed; a whole number is (an int)"
            )
        if abs(self.amount_minor) > MAX_MINOR:
            raise InvalidMoney(
                f"{self.amount_minor} minor units are too much; at most {MAX_MINOR} are allowed"
            )

    def __add__(self, other: Money) -> Money:
        return Money(self.amount_minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount_minor - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount_minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount_minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.amount_minor <= self._same(other)

    def __str__(self) -> str:
        """Such as `12.50 GBP`."""
        return f"{major(self.amount_minor, self.currency)} {self.currency}"

    def _same(self, other: Money) -> int:
        if type(other) is not Money:
            raise MixedCurrencies(f"{self} and {other!r}: only money of the same currency is allowed")
        if other.currency != self.currency:
            raise MixedCurrencies(f"{self} and {other} are of two currencies")
        return other.amount_minor


def digits(currency: str) -> int:
    """How many decimals the currency's major unit has. Raises `InvalidMoney` for one that is not known."""
    try:
        return MINOR_DIGITS[currency]
    except KeyError:
        raise InvalidMoney(
            f"currency {currency!r} is not known; allowed are {', '.join(MINOR_DIGITS)}"
        ) from None


def parse(text: str | Decimal, currency: str) -> Money:
    """Read an amount in major units, such as `12.50`, exactly.

    Raises `InvalidMoney` for what is not a number, has more decimals than the currency, or is too large.
    """
    places = digits(currency)
    amount = text if isinstance(text, Decimal) else _number(text)
    most = major(MAX_MINOR, currency)
    if not amount.is_finite() or not -most <= amount <= most:
        raise InvalidMoney(
            f"amount {_shown(str(text))} out of range; at most {most} {currency} either way is allowed"
        )
    # Both steps are exact however many digits the amount has: cutting, and comparing with what was cut.
    cut = amount.quantize(Decimal(1).scaleb(-places), ROUND_DOWN)
    if cut != amount:
        raise InvalidMoney(
            f"amount {_shown(str(text))} has more decimals than {currency} has; {places} are allowed"
        )
    return Money(int(cut.scaleb(places)), currency)


def _number(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text.strip()):
        raise InvalidMoney(f"amount {_shown(text)} is not a number; such as 12.50 is allowed")
    return Decimal(text.strip())


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def major(amount_minor: int, currency: str) -> Decimal:
    """The amount in major units, with all its decimals."""
    return Decimal(amount_minor).scaleb(-digits(currency))


def allocate(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Split an amount in proportion to weights (0 or more, not all 0) so that the parts add up to it exactly.

    Largest remainder; of equal remainders the earlier part gets the unit. A negative amount is split as its
    positive one.
    """
    if amount_minor < 0:
        return [-part for part in allocate(-amount_minor, weights)]
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError(f"weights {list(weights)} can't share anything; 0 or more and not all 0 are allowed")
    parts = [amount_minor * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: -(amount_minor * weights[place] % total))
    for place in by_remainder[: amount_minor - sum(parts)]:
        parts[place] += 1
    return parts


def commission_minor(net_result_minor: int, rate: Decimal, discount: Decimal = Decimal(0)) -> int:
    """Commission on a customer's net result in one market: max(0, net) x rate x (1 - discount), half-even.

    `rate` is the market's base rate and `discount` the customer's, both from 0 to 1. Never netted across
    markets.
    """
    for name, share in (("rate", rate), ("discount", discount)):
        if not share.is_finite() or not 0 <= share <= 1:
            raise ValueError(f"{name} {share} out of range; 0 to 1 is allowed")
    # Fractions, so that it is rounded once; round is half-even.
    return round(max(0, net_result_minor) * Fraction(rate) * (1 - Fraction(discount)))
