"""Events for tests: updates as the feed gives them, and putting them into the tables. Not here: any test."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from exchange_platform.domain.events import (
    EventStatus,
    EventUpdate,
    FeedUpdate,
    MarketStatus,
    MarketUpdate,
    Score,
    SelectionState,
    SelectionStatus,
)
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.documents import DatabaseEventDocuments
from exchange_platform.stores.operational.events.events import apply_feed_updates

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
    """Apply the updates, as the feed's consumer does; every one of them must be new."""
    with database.write() as connection:
        verdicts = apply_feed_updates(connection, list(updates), now_us=SYSTEM_CLOCK.now_us())
    assert all(verdict.applied for verdict in verdicts), verdicts


def index(settings: Settings, database: Database) -> None:
    """Put every event of the database into the event index."""
    event_index = open_event_index(settings)
    event_index.rebuild(DatabaseEventDocuments(database))
    event_index.close()
