"""How often one address may search without a token. Not here: the buckets (buckets.py), whose call it is (clients.py)."""

from __future__ import annotations

import math

from fastapi import Request

from exchange_platform.api.applications import is_application
from exchange_platform.api.clients import Client
from exchange_platform.api.parts import PartsOfApp
from exchange_platform.api.problems import Problem


async def bounded(request: Request, parts: PartsOfApp, client: Client) -> None:
    """A route's dependency: refuses with 429 an address that calls more often than allowed. Applications with their token are let through."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    known = parts.settings.api_tokens
    if kind.lower() == "bearer" and known is not None and is_application(token, known.get_secret_value()):
        return
    wait_s = parts.searches.take(client)
    if wait_s:
        raise Problem(
            429,
            "too_many_requests",
            f"more than {parts.settings.searches_per_s:g} searches a second from this address",
            headers={"Retry-After": str(math.ceil(wait_s))},
        )
