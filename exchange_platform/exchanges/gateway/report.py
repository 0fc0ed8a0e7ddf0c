"""The routes of the exchange's report, and of asking for what is missing. What is reported lives in
simulated/reports.py.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exchange_platform.domain.exchange_reports import (
    MarketMinute,
    Missing,
    ReportedBet,
    ReportedBets,
    ReportedSpan,
)
from exchange_platform.exchanges.gateway.parameters import (
    BadBody,
    BadParameter,
    body_of,
    given_once,
    minute_of,
    whole,
)
from exchange_platform.exchanges.platform_requests import PlatformRequests
from exchange_platform.exchanges.simulated.reports import MinuteSum, Reports
from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.operational.database import from_us, to_us

MAX_MINUTES, USUAL_MINUTES = 5000, 1000
MAX_BETS, USUAL_BETS = 20_000, 5000
_LATEST_US = 4_000_000_000_000_000
_encoder = msgspec.json.Encoder()
_missing = json_decoder(Missing)


def report_routes(reports: Reports, requests: PlatformRequests) -> list[Route]:
    """`GET /report`, `GET /report/bets`, `POST /missing`."""

    async def report(request: Request) -> Response:
        """Answer with the sums of the minutes in a span, page by page."""
        given = given_once(request.query_params, ("from", "until", "after", "limit"))
        since_us, until_us = minute_of(given, "from", 0), minute_of(given, "until", _LATEST_US)
        limit = whole(given, "limit", USUAL_MINUTES, least=1, most=MAX_MINUTES)
        page = await run_in_threadpool(reports.page, since_us, until_us, _after(given.get("after")), limit)
        last = page.minutes[-1] if page.more else None
        content = ReportedSpan(
            since=from_us(page.since_us),
            until=from_us(page.until_us),
            acknowledged_until=from_us(page.acknowledged_until_us),
            records_since=from_us(page.records_since_us),
            dropped_records=page.dropped_records,
            dropped_until=_instant(page.dropped_until_us),
            minutes=[_minute(one) for one in page.minutes],
            next=f"{last.minute_us}/{last.market_id}" if last is not None else None,
        )
        return _json(content)

    async def bets(request: Request) -> Response:
        """Answer with the bets that changed in a minute, page by page."""
        given = given_once(request.query_params, ("minute", "market_id", "after", "limit"))
        if "minute" not in given:
            raise BadParameter("parameter minute is missing: which minute, as 2026-11-30T05:14:00Z")
        minute_us = minute_of(given, "minute", 0)
        limit = whole(given, "limit", USUAL_BETS, least=1, most=MAX_BETS)
        found = await run_in_threadpool(reports.bets, minute_us, given.get("market_id"))
        after = given.get("after", "")
        rest = [bet for bet in found if bet.bet_id > after]
        shown = [
            ReportedBet(bet_id=bet.bet_id, market_id=bet.market_id, version=bet.version, digest=bet.digest)
            for bet in rest[:limit]
        ]
        following = shown[-1].bet_id if len(rest) > limit else None
        return _json(ReportedBets(minute=from_us(minute_us), bets=shown, next=following))

    async def missing(request: Request) -> Response:
        """Note what the exchange is to publish again."""
        wanted = _read_missing(await body_of(request))
        spans = [(one.market_id, to_us(one.minute)) for one in wanted.spans]
        await run_in_threadpool(requests.ask, spans, wanted.bets)
        return _json({"spans": len(wanted.spans), "bets": len(wanted.bets)}, status=202)

    return [
        Route("/report", report),
        Route("/report/bets", bets),
        Route("/missing", missing, methods=["POST"]),
    ]


def _read_missing(body: bytes) -> Missing:
    try:
        wanted = _missing.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody(
            f'{error}; allowed is {{"spans": [{{"market_id", "minute"}}], "bets": [bet_id]}}, up to 1000 of each'
        ) from None
    for one in wanted.spans:
        if one.minute.second or one.minute.microsecond:
            raise BadBody(f"minute {one.minute.isoformat()} is no whole minute")
    return wanted


def _after(text: str | None) -> tuple[int, str]:
    minute, slash, market_id = (text or "0/").partition("/")
    if slash and minute.isascii() and minute.isdigit() and len(minute) <= 18:
        return int(minute), market_id
    raise BadParameter(f"after {(text or '')[:40]!r} is not possible; allowed is what `next` said")


def _minute(one: MinuteSum) -> MarketMinute:
    return MarketMinute(
        market_id=one.market_id,
        minute=from_us(one.minute_us),
        executions=one.executions,
        stake=Decimal(one.stake_thousandths) / 1000,
        bet_versions=one.bet_versions,
        versions=one.versions,
        matched_minor=one.matched_minor,
        remaining_minor=one.remaining_minor,
        profit_minor=one.profit_minor,
    )


def _instant(us: int | None) -> datetime | None:
    return from_us(us) if us is not None else None


def _json(content: object, *, status: int = 200) -> Response:
    return Response(
        _encoder.encode(content), status, media_type="application/json", headers={"Cache-Control": "no-store"}
    )
