"""How what Betfair's streams write is read: instants, names, overs; whatever is no such thing is left out.
Not here: what it is of.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from exchange_platform.domain.bets import IllegalBet, check_handicap, check_instant
from exchange_platform.exchanges.betfair.volumes import handicap_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MS = 10**13
_NUMBER = re.compile(r"^\d{1,3}[a-zA-Z]?\.\s+")


def cut(text: str, most: int) -> str:
    """The text without space around it, so long at most."""
    return text.strip()[:most].strip()


def is_known(name: str | None) -> bool:
    """Whether this is a name; `0` stands for one that is not known yet."""
    return bool(name) and bool((name or "").strip()) and name != "0"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def overs(text: str) -> str:
    """Overs, written one way: `20.0` is `20`."""
    return cut(text, 20).removesuffix(".0")


def without_number(name: str) -> str:
    """A runner's name without its number: `1. Paradise Mission` is `Paradise Mission`."""
    return _NUMBER.sub("", name) or name


def instant(text: str | None) -> datetime | None:
    """An instant as Betfair writes it; None for what is none of this century."""
    try:
        return _checked(datetime.fromisoformat(text or ""))
    except (ValueError, OverflowError):
        return None


def instant_of_ms(milliseconds: int | None) -> datetime | None:
    """The instant so many milliseconds after 1970 UTC; None for what is none of this century."""
    if milliseconds is None or not 0 <= milliseconds < _MAX_MS:
        return None
    return _checked(_EPOCH + timedelta(milliseconds=milliseconds))


def _checked(found: datetime) -> datetime | None:
    found = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    try:
        check_instant("instant", found)
    except IllegalBet:
        return None
    return found


def handicap(given: Decimal | None) -> Decimal | None:
    """A runner's handicap, 0 without one; None for what is none."""
    found = Decimal(0) if given is None else given
    try:
        check_handicap(found)
    except (IllegalBet, ArithmeticError):
        return None
    return handicap_of(found)


def race_meeting(venue: str, open_date: str | None, timezone: str | None) -> str:
    """A meeting's name as Betfair itself gives it: `Sheffield 19th Apr`."""
    day = instant(open_date)
    if day is None:
        return venue
    with contextlib.suppress(KeyError, ValueError, OSError):
        day = day.astimezone(ZoneInfo(timezone or "UTC"))
    return f"{venue} {ordinal(day.day)} {day:%b}"
