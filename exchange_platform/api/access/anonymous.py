"""Stands before every route: a caller without an application's token is held to the rates of its address. The
rates are in rates.py.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from exchange_platform.api.access.applications import shown_by
from exchange_platform.api.http.problems import answer
from exchange_platform.api.http.rates import rates_of
from exchange_platform.api.services import Services


class AnonymousRates:
    """Refuses with 429 an address that calls more often than allowed without an application's token, whatever
    it calls.

    It stands before every route, so that no route can be without a limit. Applications with their token are
    let through.
    """

    def __init__(self, app: ASGIApp, *, services: Services) -> None:
        self._app = app
        self._parts = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 429."""
        if scope["type"] == "http":
            shown = await shown_by(scope, self._parts)
            if shown.found.grant is None:
                refused = self._parts.rates.take(shown.client, rates_of(scope))
                if refused is not None:
                    await answer(refused.problem())(scope, receive, send)
                    return
        await self._app(scope, receive, send)
