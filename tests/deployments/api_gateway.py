"""API Gateway's part: a request becomes an event of its HTTP APIs, payload format 2.0, and a function's
answer a response. Not here: the function.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def through_gateway(handler: Handler, **headers: str) -> httpx.Client:
    """A client whose requests the function gets, with these headers beside their own."""

    def answer(request: httpx.Request) -> httpx.Response:
        told = handler(event(request), None)
        body = told.get("body") or ""
        content = base64.b64decode(body) if told.get("isBase64Encoded") else body.encode()
        return httpx.Response(told["statusCode"], headers=told.get("headers"), content=content)

    return httpx.Client(
        transport=httpx.MockTransport(answer), base_url="https://api.example", headers=headers
    )


def event(request: httpx.Request) -> dict[str, Any]:
    """The event that a request becomes: text, or base64 of what is none."""
    body, is_text = request.read(), True
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text, is_text = base64.b64encode(body).decode(), False
    path = request.url.path
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.url.query.decode(),
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "requestContext": {
            "http": {"method": request.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7"},
            "stage": "$default",
            "domainName": request.url.host,
        },
        "body": text or None,
        "isBase64Encoded": not is_text,
    }
