"""Events for tests: updates as the feed gives them, and putting them into the tables. Not here: any test."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
import sqlalchemy as sa

from exchange_platform.events import (
    EventStatus,
    EventUpdate,
    FeedUpdate,
    MarketStatus,
    MarketUpdate,
    Score,
    SelectionState,
    SelectionStatus,
)
from exchange_platform.stores.database import Database, to_us
from exchange_platform.stores.event_tables import events, markets, selections

KICK_OFF = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def event(event_id: str = "e1", version: int = 1, **others: object) -> EventUpdate:
    """A football match in play, unless said otherwise."""
    stated = {
        "name": "Ashbury Rovers v Dunholm Town",
        "sport": "football",
        "competition": "Northern League",
        "status": EventStatus.IN_PLAY,
        "phase": "2nd half",
        "participants": ("Ashbury Rovers", "Dunholm Town"),
        "scores": (
            Score(name="Ashbury Rovers", value="2"),
            Score(name="Dunholm Town", value="1"),
        ),
        "starts_at": KICK_OFF,
        "updated_at": KICK_OFF + 60 * MINUTE,
    }
    return EventUpdate(event_id=event_id, version=version, **{**stated, **others})  # type: ignore[arg-type]


def market(market_id: str = "1.1", event_id: str = "e1", version: int = 1, **others: object) -> MarketUpdate:
    """Its market of match odds, open and in play, unless said otherwise."""
    stated = {
        "name": "Match Odds",
        "market_type": "MATCH_ODDS",
        "status": MarketStatus.OPEN,
        "in_play": True,
        "traded_minor": 1_234_500,
        "selections": selections_of("Ashbury Rovers", "Dunholm Town", "The Draw"),
        "starts_at": KICK_OFF,
        "updated_at": KICK_OFF + 60 * MINUTE,
    }
    return MarketUpdate(
        market_id=market_id,
        event_id=event_id,
        version=version,
        **{**stated, **others},  # type: ignore[arg-type]
    )


def selections_of(*names: str, winner: str | None = None) -> tuple[SelectionState, ...]:
    """Selections 7, 8 ... of these names; with a winner the others have lost."""
    return tuple(
        SelectionState(
            selection_id=7 + place,
            name=name,
            status=SelectionStatus.ACTIVE
            if winner is None
            else SelectionStatus.WINNER
            if name == winner
            else SelectionStatus.LOSER,
        )
        for place, name in enumerate(names)
    )


def store(database: Database, updates: Iterable[FeedUpdate]) -> None:
    """Make the tables hold these states, each event one version further."""
    with database.write() as connection:
        for update in updates:
            if isinstance(update, EventUpdate):
                _store_event(connection, update)
            else:
                _store_market(connection, update)


def _store_event(connection: sa.Connection, update: EventUpdate) -> None:
    known = connection.scalar(sa.select(events.c.index_version).where(events.c.event_id == update.event_id))
    connection.execute(sa.delete(events).where(events.c.event_id == update.event_id))
    connection.execute(
        sa.insert(events).values(
            event_id=update.event_id,
            version=update.version,
            name=update.name,
            sport=update.sport,
            competition=update.competition,
            country=update.country,
            status=update.status.value,
            phase=update.phase,
            participants=msgspec.json.encode(update.participants).decode(),
            scores=msgspec.json.encode(update.scores).decode(),
            starts_at_us=None if update.starts_at is None else to_us(update.starts_at),
            updated_at_us=to_us(update.updated_at),
            changed_at_us=to_us(update.updated_at),
            index_version=(known or 0) + 1,
        )
    )


def _store_market(connection: sa.Connection, update: MarketUpdate) -> None:
    for table in (markets, selections):
        connection.execute(sa.delete(table).where(table.c.market_id == update.market_id))
    connection.execute(
        sa.insert(markets).values(
            market_id=update.market_id,
            event_id=update.event_id,
            version=update.version,
            name=update.name,
            market_type=update.market_type,
            status=update.status.value,
            in_play=update.in_play,
            bet_delay_s=update.bet_delay_s,
            number_of_winners=update.number_of_winners,
            number_of_selections=sum(
                selection.status is not SelectionStatus.REMOVED for selection in update.selections
            ),
            commission_rate=str(update.commission_rate),
            currency=update.currency,
            traded_minor=update.traded_minor,
            starts_at_us=None if update.starts_at is None else to_us(update.starts_at),
            settled_at_us=None if update.settled_at is None else to_us(update.settled_at),
            updated_at_us=to_us(update.updated_at),
            changed_at_us=to_us(update.updated_at),
        )
    )
    if update.selections:
        connection.execute(
            sa.insert(selections),
            [
                {
                    "market_id": update.market_id,
                    "selection_id": selection.selection_id,
                    "handicap": str(selection.handicap),
                    "place": place,
                    "name": selection.name,
                    "status": selection.status.value,
                }
                for place, selection in enumerate(update.selections)
            ],
        )
    connection.execute(
        sa.update(events)
        .where(events.c.event_id == update.event_id)
        .values(index_version=events.c.index_version + 1)
    )
