"""A market's five-minute odds windows over HTTP, closed and live. Not here: reading the lake
(lake/window_reading.py).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime

from exchange_platform.api.event_models import MarketWindows, window_told
from exchange_platform.api.http.answers import as_json
from exchange_platform.api.http.bulkheads import Work, pooled
from exchange_platform.api.http.problems import Problem, problems
from exchange_platform.api.routes.events import Identifier
from exchange_platform.api.services import AppState
from exchange_platform.domain.events import MarketUpdate
from exchange_platform.stores.lake.window_reading import (
    DEFAULT_SPAN,
    EARLIEST,
    LATEST,
    WindowSpan,
    default_since,
)
from exchange_platform.stores.operational.database import from_us

router = APIRouter(tags=["events"], route_class=pooled(Work.WINDOWS))

MAX_WINDOWS = 5000
LONGEST_SPAN = timedelta(days=31)


@router.get(
    "/markets/{market_id}/windows", response_model=MarketWindows, responses=problems(404, 422, 429, 503)
)
def windows(
    services: AppState,
    request: Request,
    market_id: Identifier,
    since: Annotated[
        AwareDatetime | None,
        Query(
            description=f"Windows that start then or later. Default: a day before the market's newest update, or before `until`. Without `until` at most {LONGEST_SPAN.days} days before that update."
        ),
    ] = None,
    until: Annotated[
        AwareDatetime | None,
        Query(
            description=f"Windows that start before then, at most {LONGEST_SPAN.days} days after `since`. Default: all."
        ),
    ] = None,
    selection_id: Annotated[int | None, Query(ge=0, le=2**53 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_WINDOWS, description="The newest so many are returned.")] = 2000,
) -> Response:
    """Tell a market's odds windows: those that are closed, and those still open as they are now.

    A window is one selection's executions in five minutes, by their own time. A window without executions is
    left out.
    """
    market = services.events.market(market_id)
    if market is None:
        raise Problem(404, "unknown_market", f"there is no market {market_id}")
    span = _span(market, since, until, from_us(services.clock.now_us()))
    found = services.windows.read(market_id, span, selection_id=selection_id, limit=limit + 1)
    return as_json(
        request,
        MarketWindows(
            market_id=market_id,
            currency=market.currency,
            since=span.since,
            until=None if until is None else span.until,
            windows=[window_told(window) for window in found[-limit:]],
            more=len(found) > limit,
        ),
    )


def _span(market: MarketUpdate, since: datetime | None, until: datetime | None, now: datetime) -> WindowSpan:
    end = LATEST if until is None else _bounded(until)
    if since is not None:
        begin = _bounded(since)
        if until is None:  # the newest of them, as many days as may be asked for
            begin = max(begin, min(market.updated_at, now) - LONGEST_SPAN)
        span = WindowSpan(begin, end)
    else:
        span = WindowSpan(default_since(market.updated_at, now) if until is None else end - DEFAULT_SPAN, end)
    if span.until <= span.since:
        raise Problem(
            422,
            "invalid_span",
            f"until, {end.isoformat()}, must be later than since, {span.since.isoformat()}",
        )
    if until is not None and span.until - span.since > LONGEST_SPAN:
        raise Problem(422, "invalid_span", f"at most {LONGEST_SPAN.days} days can be asked for at once")
    return span


def _bounded(instant: datetime) -> datetime:
    """The instant in UTC, within the years that windows can lie in: those beyond ask for the same."""
    try:
        return min(max(instant.astimezone(UTC), EARLIEST), LATEST)
    except OverflowError:
        return EARLIEST if instant.year == 1 else LATEST
