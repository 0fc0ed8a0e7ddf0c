"""Updates of the exchange's feed for tests: single ones by hand, and any by hypothesis."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

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

STARTS = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)


def event(event_id: str = "e1", version: int = 1, **changes: Any) -> EventUpdate:
    values: dict[str, Any] = {
        "name": "Netherlands v Papua New Guinea",
        "sport": "Cricket",
        "competition": "T20 Internationals",
        "country": "GB",
        "status": EventStatus.SCHEDULED,
        "participants": ("Netherlands", "Papua New Guinea"),
        "starts_at": STARTS,
        "updated_at": STARTS + timedelta(seconds=version),
    }
    return EventUpdate(event_id=event_id, version=version, **values | changes)


def market(market_id: str = "1.1", event_id: str = "e1", version: int = 1, **changes: Any) -> MarketUpdate:
    values: dict[str, Any] = {
        "name": "Match Odds",
        "market_type": "MATCH_ODDS",
        "status": MarketStatus.OPEN,
        "selections": (selection(1, name="Netherlands"), selection(2, name="Papua New Guinea")),
        "starts_at": STARTS,
        "updated_at": STARTS + timedelta(seconds=version),
    }
    return MarketUpdate(market_id=market_id, event_id=event_id, version=version, **values | changes)


def selection(selection_id: int, **changes: Any) -> SelectionState:
    return SelectionState(selection_id=selection_id, **changes)


def any_updates(count: int, *, seed: int, events: int = 12) -> list[FeedUpdate]:
    """Seeded updates of some events and their markets, versions growing but for repeats; now and then one
    that contradicts.
    """
    draw = random.Random(seed)
    versions: dict[str, int] = {}
    told: list[FeedUpdate] = []
    while len(told) < count:
        number = draw.randrange(events)
        key = draw.choice([f"e{number}", f"1.{number}", f"1.{number + 100}"])
        versions[key] = versions.get(key, 0) + draw.choice([0, 1, 1, 1, 2])
        version = max(1, versions[key])
        if key.startswith("e"):
            status = draw.choice(list(EventStatus))
            told.append(event(key, version, name=f"Škoda {number} v Åse {version} 🏏", status=status))
        else:
            told.append(
                market(
                    key,
                    f"e{draw.randrange(events) if draw.random() < 0.1 else number}",
                    version,
                    status=draw.choice(
                        [*[MarketStatus.OPEN, MarketStatus.SUSPENDED] * 4, MarketStatus.CLOSED]
                    ),
                    traded_minor=draw.randrange(10**9),
                    selections=tuple(
                        selection(
                            one, name=f"Selection {one}", handicap=Decimal(draw.choice(["0", "-1.5", "0.25"]))
                        )
                        for one in draw.sample(range(5), draw.randrange(1, 5))
                    ),
                )
            )
    return told


_instants = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
_words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=60)
_scores = st.builds(Score, name=_words, value=_words, detail=_words)
_selections = st.builds(
    SelectionState,
    selection_id=st.integers(0, 2**53 - 1),
    handicap=st.decimals(-1000, 1000, places=2),
    name=_words,
    status=st.sampled_from(SelectionStatus),
)
events = st.builds(
    EventUpdate,
    v=st.just(1),
    event_id=st.sampled_from(["e1", "e2", "e3"]),
    version=st.integers(1, 30),
    name=_words,
    sport=_words,
    competition=_words,
    country=st.sampled_from(["", "GB", "NL"]),
    status=st.sampled_from(EventStatus),
    phase=_words,
    participants=st.lists(_words, max_size=3).map(tuple),
    scores=st.lists(_scores, max_size=3).map(tuple),
    starts_at=st.none() | _instants,
    updated_at=_instants,
)
markets = st.builds(
    MarketUpdate,
    v=st.just(1),
    market_id=st.sampled_from(["1.1", "1.2", "1.3"]),
    event_id=st.sampled_from(["e1", "e2", "e3"]),
    version=st.integers(1, 30),
    name=_words,
    market_type=_words,
    status=st.sampled_from(MarketStatus),
    in_play=st.booleans(),
    bet_delay_s=st.sampled_from([0.0, 5.0, 7.5]),
    number_of_winners=st.integers(0, 100),
    commission_rate=st.decimals(0, 1, places=4).map(lambda rate: Decimal(f"{rate.normalize():f}")),
    currency=st.sampled_from(["GBP", "EUR"]),
    traded_minor=st.integers(0, 10**15),
    selections=st.lists(_selections, max_size=6, unique_by=lambda one: (one.selection_id, one.handicap)).map(
        tuple
    ),
    starts_at=st.none() | _instants,
    settled_at=st.none() | _instants,
    updated_at=_instants,
)
updates = events | markets
"""Of few events and markets and few versions, so that they meet, repeat and contradict each other."""
