"""Betfair's streams: one line's message, decoded as far as the platform needs it. Not here: files, executions
(recorded.py), events (states.py).

Of the market stream (`mcm`) the traded volume (`trd`) and the market's definition are decoded, numbers as
exact decimals; of the sports data (`ccm`) fixture, teams and innings. Source of the formats: Betfair
developer documentation, "Exchange Stream API"; the sports data as recorded.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec

from exchange_platform.domain.bets import Id, IllegalBet, SelectionId, check_handicap
from exchange_platform.process.decoders import json_decoder

_MAGNITUDE, _PLACES = 15, 30

# The years 2000 to 2099, which a record's instant allows.
_PublishedAt = Annotated[int, msgspec.Meta(ge=946_684_800_000, lt=4_102_444_800_000)]


class Runner(msgspec.Struct, frozen=True, rename="camel"):
    """A runner as a market's definition has it. `status` is ACTIVE, REMOVED, WINNER, LOSER, PLACED, ..."""

    id: SelectionId
    hc: Decimal | None = None
    status: str | None = None
    name: str | None = None
    sort_priority: int | None = None


class MarketDefinition(msgspec.Struct, frozen=True, rename="camel"):
    """What a market is. `status` is INACTIVE, OPEN, SUSPENDED or CLOSED; names are absent from some
    recordings.
    """

    event_id: Id | None = None
    status: str | None = None
    runners: list[Runner] | None = None
    event_type_id: str | None = None
    event_name: str | None = None
    name: str | None = None
    market_type: str | None = None
    market_time: str | None = None
    open_date: str | None = None
    settled_time: str | None = None
    timezone: str | None = None
    venue: str | None = None
    country_code: str | None = None
    in_play: bool | None = None
    bet_delay: Decimal | None = None
    number_of_winners: int | None = None
    market_base_rate: Decimal | None = None


class RunnerChange(msgspec.Struct, frozen=True):
    """A selection's change; `trd` is its new cumulative volume, both sides, at each of some prices."""

    id: SelectionId
    hc: Decimal | None = None
    trd: list[tuple[Decimal, Decimal]] | None = None


class MarketChange(msgspec.Struct, frozen=True, rename={"definition": "marketDefinition"}):
    """A market's change; with `img` it replaces all that was known, with `con` several changes became one."""

    id: Id
    img: bool | None = None
    definition: MarketDefinition | None = None
    rc: list[RunnerChange] | None = None
    con: bool | None = None


class Message(msgspec.Struct, frozen=True):
    """One line: what changed at `pt`, milliseconds since 1970 UTC."""

    op: str
    pt: _PublishedAt | None = None
    mc: list[MarketChange] | None = None


class Fixture(msgspec.Struct, frozen=True, rename="camel"):
    """What the sports data says of a match. `fixture_status` is PRE_MATCH, IN_RUNNING or FINISHED; the start
    in ms since 1970 UTC.
    """

    fixture_status: str | None = None
    event_status: str | None = None
    home_team: str | None = None
    away_team: str | None = None
    expected_start_time: int | None = None


class Team(msgspec.Struct, frozen=True, rename="camel"):
    """One side of a match, and which selection it is."""

    name: str | None = None
    selection_id: SelectionId | None = None


class Innings(msgspec.Struct, frozen=True, rename="camel"):
    """One innings; `batting_team` is absent, or `0`, until it is known."""

    innings_num: int
    batting_team: str | None = None
    innings_runs: int = 0
    innings_wickets: int = 0
    innings_overs: str = ""


class MatchStatistics(msgspec.Struct, frozen=True, rename="camel"):
    """How a match stands."""

    current_innings: int | None = None
    innings_stats: list[Innings] | None = None


class SportsChange(msgspec.Struct, frozen=True, rename="camel"):
    """What changed of one match: each part that is there replaces what was known."""

    event_id: Id
    fixture_info: Fixture | None = None
    home_team: Team | None = None
    away_team: Team | None = None
    match_stats: MatchStatistics | None = None


class SportsMessage(msgspec.Struct, frozen=True):
    """One line of the sports data: what changed at `pt`, milliseconds since 1970 UTC."""

    op: str
    pt: _PublishedAt
    cc: list[SportsChange] | None = None


class Undecodable(ValueError):
    """A line can't be understood: report it, and go on with the next."""


class _Kind(msgspec.Struct, frozen=True):
    op: str


_decoder = json_decoder(Message)
_kind_decoder = json_decoder(_Kind)
_sports_decoder = json_decoder(SportsMessage, strict=False)

_T = TypeVar("_T")


def _decoded(decoder: msgspec.json.Decoder[_T], line: bytes) -> _T:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
        raise Undecodable(str(error)[:200] or type(error).__name__) from error


def decode_sports_line(line: bytes) -> SportsMessage | None:
    """A line's message of the sports data; None for messages of other kinds. Raises `Undecodable` for what is
    no message.
    """
    if _decoded(_kind_decoder, line).op != "ccm":
        return None
    return _decoded(_sports_decoder, line)


def decode_line(line: bytes) -> Message | None:
    """A line's message of the market stream; None for messages of other kinds (`ccm`, `connection`,
    `status`).

    Raises `Undecodable` for what is no message, or has numbers that can be neither prices nor sizes.
    """
    message = _decoded(_decoder, line)
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
