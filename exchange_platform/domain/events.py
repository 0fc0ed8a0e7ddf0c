"""Events, markets and selections: their states and what an update of one says. Pure; no I/O, no clock.

An update is an event's or market's whole state at a version, as the exchange's feed gives it: applying the
newest alone gives the state, and one that is not newer changes nothing. Not here: how updates travel
(sources/feed.py) or are stored (events/events.py).
"""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from exchange_platform.domain.bets import Id, Instant, SelectionId, check_handicap, check_instant
from exchange_platform.domain.records import strictly
from exchange_platform.domain.schemas import json_schema_of
from exchange_platform.process.decoders import json_decoder

Version = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
ShortText = Annotated[str, msgspec.Meta(max_length=60)]


class EventStatus(enum.Enum):
    """Where an event is in its life."""

    SCHEDULED = "SCHEDULED"
    """It has not begun, as far as is known."""
    IN_PLAY = "IN_PLAY"
    """It has begun."""
    FINISHED = "FINISHED"
    """Its markets are closed, with winners."""
    ABANDONED = "ABANDONED"
    """Its markets are closed without a winner."""


class MarketStatus(enum.Enum):
    """Whether a market takes bets: `OPEN` does, `SUSPENDED` not for now, `CLOSED` never again."""

    INACTIVE = "INACTIVE"
    """Not open yet."""
    OPEN = "OPEN"
    """It takes bets."""
    SUSPENDED = "SUSPENDED"
    """It takes no bets for now."""
    CLOSED = "CLOSED"
    """It takes no bets any more."""


class SelectionStatus(enum.Enum):
    """What became of a selection. `PLACED` is a winner of a market of several winners."""

    ACTIVE = "ACTIVE"
    """It can be bet on while its market is open."""
    WINNER = "WINNER"
    """It won."""
    PLACED = "PLACED"
    """It is among the winners of a market of several."""
    LOSER = "LOSER"
    """It lost."""
    REMOVED = "REMOVED"
    """It does not take part: bets on it are void."""


class Score(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One side's score as its sport gives it: `value` such as `2` or `143/6`, `detail` such as `20.0
    overs`.
    """

    name: Text
    value: ShortText
    detail: ShortText = ""


class EventUpdate(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="event", forbid_unknown_fields=True
):
    """An event's whole state at a version. `phase` is its sport's own word, such as `2nd innings` or
    `half-time`.
    """

    v: Literal[1] = 1
    event_id: Id
    version: Version
    name: Text
    sport: ShortText
    competition: Annotated[str, msgspec.Meta(max_length=200)] = ""
    country: Annotated[str, msgspec.Meta(max_length=2)] = ""
    status: EventStatus
    phase: ShortText = ""
    participants: Annotated[tuple[Text, ...], msgspec.Meta(max_length=100)] = ()
    scores: Annotated[tuple[Score, ...], msgspec.Meta(max_length=20)] = ()
    starts_at: Instant | None = None
    updated_at: Instant

    def __post_init__(self) -> None:
        check_instant("updated_at", self.updated_at)
        if self.starts_at is not None:
            check_instant("starts_at", self.starts_at)


class SelectionState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One selection of a market, as its market's update has it."""

    selection_id: SelectionId
    handicap: Decimal = Decimal(0)
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    status: SelectionStatus = SelectionStatus.ACTIVE

    def __post_init__(self) -> None:
        if self.handicap:
            check_handicap(self.handicap)


class MarketUpdate(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="market", forbid_unknown_fields=True
):
    """A market's whole state at a version. `traded_minor` is the stake matched in it so far, counted once, in
    minor units of `currency`.
    """

    v: Literal[1] = 1
    market_id: Id
    event_id: Id
    version: Version
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    market_type: ShortText = ""
    status: MarketStatus
    in_play: bool = False
    bet_delay_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    number_of_winners: Annotated[int, msgspec.Meta(ge=0, le=100)] = 1
    commission_rate: Annotated[Decimal, msgspec.Meta()] = Decimal("0.05")
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")] = "GBP"
    traded_minor: Annotated[int, msgspec.Meta(ge=0, le=10**15)] = 0
    selections: Annotated[tuple[SelectionState, ...], msgspec.Meta(max_length=1000)]
    starts_at: Instant | None = None
    settled_at: Instant | None = None
    updated_at: Instant

    def __post_init__(self) -> None:
        check_instant("updated_at", self.updated_at)
        for name in ("starts_at", "settled_at"):
            instant = getattr(self, name)
            if instant is not None:
                check_instant(name, instant)
        rate = self.commission_rate
        if not rate.is_finite() or not 0 <= rate <= 1 or rate != round(rate, 6):
            raise ValueError(
                f"commission_rate {rate} out of range: allowed are 0 to 1 with at most 6 decimals"
            )
        keys = [(selection.selection_id, selection.handicap) for selection in self.selections]
        if len(set(keys)) != len(keys):
            raise ValueError("a selection is given twice")


FeedUpdate = EventUpdate | MarketUpdate

_decoder: msgspec.json.Decoder[FeedUpdate] = json_decoder(EventUpdate | MarketUpdate)
_encoder = msgspec.json.Encoder()


def decode_update(data: bytes) -> FeedUpdate:
    """Decode one update of the feed strictly. Raises `UndecodableRecord`, whose message says what was wrong
    and where.
    """
    return strictly(_decoder, data)


def encode_update(update: FeedUpdate) -> bytes:
    """Encode one update as JSON bytes; `decode_update` gives back an equal one."""
    return _encoder.encode(update)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of what the exchange's feed carries."""
    return json_schema_of("exchange-feed", [EventUpdate | MarketUpdate])
