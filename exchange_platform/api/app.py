"""The application: its routes, its errors, its headers, put together. Not here: serving it (__main__.py), the
routes themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from exchange_platform.api.access.anonymous import AnonymousRates
from exchange_platform.api.board import board
from exchange_platform.api.http import problems, refusals
from exchange_platform.api.http.headers import Headers, KnownHosts, MostBody
from exchange_platform.api.pages import confirmation as confirmation_pages
from exchange_platform.api.pages import documentation, static_files
from exchange_platform.api.pages import preferences as preference_pages
from exchange_platform.api.rendering import pages
from exchange_platform.api.routes import accounts, bets, changes, events, health, live, wallet, windows
from exchange_platform.api.services import Services
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings

# A request is tried against them in this order: first what is asked for most often, at each keystroke and for
# each bet.
ROUTERS = (
    events.searches,
    events.router,
    bets.router,
    live.router,
    windows.router,
    wallet.router,
    changes.router,
    accounts.router,
    board.router,
    static_files.router,
    pages.router,
    confirmation_pages.router,
    preference_pages.router,
    health.router,
    documentation.router,
)

_DESCRIPTION = """Accounts, bets and events of the exchange.

Applications send `Authorization: Bearer <token>`. A token has scopes (read, bet, money, operate) and accounts that it may act for; any other account is answered as one that does not exist. Every error is a problem document (RFC 9457) whose `code` is stable.
Amounts are integers in minor units (pence) with a currency; odds are decimal, as text; instants are RFC 3339 in UTC."""


def create_app(
    settings: Settings, *, clock: Clock = SYSTEM_CLOCK, hosts: frozenset[str] | None = None
) -> FastAPI:
    """Put the API together. Nothing is opened before it starts; what was opened is closed when it ends.

    With `hosts` it answers only when it is called by one of these names.
    """
    services = Services(settings, clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        services.prepare()
        yield
        services.close()

    app = FastAPI(
        title="Exchange Platform",
        version=version("exchange-platform"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to whatever host the request names
    )
    app.state.services = services
    problems.install(app)
    refusals.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(MostBody)
    app.add_middleware(AnonymousRates, services=services)
    if hosts is not None:
        app.add_middleware(KnownHosts, allowed=hosts)
    app.add_middleware(Headers, over_tls=settings.public_base_url.startswith("https://"))
    return app
