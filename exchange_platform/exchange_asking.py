"""The exchange over HTTP: bets by their ids, and what the platform has committed. Which bets are asked for, and what follows, lives in reconciliation.py."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from exchange_platform.records import BetUpdate, UndecodableRecord, decode

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 3.0


class ExchangeUnavailable(Exception):
    """The exchange can't be asked now: ask again later. Nothing is known of the bet."""


class AsksExchange(Protocol):
    """Whoever can say what the exchange made of a bet."""

    def bet(self, bet_id: str) -> BetUpdate | None:
        """The exchange's newest state of the bet; None: it has not taken it. Raises `ExchangeUnavailable`."""
        ...


class ExchangeClient:
    """The exchange at `exchange_url` (docs/exchange.md)."""

    def __init__(self, exchange_url: str) -> None:
        import httpx  # where bets are asked for only: it brings megabytes that long runs do without

        self._failures = httpx.HTTPError
        self._client = httpx.Client(base_url=exchange_url.rstrip("/"), timeout=_TIMEOUT_S, trust_env=False)

    def bet(self, bet_id: str) -> BetUpdate | None:
        """The exchange's newest state of the bet; None: it says that it has not taken it. Raises `ExchangeUnavailable`."""
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
        """Report up to where every sink has committed each shard: the exchange may forget it. Raises `ExchangeUnavailable`.

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

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _code(answer: httpx.Response) -> Any:
    """The problem's code: a 404 of anything but the exchange says nothing of the bet."""
    try:
        content = answer.json()
    except ValueError:
        return None
    return content.get("code") if isinstance(content, dict) else None
