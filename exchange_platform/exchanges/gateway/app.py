"""The gateway's routes. Serving them lives in __main__.py, what the feed holds in
exchanges/feed_journal.py.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal, FeedPage
from exchange_platform.exchanges.gateway.compacting import Compacting
from exchange_platform.exchanges.gateway.news import FeedNews
from exchange_platform.exchanges.gateway.parameters import (
    BadBody,
    BadParameter,
    FeedRequest,
    acknowledged,
    body_of,
    feed_request,
)
from exchange_platform.exchanges.gateway.report import report_routes
from exchange_platform.exchanges.platform_requests import REQUESTS_FILE, PlatformRequests, TooManyRequests
from exchange_platform.exchanges.simulated.reports import NoJournal, RecordsGone, Reports
from exchange_platform.exchanges.simulated.taken_bets import TakenBets
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

_JSON, _PROBLEM = "application/json", "application/problem+json"
_PATHS = "here are /feed, /bets/{bet_id}, /report, /report/bets, /acknowledged, /missing and /health"
_encoder = msgspec.json.Encoder()


class _Entry(msgspec.Struct):
    cursor: int
    update: msgspec.Raw


class _Page(msgspec.Struct):
    feed_id: str
    oldest: int
    ended_from: int
    newest: int
    updates: list[_Entry]


def create_app(data_dir: Path, *, clock: Clock = SYSTEM_CLOCK) -> Starlette:
    """The application over what lies in this data directory; the feed's journal is made if it is not
    there.
    """
    journal = FeedJournal(data_dir / FEED_FILE)
    bets = TakenBets(data_dir)
    requests = PlatformRequests(data_dir / REQUESTS_FILE)
    reports = Reports(data_dir, clock=clock)
    news = FeedNews(journal)

    async def feed(request: Request) -> Response:
        """Answer with the updates after a cursor, as soon as there are any or the wait is over."""
        wanted = feed_request(request.query_params)
        page = await _page(journal, news, wanted)
        entries = [_Entry(entry.cursor, msgspec.Raw(entry.data)) for entry in page.updates]
        content = _encoder.encode(_Page(page.feed_id, page.oldest, page.ended_from, page.newest, entries))
        return Response(content, media_type=_JSON, headers={"Cache-Control": "no-store"})

    async def bet(request: Request) -> Response:
        """Answer with a bet's newest state."""
        bet_id = request.path_params["bet_id"]
        state = await run_in_threadpool(bets.newest, bet_id)
        if state is None:
            return _problem(404, "unknown_bet", f"the exchange took no bet {bet_id[:80]!r} from bet-orders")
        return Response(state, media_type=_JSON, headers={"Cache-Control": "no-store"})

    async def acknowledge(request: Request) -> Response:
        """Note up to where the platform has committed what the exchange published."""
        report = acknowledged(await body_of(request))
        await run_in_threadpool(requests.acknowledge, report.positions)
        return Response(_encoder.encode({"shards": len(report.positions)}), media_type=_JSON)

    async def health(_request: Request) -> Response:
        """Say which feed this is and how far it goes."""
        newest = await run_in_threadpool(journal.newest)
        content = {"healthy": True, "feed_id": journal.feed_id, "newest": newest}
        return Response(_encoder.encode(content), media_type=_JSON)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        keeping = Compacting(journal, requests)
        yield
        keeping.stop()
        journal.close()
        bets.close()
        reports.close()
        requests.close()

    return Starlette(
        routes=[
            Route("/feed", feed),
            Route("/bets/{bet_id:path}", bet),
            Route("/acknowledged", acknowledge, methods=["POST"]),
            *report_routes(reports, requests),
            Route("/health", health),
        ],
        lifespan=lifespan,
        exception_handlers={
            BadParameter: _handler(lambda error: _problem(400, "bad_parameter", str(error))),
            NoJournal: _handler(
                lambda _: _problem(
                    404, "no_report", "no simulated exchange keeps a journal here; nothing is reported"
                )
            ),
            RecordsGone: _handler(
                lambda _: _problem(404, "not_held", "the exchange no longer holds the records of that minute")
            ),
            TooManyRequests: _handler(lambda error: _problem(503, "too_many_requests", str(error))),
            BadBody: _handler(lambda error: _problem(400, "bad_body", str(error))),
            HTTPException: _handler(_http_problem),
            sqlite3.Error: _handler(_away),
            Exception: _handler(_unexpected),
        },
    )


async def _page(journal: FeedJournal, news: FeedNews, wanted: FeedRequest) -> FeedPage:
    until = time.monotonic() + wanted.wait_s
    while True:
        page = await run_in_threadpool(journal.read, wanted.after, wanted.limit)
        left_s = until - time.monotonic()
        # Who is ahead of this feed is answered at once: there is nothing for him to wait for.
        if page.updates or page.newest < wanted.after or left_s <= 0:
            return page
        await news.wait(page.newest, left_s)


def _handler(answer: Callable[[Exception], Response]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(_request: Request, error: Exception) -> Response:
        return answer(error)

    return handle


def _http_problem(error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    detail = (
        "here are /feed, /bets/{bet_id}, /acknowledged and /health"
        if error.status_code == 404
        else error.detail
    )
    return _problem(error.status_code, code, detail)


def _away(error: Exception) -> Response:
    log.warning("the journal can't be read: %s", error)
    return _problem(503, "unavailable", "the exchange's journal can't be read for the moment; try again")


def _unexpected(_error: Exception) -> Response:
    return _problem(500, "internal_error", "something went wrong here; it is logged")


def _problem(status: int, code: str, detail: str) -> Response:
    """Problem details (RFC 9457), as the platform's API has them."""
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
    return Response(_encoder.encode(content), status, media_type=_PROBLEM)
