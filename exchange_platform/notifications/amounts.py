"""Amounts, odds and instants as mails write them. Pure. Not here: the sentences around them (wording.py)."""

from __future__ import annotations

from decimal import Decimal

from exchange_platform.domain.bets import Bet, Side
from exchange_platform.domain.money import major
from exchange_platform.stores.operational.database import from_us

# Only where a symbol names one currency.
_SYMBOLS = {"GBP": "£", "EUR": "€", "JPY": "¥"}


def amount(minor: int, currency: str) -> str:
    """Such as `£1,250.00`, `-£5.00`, `12.50 USD`: exactly the ledger's amount."""
    text = f"{abs(major(minor, currency)):,f}"
    sign = "-" if minor < 0 else ""
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{text}" if symbol is not None else f"{sign}{text} {currency}"


def signed_amount(minor: int, currency: str) -> str:
    """The same with a plus sign before a gain."""
    return f"+{amount(minor, currency)}" if minor > 0 else amount(minor, currency)


def odds_text(odds: Decimal) -> str:
    """With two decimals, more where there are more: `2.50`, `1.985`."""
    return f"{odds:.2f}" if odds == round(odds, 2) else f"{odds.normalize():f}"


def side_text(bet: Bet) -> str:
    """Which way the bet stands, in words that need no glossary."""
    return "Back (to win)" if bet.side is Side.BACK else "Lay (against)"


def instant_text(at_us: int) -> str:
    """Such as `25 Nov 2026, 14:05:09 UTC`."""
    at = from_us(at_us)
    return f"{at.day} {at:%b %Y, %H:%M:%S} UTC"
