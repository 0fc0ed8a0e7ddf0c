"""The Python client of the HTTP API: what an application that bets needs. Not here: the routes (api/), or
betting without HTTP (submission/service.py).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from exchange_platform.domain.bets import Side
from exchange_platform.domain.views import BetView, WalletView
from exchange_platform.process.back_off import BackOff
from exchange_platform.process.bounded_http import AnswerTooLarge, bounded_client
from exchange_platform.process.decoders import converter, json_decoder
from exchange_platform.process.errors import Unavailable
from exchange_platform.process.lean_httpx import httpx
from exchange_platform.process.private_files import API_FILE

__all__ = [
    "ApiError",
    "ApiUnavailable",
    "BetView",
    "Change",
    "ExchangeClient",
    "MissingScope",
    "TokenRefused",
    "WalletView",
    "draw_key",
]

_TRIES = 6
_MAX_LINE_BYTES = 1024 * 1024
_PAUSES = BackOff(first_s=0.1, max_s=1.6)
_TRANSIENT = frozenset({429, 502, 503, 504})


class ApiError(Exception):
    """The API did not do what was asked: `status` and `code` say why for programs, the message for people."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


class TokenRefused(ApiError):
    """401: the token is not known, expired or revoked. Asking again is of no use; an operator makes
    another.
    """


class MissingScope(ApiError):
    """403 `missing_scope`: the token may not do this. `needed` is the scope that it lacks, `scopes` are those
    that it has.
    """

    def __init__(self, status: int, code: str, detail: str, *, needed: str, scopes: list[str]) -> None:
        super().__init__(status, code, detail)
        self.needed = needed
        self.scopes = scopes


class ApiUnavailable(Unavailable):
    """The API could not be reached, or was too busy, for as long as was tried. Asking again with the same id
    is right.
    """


class Change(msgspec.Struct, frozen=True):
    """A change of a bet: `change` is accepted, matched, settled and so on; `bet` is as it was then."""

    change: str
    status_before: str | None
    bet: BetView


_wallet = json_decoder(WalletView)
_bet_view = converter(BetView, strict=False)
_change = json_decoder(Change, strict=False)


