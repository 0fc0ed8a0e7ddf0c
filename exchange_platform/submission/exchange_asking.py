"""The exchange over HTTP: bets by their ids, and what the platform has committed. Which bets are asked for,
and what follows, lives in reconciliation.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from exchange_platform.domain.exchange_reports import (
    Missing,
    MissingSpan,
    ReportedBet,
    ReportedBets,
    ReportedSpan,
)
from exchange_platform.domain.records import BetUpdate, UndecodableRecord, decode
from exchange_platform.process.decoders import json_decoder
from exchange_platform.process.errors import Unavailable
from exchange_platform.settings import Settings

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 3.0
_REPORT_TIMEOUT_S = 30.0
_PAGE = 5000
_MISSING_AT_ONCE = 1000
_span, _bets = json_decoder(ReportedSpan), json_decoder(ReportedBets)
_Form = TypeVar("_Form")
_MAX_ENTRIES = 1_000_000
"""Of a report in all: an exchange that has always one more page is not followed for ever."""


class ExchangeUnavailable(Unavailable):
    """The exchange can't be asked now: ask again later. Nothing is known of the bet."""


class AsksExchange(Protocol):
    """Whoever can say what the exchange made of a bet."""

    def bet(self, bet_id: str) -> BetUpdate | None:
        """The exchange's newest state of the bet; None: it has not taken it. Raises `ExchangeUnavailable`."""
        ...


class ReportsExchange(Protocol):
    """Whoever can say what the exchange did, and publish it again."""

    def report(self, since: datetime, until: datetime) -> ReportedSpan | None:
        """All market minutes in `[since, until)`, on one page; None: the exchange gives no report. Raises
        `ExchangeUnavailable`.
        """
        ...

    def report_bets(self, minute: datetime, market_id: str | None = None) -> list[ReportedBet] | None:
        """The bets that changed in that minute; None: they are no longer listed. Raises
        `ExchangeUnavailable`.
        """
        ...

    def request_missing(self, spans: Sequence[MissingSpan], bets: Sequence[str] = ()) -> None:
        """Ask for records to be published again. Raises `ExchangeUnavailable`."""
        ...


