"""Betfair's market stream: one line's message, decoded as far as the platform needs it. Not here: files, executions (recorded.py).

Of a message only the traded volume (`trd`) and the market's definition are decoded, numbers as exact decimals.
Source of the format: Betfair developer documentation, "Exchange Stream API".
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

from exchange_platform.bets import Id, IllegalBet, SelectionId, check_handicap

_MAGNITUDE, _PLACES = 15, 30

# The years 2000 to 2099, which a record's instant allows.
_PublishedAt = Annotated[int, msgspec.Meta(ge=946_684_800_000, lt=4_102_444_800_000)]


class Runner(msgspec.Struct, frozen=True):
    """A runner as a market's definition has it. `status` is ACTIVE, REMOVED, WINNER, LOSER, PLACED, ..."""

    id: SelectionId
    hc: Decimal | None = None
    status: str | None = None


class MarketDefinition(msgspec.Struct, frozen=True, rename="camel"):
    """What a market is. `status` is INACTIVE, OPEN, SUSPENDED or CLOSED."""

    event_id: Id | None = None
    status: str | None = None
    runners: list[Runner] | None = None


class RunnerChange(msgspec.Struct, frozen=True):
    """A selection's change; `trd` is its new cumulative volume, both sides, at each of some prices."""

    id: SelectionId
    hc: Decimal | None = None
    trd: list[tuple[Decimal, Decimal]] | None = None


class MarketChange(msgspec.Struct, frozen=True, rename={"definition": "marketDefinition"}):
    """A market's change; with `img` it replaces all that was known."""

    id: Id
    img: bool | None = None
    definition: MarketDefinition | None = None
    rc: list[RunnerChange] | None = None


class Message(msgspec.Struct, frozen=True):
    """One line: what changed at `pt`, milliseconds since 1970 UTC."""

    op: str
    pt: _PublishedAt | None = None
    mc: list[MarketChange] | None = None


class Undecodable(ValueError):
    """A line can't be understood: report it, and go on with the next."""


_decoder = msgspec.json.Decoder(Message)


def decode_line(line: bytes) -> Message | None:
    """A line's message; None for messages of other kinds (`ccm`, `connection`, `status`).

    Raises `Undecodable` for what is no message, or has numbers that can be neither prices nor sizes.
    """
    try:
        message = _decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
        raise Undecodable(str(error)[:200] or type(error).__name__) from error
    if message.op != "mcm":
        return None
    if message.pt is None:
        raise Undecodable("a market message (mcm) without its time (pt)")
    for market in message.mc or ():
        for runner in market.rc or ():
            _check(runner)
    return message


def _check(runner: RunnerChange) -> None:
    if runner.hc is not None:
        try:
            check_handicap(runner.hc)
        except (IllegalBet, ArithmeticError) as error:
            raise Undecodable(f"selection {runner.id}: {error}") from error
    for price, size in runner.trd or ():
        if not _is_exact(price) or price <= 0 or not _is_exact(size) or size < 0:
            raise Undecodable(f"selection {runner.id}: size {size} traded at {price}; neither may be so")


def _is_exact(number: Decimal) -> bool:
    """Whether differences and halves of such numbers stay exact in the arithmetic used on them."""
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -_PLACES and number.adjusted() < _MAGNITUDE