class ExchangeClient:
    """Calls the API as an application. Thread-safe, as its connections are. An answer takes at most
    `timeout_s` in all, and 16 MiB.

    What changes something is asked for again, under the same id, while the API is away or busy: it is done
    once. Raises `ApiError` where the API refuses (`TokenRefused` and `MissingScope` where it is the token),
    and `ApiUnavailable` where it can't be reached.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = 10.0) -> None:
        self._http = bounded_client(url, max_s=timeout_s, headers={"Authorization": f"Bearer {token}"})

    @classmethod
    def of_platform(cls, data_dir: Path) -> Self:
        """The client of the platform that runs on this machine, from the `api.json` in its data directory."""
        told = json.loads((data_dir / API_FILE).read_text())
        return cls(told["url"], told["token"])

    def register(self, email: str, display_name: str, currency: str = "GBP") -> str:
        """Register an account; returns its id. Its owner is mailed a link that confirms it."""
        answer = self._call(
            "POST",
            "/accounts",
            json={"email": email, "display_name": display_name, "currency": currency},
            repeatable=False,
        )
        return str(answer.json()["account_id"])

    def account_state(self, account_id: str) -> str:
        """PENDING, CONFIRMED, UNDELIVERABLE or CLOSED."""
        return str(self._call("GET", f"/accounts/{account_id}").json()["state"])

    def deposit(
        self,
        account_id: str,
        amount_minor: int,
        currency: str = "GBP",
        *,
        authorised_by: str,
        request_id: str | None = None,
    ) -> int:
        """Let money in; returns the balance after it."""
        answer = self._call(
            "POST",
            f"/accounts/{account_id}/deposits",
            key=request_id or draw_key(),
            json={"amount_minor": amount_minor, "currency": currency, "authorised_by": authorised_by},
        )
        return int(answer.json()["balance_minor"])

    def wallet(self, account_id: str) -> WalletView:
        """The account's money now."""
        return _wallet.decode(self._call("GET", f"/accounts/{account_id}/wallet").content)

    def profile(self, account_id: str) -> dict[str, Any]:
        """The account's profile from the profile view, which follows the bets within seconds: balance,
        exposure, counts, last bets.
        """
        found: dict[str, Any] = self._call("GET", f"/accounts/{account_id}/profile").json()
        return found

    def place(
        self,
        account_id: str,
        market_id: str,
        selection_id: int,
        side: Side,
        odds: Decimal | None,
        stake_minor: int,
        *,
        currency: str = "GBP",
        handicap: Decimal = Decimal(0),
        submission_id: str | None = None,
    ) -> BetView:
        """Place a bet; without odds a market order. When it returns the bet is recorded for good, and
        `PENDING`.
        """
        answer = self._call(
            "POST",
            "/bets",
            key=submission_id or draw_key(),
            json={
                "account_id": account_id,
                "market_id": market_id,
                "selection_id": selection_id,
                "handicap": str(handicap),
                "side": side.value,
                "odds": None if odds is None else str(odds),
                "currency": currency,
                "stake_minor": stake_minor,
            },
        )
        return _bet_view(answer.json()["bet"])

    def bet(self, bet_id: str) -> BetView:
        """The bet as it is now."""
        return _bet_view(self._call("GET", f"/bets/{bet_id}").json())

    def bets(self, account_id: str, *, page_size: int = 200) -> Iterator[BetView]:
        """All of the account's bets, newest first."""
        after: str | None = None
        while True:
            parameters: dict[str, Any] = {"limit": page_size} | ({"after": after} if after else {})
            page = self._call("GET", f"/accounts/{account_id}/bets", params=parameters).json()
            yield from (_bet_view(one) for one in page["bets"])
            after = page["after"]
            if after is None:
                return

    def cancel(self, bet_id: str, size_minor: int | None = None, *, request_id: str | None = None) -> BetView:
        """Ask for a bet's unmatched remainder, or so much of it, to be taken out; returns the bet as it was
        then.
        """
        parameters = {} if size_minor is None else {"size_minor": size_minor}
        answer = self._call("DELETE", f"/bets/{bet_id}", key=request_id or draw_key(), params=parameters)
        return _bet_view(answer.json()["bet"])

    def replace(self, bet_id: str, odds: Decimal, *, request_id: str | None = None) -> BetView:
        """Ask for a bet's unmatched remainder to be placed at other odds instead; returns the new bet."""
        answer = self._call(
            "PATCH", f"/bets/{bet_id}", key=request_id or draw_key(), json={"odds": str(odds)}
        )
        return _bet_view(answer.json()["bet"])

    def events(self, **parameters: Any) -> dict[str, Any]:
        """Events, as `GET /events` returns them."""
        found: dict[str, Any] = self._call("GET", "/events", params=parameters).json()
        return found

    def event(self, event_id: str) -> dict[str, Any]:
        """An event with its markets and selections, as `GET /events/{id}` returns it."""
        found: dict[str, Any] = self._call("GET", f"/events/{event_id}").json()
        return found

    def changes(self, account_id: str, after: int | None = None) -> Iterator[tuple[int, Change]]:
        """(id, change) of the account's bets as they come, for ever; `after` is the last id that was seen.

        Comes again by itself when the connection breaks, from where it was.
        """
        tries = 0
        while True:
            headers = {} if after is None else {"Last-Event-ID": str(after)}
            try:
                with self._http.stream(
                    "GET",
                    f"/accounts/{account_id}/changes",
                    headers=headers,
                    timeout=httpx.Timeout(10.0, read=40.0),
                    extensions={"max_s": None, "max_bytes": None},  # it goes on for ever
                ) as answer:
                    if not answer.is_success:
                        _raise(httpx.Response(answer.status_code, content=_some(answer)))
                    event_id: int | None = None
                    for line in _lines(answer):
                        tries = 0
                        if line.startswith("id: "):
                            event_id = int(line[4:])
                        elif line.startswith("data: ") and event_id is not None:
                            after = event_id
                            yield event_id, _change.decode(line[6:])
            except (httpx.TransportError, ApiUnavailable) as error:
                tries += 1
                if tries >= _TRIES:
                    raise ApiUnavailable(f"the API can't be reached: {error}") from error
            time.sleep(_PAUSES.pause_s(tries + 1))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self, method: str, path: str, *, key: str | None = None, repeatable: bool = True, **more: Any
    ) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key is not None else {}
        tries = 0
        while True:
            tries += 1
            try:
                answer = self._http.request(method, path, headers=headers, **more)
                if answer.is_success:
                    return answer
                _raise(answer)
            except AnswerTooLarge as error:
                raise ApiUnavailable(f"the API's answer is none: {error}") from error
            except (httpx.TransportError, ApiUnavailable) as error:
                if tries >= _TRIES or not repeatable:
                    raise ApiUnavailable(f"the API can't be reached: {error}") from error
            time.sleep(_PAUSES.pause_s(tries))


def draw_key() -> str:
    """An id that nobody has used."""
    return uuid.uuid4().hex


def _lines(answer: httpx.Response) -> Iterator[str]:
    """The lines of an answer that goes on for ever. Raises `ApiUnavailable` for one without an end."""
    received = b""
    for chunk in answer.iter_bytes():
        *lines, received = (received + chunk).split(b"\n")
        if len(received) > _MAX_LINE_BYTES:
            raise ApiUnavailable(f"a line of more than {_MAX_LINE_BYTES:,} bytes")
        yield from (line.decode("utf-8", "replace").rstrip("\r") for line in lines)


def _some(answer: httpx.Response) -> bytes:
    """The beginning of an answer, as much as an error may have."""
    received = b""
    for chunk in answer.iter_bytes():
        received += chunk
        if len(received) > _MAX_LINE_BYTES:
            break
    return received


def _raise(answer: httpx.Response) -> None:
    problem: Any = None
    try:
        problem = answer.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "http_error", answer.text[:200]
    status = answer.status_code
    if status in _TRANSIENT:
        raise ApiUnavailable(f"{status} {code}: {detail}")
    if status == 401:
        raise TokenRefused(status, code, detail)
    if (status, code) == (403, "missing_scope"):
        needed, scopes = problem.get("needed"), problem.get("scopes")
        has = [str(one) for one in scopes] if isinstance(scopes, list) else []
        raise MissingScope(status, code, detail, needed=str(needed), scopes=has)
    raise ApiError(status, code, detail)
