"""Asking the exchange for a bet by its id. Not here: which bets are asked for, and what follows (reconciliation.py)."""

from __future__ import annotations

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
    """The exchange over HTTP: `GET {exchange_url}/bets/{bet_id}`."""

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
