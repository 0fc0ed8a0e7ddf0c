"""Which calls are let in: applications show a bearer token. Not here: what they may do, which is everything; pages need none."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from exchange_platform.api.parts import PartsOfApp
from exchange_platform.api.problems import Problem

_bearer = HTTPBearer(
    auto_error=False, scheme_name="application", description="The token of an application that calls the API."
)


def is_application(token: str, known: str) -> bool:
    """Whether the token is one of the known (separated by commas), in a time that tells nothing of them."""
    shown = hashlib.sha256(token.encode()).digest()
    matches = [
        hmac.compare_digest(shown, hashlib.sha256(one.strip().encode()).digest())
        for one in known.split(",")
        if one.strip()
    ]
    return any(matches)


async def _authenticate(
    parts: PartsOfApp, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    known = parts.settings.api_tokens
    if known is None:
        raise Problem(
            503, "no_tokens", "the API has no tokens configured, so no application can call it (API_TOKENS)"
        )
    if given is None or not is_application(given.credentials, known.get_secret_value()):
        raise Problem(
            401,
            "unauthorized",
            "this call needs an application's bearer token in the Authorization header",
            headers={"WWW-Authenticate": "Bearer"},
        )


Application = Depends(_authenticate)
"""Put it into a router's or a route's `dependencies`: only applications get in."""
