"""How pages write odds, money and instants. Not here: how pages in a browser do (static/board/format.js),
which writes them alike.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from exchange_platform.domain.money import InvalidMoney, digits, major

NONE = "–"
_SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$", "JPY": "¥", "AUD": "A$", "CAD": "C$", "NZD": "NZ$"}
_COMPACT = ((Decimal(10) ** 9, "bn"), (Decimal(10) ** 6, "m"), (Decimal(10) ** 3, "k"))
# The steps of the price ladder: hundredths to 4, tenths to 20, whole numbers beyond.
_PLACES = ((Decimal(4), 2), (Decimal(20), 1))


def odds_text(odds: Decimal | None) -> str:
    """With the decimals that the price ladder has there: `2.50`, `7.2`, `120`."""
    if odds is None:
        return NONE
    places = next((places for below, places in _PLACES if odds < below), 0)
    return f"{odds.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"


def money_text(amount_minor: int, currency: str) -> str:
    """Short, in its currency: `£840`, `£12.3k`, `€1.25m`. Currencies without a sign of their own follow the
    number.
    """
    try:
        amount = major(amount_minor, currency)
        digits(currency)
    except InvalidMoney:
        return f"{amount_minor} {currency}"
    for size, unit in _COMPACT:
        if abs(amount) >= size:
            return _with_currency(f"{_three_figures(amount / size)}{unit}", currency)
    return _with_currency(f"{amount.quantize(Decimal(1), ROUND_HALF_EVEN):,f}", currency)


def instant_text(instant: datetime) -> str:
    """In UTC, as people write it: `25 Nov 2026, 14:05 UTC`."""
    utc = instant.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y, %H:%M} UTC"


def instant_attribute(instant: datetime) -> str:
    """For a `datetime` attribute: `2026-11-25T14:05:00Z`."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _three_figures(number: Decimal) -> str:
    places = 2 if abs(number) < 10 else 1 if abs(number) < 100 else 0
    text = f"{number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _with_currency(number: str, currency: str) -> str:
    symbol = _SYMBOLS.get(currency)
    return f"{number} {currency}" if symbol is None else f"{symbol}{number}"
