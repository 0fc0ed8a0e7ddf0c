"""Whose call it is, as far as limits go: the network address of the caller. Not here: the limits
(confirmation/service.py).
"""

from __future__ import annotations

import ipaddress
from typing import Annotated

from fastapi import Depends, Request

from exchange_platform.api.services import AppState

_IPV6_HOME = 64
"""A home or a site has a whole /64 of IPv6 addresses to call from."""


def client_address(peer: str | None, forwarded_for: list[str], trusted_proxies: int) -> str:
    """The caller's address, or the network that is one caller's.

    `peer` is who the connection is from, `forwarded_for` the X-Forwarded-For headers. Each of the proxies
    that are trusted has added at the end whom its connection was from; whatever stands before that anybody
    can have written.
    """
    if trusted_proxies:
        hops = [hop.strip() for line in forwarded_for for hop in line.split(",") if hop.strip()]
        if hops:
            return _one_callers(hops[max(0, len(hops) - trusted_proxies)])
    return _one_callers(peer or "")


def _one_callers(text: str) -> str:
    bare = text[1 : text.index("]")] if text.startswith("[") and "]" in text else text
    if bare.count(":") == 1:  # IPv4 with a port
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_HOME), strict=False))
    return str(address)


async def _client(request: Request, services: AppState) -> str:
    return client_address(
        request.client.host if request.client is not None else None,
        request.headers.getlist("x-forwarded-for"),
        services.settings.trusted_proxies,
    )


Client = Annotated[str, Depends(_client)]