class ExchangeLookup:
    """The exchange at `exchange_url` (docs/exchange.md)."""

    def __init__(self, exchange_url: str, keys: tuple[str, ...] = ()) -> None:
        """`keys`: the first signs requests, answers are believed that one of them signed. Raises
        `ExchangeUnavailable` where they are missing.
        """
        # Where bets are asked for only: it brings megabytes that long runs do without.
        from exchange_platform.process.lean_httpx import httpx
        from exchange_platform.process.signed_http import ExchangeAccess

        self._failures = httpx.HTTPError
        access = ExchangeAccess(exchange_url, keys)
        if why := access.why_not_believed:
            raise ExchangeUnavailable(why)
        self._client = access.client(max_s=_TIMEOUT_S)

    def bet(self, bet_id: str) -> BetUpdate | None:
        """The exchange's newest state of the bet; None: it says that it has not taken it. Raises
        `ExchangeUnavailable`.
        """
        try:
            answer = self._client.get(f"/bets/{quote(bet_id, safe='')}")
        except self._failures as error:
            raise ExchangeUnavailable(f"the exchange does not answer: {error}") from error
        if answer.status_code == HTTPStatus.NOT_FOUND and _code(answer) == "unknown_bet":
            return None
        if answer.status_code != HTTPStatus.OK:
            raise ExchangeUnavailable(f"the exchange answers {answer.status_code} for bet {bet_id}")
        try:
            update = decode(answer.content)
        except UndecodableRecord as error:
            raise ExchangeUnavailable(f"the exchange's answer for bet {bet_id} is no bet: {error}") from error
        if not isinstance(update, BetUpdate) or update.bet_id != bet_id:
            raise ExchangeUnavailable(f"the exchange's answer for bet {bet_id} is of something else")
        return update

    def acknowledge(self, positions: Mapping[str, str]) -> bool:
        """Report up to where every sink has committed each shard: the exchange may forget it. Raises
        `ExchangeUnavailable`.

        Whether the exchange takes such reports: one that keeps its records by other rules need not.
        """
        try:
            answer = self._client.post("/acknowledged", json={"positions": dict(positions)})
        except self._failures as error:
            raise ExchangeUnavailable(f"the exchange does not answer: {error}") from error
        if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            return False
        if answer.status_code != HTTPStatus.OK:
            raise ExchangeUnavailable(f"the exchange answers {answer.status_code} to what is committed")
        return True

    def report(self, since: datetime, until: datetime) -> ReportedSpan | None:
        """As `ReportsExchange.report`."""
        query = {"from": _minute(since), "until": _minute(until), "limit": str(_PAGE)}
        first: ReportedSpan | None = None
        while True:
            answer = self._get("/report", query, _span)
            if answer is None:
                return None
            if first is None:
                first = answer
            else:
                first.minutes.extend(answer.minutes)
            if answer.next is None:
                return msgspec.structs.replace(first, next=None)
            _check_length(first.minutes)
            query["after"] = answer.next

    def report_bets(self, minute: datetime, market_id: str | None = None) -> list[ReportedBet] | None:
        """As `ReportsExchange.report_bets`."""
        query = {"minute": _minute(minute), "limit": str(_PAGE)}
        if market_id is not None:
            query["market_id"] = market_id
        found: list[ReportedBet] = []
        while True:
            answer = self._get("/report/bets", query, _bets)
            if answer is None:
                return None
            found.extend(answer.bets)
            if answer.next is None:
                return found
            _check_length(found)
            query["after"] = answer.next

    def request_missing(self, spans: Sequence[MissingSpan], bets: Sequence[str] = ()) -> None:
        """As `ReportsExchange.request_missing`."""
        for start in range(0, max(len(spans), len(bets)), _MISSING_AT_ONCE):
            end = start + _MISSING_AT_ONCE
            body = msgspec.json.encode(Missing(spans=list(spans[start:end]), bets=list(bets[start:end])))
            try:
                answer = self._client.post("/missing", content=body, timeout=_REPORT_TIMEOUT_S)
            except self._failures as error:
                raise ExchangeUnavailable(f"the exchange does not answer: {error}") from error
            if answer.status_code != HTTPStatus.ACCEPTED:
                raise ExchangeUnavailable(
                    f"the exchange answers {answer.status_code} to what is missing: {answer.text[:200]}"
                )

    def _get(self, path: str, query: Mapping[str, str], form: msgspec.json.Decoder[_Form]) -> _Form | None:
        """One page; None where the exchange has no such call, or does not hold what is asked for."""
        try:
            answer = self._client.get(path, params=dict(query), timeout=_REPORT_TIMEOUT_S)
        except self._failures as error:
            raise ExchangeUnavailable(f"the exchange does not answer: {error}") from error
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        if answer.status_code != HTTPStatus.OK:
            raise ExchangeUnavailable(f"the exchange answers {answer.status_code} for {path}")
        try:
            return form.decode(answer.content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ExchangeUnavailable(f"the exchange's answer for {path} is no report: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def exchange_of(settings: Settings) -> ExchangeLookup:
    """The exchange that the settings name. Raises `ExchangeUnavailable` where they name none."""
    if settings.exchange_url is None:
        raise ExchangeUnavailable(
            "nobody can be asked: where the exchange answers is not configured (EXCHANGE_URL)"
        )
    return ExchangeLookup(settings.exchange_url, settings.exchange_keys)


def _check_length(entries: Sequence[object]) -> None:
    if len(entries) > _MAX_ENTRIES:
        raise ExchangeUnavailable(f"the exchange's report has more than {_MAX_ENTRIES:,} entries")


def _minute(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:00Z")


def _code(answer: httpx.Response) -> Any:
    """The problem's code: a 404 of anything but the exchange says nothing of the bet."""
    try:
        content = answer.json()
    except ValueError:
        return None
    return content.get("code") if isinstance(content, dict) else None
