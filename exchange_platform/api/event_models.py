"""What the API shows of events, markets and windows, as JSON. Not here: the routes (routes/events.py,
routes/windows.py, routes/live.py).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from exchange_platform.domain.events import (
    EventStatus,
    EventUpdate,
    MarketStatus,
    MarketUpdate,
    SelectionStatus,
)
from exchange_platform.domain.windows import WINDOW
from exchange_platform.stores.event_index.index import EventHit
from exchange_platform.stores.lake.window_reading import MarketWindow
from exchange_platform.stores.operational.bets.rows import decimal_text
from exchange_platform.stores.operational.database import from_us
from exchange_platform.stores.operational.events.reader import StoredEvent

Version = Annotated[
    int, Field(description="Grows with every change of the event or of one of its markets.", ge=1)
]
Odds = Annotated[str, Field(description="Decimal odds.", examples=["2.5"])]


class Highlight(BaseModel):
    """Characters `[start, end)` of the field, counted in Unicode code points, that the query found. Escape
    the text, then mark them.
    """

    field: Annotated[str, Field(description="`name` or `competition`.")]
    start: int
    end: int


class FoundEvent(BaseModel):
    """An event that a search found."""

    event_id: str
    version: Version
    name: str
    sport: str
    competition: str
    country: str
    status: EventStatus
    in_play: bool
    open: Annotated[bool, Field(description="It has a market that takes bets or will.")]
    starts_at: datetime | None
    traded_minor: int
    highlights: list[Highlight]


class FoundEvents(BaseModel):
    """The best events for a query, best first."""

    query: str
    events: list[FoundEvent]


class ScoreTold(BaseModel):
    """One side's score, as its sport gives it."""

    name: str
    value: str
    detail: str


class EventTold(BaseModel):
    """An event as it is now."""

    event_id: str
    version: Version
    name: str
    sport: str
    competition: str
    country: Annotated[str, Field(description="Two letters of ISO 3166, or empty.")]
    status: EventStatus
    phase: Annotated[str, Field(description="Its sport's own word, such as `2nd innings`.")]
    participants: list[str]
    scores: list[ScoreTold]
    starts_at: datetime | None
    updated_at: datetime


class SelectionTold(BaseModel):
    """A selection of a market."""

    selection_id: int
    handicap: str
    name: str
    status: SelectionStatus


class MarketTold(BaseModel):
    """A market as it is now. It takes bets only while it is `OPEN`."""

    market_id: str
    version: int
    name: str
    market_type: str
    status: MarketStatus
    in_play: bool
    bet_delay_s: float
    number_of_winners: int
    commission_rate: str
    currency: str
    traded_minor: Annotated[int, Field(description="The stake matched in it so far, counted once.")]
    starts_at: datetime | None
    settled_at: datetime | None
    updated_at: datetime
    selections: list[SelectionTold]


class WholeEvent(EventTold):
    """An event as it is now, with its markets in the order of their ids."""

    markets: list[MarketTold]


class EventPage(BaseModel):
    """Some events of a list. `next` is the cursor of the following page; none: there is no more."""

    events: list[EventTold]
    next: str | None


class Window(BaseModel):
    """A selection's executions in `[start, end)`, five minutes. Averages are numbers; odds that were traded
    are text and exact.
    """

    selection_id: int
    handicap: str
    start: datetime
    end: datetime
    executions: int
    average_odds: Annotated[float, Field(description="The arithmetic mean of the executions' odds.")]
    vwap: Annotated[float, Field(description="Their mean weighted by stake.")]
    min_odds: Odds
    max_odds: Odds
    open_odds: Odds
    close_odds: Odds
    stake: Annotated[
        str, Field(description="In major units of the currency; half pennies happen.", examples=["120.500"])
    ]
    final: Annotated[bool, Field(description="The window is closed; a late execution opens it again.")]
    revision: Annotated[
        int, Field(description="How often its closed row was written; 0: it was never closed.", ge=0)
    ]


class MarketWindows(BaseModel):
    """A market's windows, oldest first. `more`: older ones of the span were left out."""

    market_id: str
    currency: str
    since: datetime
    until: datetime | None
    windows: list[Window]
    more: bool


class ChangedWindows(BaseModel):
    """Windows of a market that changed, as they are now."""

    market_id: str
    windows: list[Window]


def found_event(hit: EventHit) -> FoundEvent:
    """A hit of the index, as the API shows it."""
    document = hit.document
    return FoundEvent(
        event_id=document.event_id,
        version=document.version,
        name=document.name,
        sport=document.sport,
        competition=document.competition,
        country=document.country,
        status=document.status,
        in_play=document.in_play,
        open=document.open,
        starts_at=None if document.starts_at_us is None else from_us(document.starts_at_us),
        traded_minor=document.traded_minor,
        highlights=[Highlight(field=mark.field, start=mark.start, end=mark.end) for mark in hit.highlights],
    )


def event_told(stored: StoredEvent) -> EventTold:
    """An event without its markets, as the API shows it."""
    return EventTold(**_event(stored.event, stored.index_version))


def whole_event(stored: StoredEvent) -> WholeEvent:
    """An event with its markets, as the API shows it."""
    return WholeEvent(
        **_event(stored.event, stored.index_version), markets=[_market(market) for market in stored.markets]
    )


def window_told(window: MarketWindow) -> Window:
    """A window, as the API shows it."""
    row = window.row
    return Window(
        selection_id=row.selection_id,
        handicap=decimal_text(row.handicap),
        start=row.window_start,
        end=row.window_start + WINDOW,
        executions=row.executions,
        average_odds=row.average_odds,
        vwap=row.vwap,
        min_odds=decimal_text(row.min_odds),
        max_odds=decimal_text(row.max_odds),
        open_odds=decimal_text(row.open_odds),
        close_odds=decimal_text(row.close_odds),
        stake=str(row.stake),
        final=window.final,
        revision=window.revision,
    )


def _event(event: EventUpdate, version: int) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "version": version,
        "name": event.name,
        "sport": event.sport,
        "competition": event.competition,
        "country": event.country,
        "status": event.status,
        "phase": event.phase,
        "participants": list(event.participants),
        "scores": [
            ScoreTold(name=score.name, value=score.value, detail=score.detail) for score in event.scores
        ],
        "starts_at": event.starts_at,
        "updated_at": event.updated_at,
    }


def _market(market: MarketUpdate) -> MarketTold:
    return MarketTold(
        market_id=market.market_id,
        version=market.version,
        name=market.name,
        market_type=market.market_type,
        status=market.status,
        in_play=market.in_play,
        bet_delay_s=market.bet_delay_s,
        number_of_winners=market.number_of_winners,
        commission_rate=decimal_text(market.commission_rate),
        currency=market.currency,
        traded_minor=market.traded_minor,
        starts_at=market.starts_at,
        settled_at=market.settled_at,
        updated_at=market.updated_at,
        selections=[
            SelectionTold(
                selection_id=selection.selection_id,
                handicap=decimal_text(selection.handicap),
                name=selection.name,
                status=selection.status,
            )
            for selection in market.selections
        ],
    )
