"""Stands before every route: a caller without an application's token is held to the rates of its address. The rates are in rates.py."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from exchange_platform.api.applications import is_application
from exchange_platform.api.clients import client_address
from exchange_platform.api.problems import answer
from exchange_platform.api.rates import Rates, rates_of
from exchange_platform.settings import Settings


class AnonymousRates:
    """Refuses with 429 an address that calls more often than allowed without an application's token, whatever it calls.

    It stands before every route, so that no route can be without a limit. Applications with their token are let through.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, rates: Callable[[], Rates]) -> None:
        self._app = app
        self._settings = settings
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 429."""
        if scope["type"] == "http" and not self._is_application(scope):
            refused = self._rates().take(self._client(scope), rates_of(scope))
            if refused is not None:
                await answer(refused.problem())(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_application(self, scope: Scope) -> bool:
        shown = Headers(scope=scope).get("authorization")
        known = self._settings.api_tokens
        if shown is None or known is None:
            return False
        kind, _, token = shown.partition(" ")
        return kind.lower() == "bearer" and is_application(token, known.get_secret_value())

    def _client(self, scope: Scope) -> str:
        peer = scope.get("client")
        forwarded_for = Headers(scope=scope).getlist("x-forwarded-for")
        return client_address(peer[0] if peer else None, forwarded_for, self._settings.trusted_proxies)
