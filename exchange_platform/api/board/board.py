"""The board: the front page with what is on and the box that finds events, and an event's page. Not here:
what they show (rows.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from exchange_platform.api.board import rows as board_rows
from exchange_platform.api.board.marks import marked
from exchange_platform.api.board.rows import Row, SportGroup, by_sport, main_market, row_of
from exchange_platform.api.event_models import found_event
from exchange_platform.api.http.bulkheads import Work, pooled
from exchange_platform.api.routes.events import Identifier
from exchange_platform.api.services import AppState, Services
from exchange_platform.domain.events import EventStatus
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.event_index.index import LONGEST_QUERY, EventQuery
from exchange_platform.stores.operational.events.reader import StoredEvent

router = APIRouter(include_in_schema=False, route_class=pooled(Work.BOARD))

_MAX_IN_PLAY = 60
_MAX_STARTING = 20
_MAX_FINISHED = 8
_LATE_US = 3 * 3600 * 1_000_000
_MAX_FOUND = 30

SportChosen = Annotated[str, Query(max_length=60)]


@dataclass(frozen=True, slots=True)
class WhatIsOn:
    """The lists of the front page."""

    in_play: tuple[SportGroup, ...]
    starting: tuple[Row, ...]
    finished: tuple[Row, ...]


@router.get("/")
def front(
    services: AppState,
    request: Request,
    q: Annotated[str, Query(max_length=LONGEST_QUERY)] = "",
    sport: SportChosen = "",
) -> Response:
    """The front page; with `q` what the search finds, for those without scripts and for whoever wants more
    than the first few.
    """
    if q.strip():
        return _found(services, request, q, sport)
    return services.board.answer(request, "front.html", q="", **_lists(services, sport))


@router.get("/board/lists")
def lists(services: AppState, request: Request, sport: SportChosen = "") -> Response:
    """The front page's lists alone, as the page asks for them again and again."""
    return services.board.answer(request, "lists.html", **_lists(services, sport))


@router.get("/board")
async def board() -> Response:
    """The front page's other name."""
    return RedirectResponse(".", 308)


@router.get("/board/events/{event_id}")
def event(services: AppState, request: Request, event_id: Identifier) -> Response:
    """An event's page."""
    stored = services.events.get(event_id)
    if stored is None:
        return services.board.answer(request, "unknown.html", status=404, q="", event_id=event_id)
    main = main_market(stored.markets)
    return services.board.answer(
        request,
        "event.html",
        q="",
        event=stored.event,
        icon=board_rows.icon_of(stored.event.sport),
        label=board_rows.event_label(stored.event, main),
        sides=board_rows.sides_of(stored.event, main),
        markets=_main_first(stored),
        traded=board_rows.traded_of(stored.markets),
        version=stored.index_version,
        rows=board_rows,
        words=_words(),
    )


def _lists(services: Services, sport: str) -> dict[str, Any]:
    chosen = sport or None
    in_play = services.events.page(
        statuses=[EventStatus.IN_PLAY], sport=chosen, newest_first=True, limit=_MAX_IN_PLAY
    )
    starting = _starting(services, chosen)
    finished = services.events.page(
        statuses=[EventStatus.FINISHED, EventStatus.ABANDONED],
        sport=chosen,
        newest_first=True,
        limit=_MAX_FINISHED,
    )
    mains = [main_market(stored.markets) for stored in (*in_play, *starting)]
    last = services.last_odds.of([market for market in mains if market is not None])
    counts = services.events.sports([EventStatus.IN_PLAY, EventStatus.SCHEDULED])
    if sport:
        counts.setdefault(sport, 0)
    return {
        "on": WhatIsOn(
            in_play=by_sport(row_of(stored, last) for stored in in_play),
            starting=tuple(row_of(stored, last) for stored in starting),
            finished=tuple(row_of(stored, {}) for stored in finished),
        ),
        "sport": sport,
        "sports": [(name, board_rows.icon_of(name), count) for name, count in counts.items()],
    }


def _starting(services: Services, sport: str | None) -> list[StoredEvent]:
    """Those that start next; if they are few, also those whose start has long passed without a word that they
    began.
    """
    scheduled = [EventStatus.SCHEDULED]
    lately = (services.clock.now_us() - _LATE_US, "")
    coming = services.events.page(statuses=scheduled, sport=sport, after=lately, limit=_MAX_STARTING)
    room = _MAX_STARTING - len(coming)
    if not room:
        return coming
    overdue = services.events.page(
        statuses=scheduled, sport=sport, after=lately, newest_first=True, limit=room
    )
    return coming + overdue


def _found(services: Services, request: Request, query: str, sport: str) -> Response:
    try:
        hits = services.event_index.search(EventQuery(text=query, sport=sport or None, limit=_MAX_FOUND))
    except StoreUnavailable:
        return services.board.answer(request, "found.html", status=503, q=query, found=None, marked=marked)
    return services.board.answer(
        request,
        "found.html",
        q=query,
        found=[
            (
                found_event(hit),
                board_rows.EVENT_LABELS[hit.document.status],
                board_rows.icon_of(hit.document.sport),
            )
            for hit in hits
        ],
        marked=marked,
    )


def _main_first(stored: StoredEvent) -> list[Any]:
    main = main_market(stored.markets)
    return sorted(stored.markets, key=lambda market: market is not main)


def _words() -> dict[str, Any]:
    """The labels by status, so that scripts say what the page says."""
    return {
        "event": {status.value: vars_of(label) for status, label in board_rows.EVENT_LABELS.items()},
        "market": {status.value: vars_of(label) for status, label in board_rows.MARKET_LABELS.items()},
        "in_play": vars_of(board_rows.IN_PLAY_LABEL),
        "settled": vars_of(board_rows.SETTLED_LABEL),
        "selection": {status.value: vars_of(label) for status, label in board_rows.SELECTION_LABELS.items()},
    }


def vars_of(label: board_rows.Label) -> dict[str, str]:
    """The label as JSON has it."""
    return {"text": label.text, "tone": label.tone}
