"""Events over HTTP: found by type-ahead, listed, and one with its markets. Not here: following one live
(live.py), pages (board.py).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from exchange_platform.api.event_models import (
    EventPage,
    FoundEvents,
    WholeEvent,
    event_told,
    found_event,
    whole_event,
)
from exchange_platform.api.http.answers import as_json, holds, tag_of, unchanged
from exchange_platform.api.http.bulkheads import Work, pooled
from exchange_platform.api.http.problems import Problem, problems
from exchange_platform.api.services import AppState, Services
from exchange_platform.domain.events import EventStatus
from exchange_platform.stores.event_index.index import LONGEST_QUERY, MAX_HITS, EventQuery
from exchange_platform.stores.operational.events.reader import StoredEvent

router = APIRouter(tags=["events"], route_class=pooled(Work.EVENTS), responses=problems(429))
searches = APIRouter(tags=["events"], route_class=pooled(Work.SEARCH))

MAX_LISTED = 200
_START = re.compile(r"-?[0-9]{1,18}", re.ASCII)
"""An instant in a cursor: what the database can hold."""

Identifier = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
Sport = Annotated[
    str | None,
    Query(max_length=60, description="Only of this sport; case doesn't matter.", examples=["football"]),
]


@searches.get(
    "/events/search",
    response_model=FoundEvents,
    responses=problems(422, 429, 503),
)
def search(
    services: AppState,
    request: Request,
    q: Annotated[
        str, Query(max_length=LONGEST_QUERY, description="What was typed so far. Empty: the top events.")
    ] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_HITS)] = 8,
    sport: Sport = None,
    only_open: Annotated[
        bool, Query(alias="open", description="Only events with a market that takes bets or will.")
    ] = False,
) -> Response:
    """Find events by the beginnings of words in their names, participants, competitions. Best first; meant to
    be called at each keystroke.
    """
    hits = services.event_index.search(EventQuery(text=q, sport=sport, open_only=only_open, limit=limit))
    return as_json(request, FoundEvents(query=q, events=[found_event(hit) for hit in hits]))


@router.get("/events", response_model=EventPage, responses=problems(422, 503))
def listed(
    services: AppState,
    request: Request,
    status: Annotated[list[EventStatus] | None, Query(description="Only of these statuses.")] = None,
    sport: Sport = None,
    newest_first: Annotated[bool, Query(description="By their start, the latest first.")] = False,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 50,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next` of the page before, with the same filters.")
    ] = None,
) -> Response:
    """List events by their start, those without one last, page by page."""
    after = _read_cursor(cursor, newest_first) if cursor else None
    found = services.events.page(
        statuses=tuple(status or ()), sport=sport, after=after, newest_first=newest_first, limit=limit + 1
    )
    page = found[:limit]
    following = _cursor(page[-1], newest_first) if len(found) > limit else None
    return as_json(request, EventPage(events=[event_told(stored) for stored in page], next=following))


@router.get(
    "/events/{event_id}",
    response_model=WholeEvent,
    responses={**problems(404, 422, 503), 304: {"description": "Unchanged."}},
)
def one(services: AppState, request: Request, event_id: Identifier) -> Response:
    """Return an event with its scores, markets and selections. Its ETag changes with any of them, so asking
    again costs little.
    """
    if "If-None-Match" in request.headers:
        version = services.events.versions([event_id]).get(event_id)
        if version is not None and holds(request, _tag(event_id, version)):
            return unchanged(_tag(event_id, version))
    stored = event_or_404(services, event_id)
    return as_json(request, whole_event(stored), _tag(event_id, stored.index_version))


def event_or_404(services: Services, event_id: str) -> StoredEvent:
    """The event, or the problem that there is none."""
    stored = services.events.get(event_id)
    if stored is None:
        raise Problem(404, "unknown_event", f"there is no event {event_id}")
    return stored


def _tag(event_id: str, version: int) -> str:
    return tag_of("event", event_id, version)


def _cursor(stored: StoredEvent, newest_first: bool) -> str:
    start, event_id = stored.page_key
    text = f"{'d' if newest_first else 'a'}{start}:{event_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, newest_first: bool) -> tuple[int, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        start, colon, event_id = text[1:].partition(":")
        if text[0] != ("d" if newest_first else "a") or not colon or not _START.fullmatch(start):
            raise ValueError
        return int(start), event_id
    except (binascii.Error, ValueError, IndexError):
        raise Problem(
            422,
            "invalid_cursor",
            "this cursor is none of this list: give `next` of the page before, with the same newest_first",
        ) from None
