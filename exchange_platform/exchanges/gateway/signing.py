"""The gateway believes signed requests alone, and signs each answer to them. The form of signatures lives in
exchange_signing.py, the answers in app.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.process.exchange_signing import (
    SIGNATURE,
    RequestCheck,
    SignedRequest,
    Unsigned,
    sha256,
    sign_answer,
)

_MAX_BODY = 4 * 1024 * 1024
"""More than the gateway's calls take: what is longer is not kept until its signature is seen."""
_OPEN = "/health"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class SignedExchange:
    """An ASGI application before the gateway's. `/health`, which says nothing of bets, takes any request."""

    def __init__(self, app: App, keys: tuple[str, ...], *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._app = app
        self._keys = keys
        self._check = RequestCheck(keys, lambda: clock.now_us() // 1000)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer 401, or let the gateway answer and sign what it says."""
        if scope["type"] != "http" or scope["path"] == _OPEN:
            await self._app(scope, receive, send)
            return
        try:
            body = await _whole(receive)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            request = self._check.check(headers, scope["method"], _target(scope), body)
        except Unsigned as error:
            await _refuse(send, str(error))
            return
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, _Signing(send, self._keys[0], request))


class _Signing:
    """Holds an answer back until it is whole, then sends it with its signature."""

    def __init__(self, send: Send, key: str, request: SignedRequest) -> None:
        self._send = send
        self._key = key
        self._request = request
        self._start: Message = {}
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = bytes(self._body)
        signature = sign_answer(self._key, self._request, self._start["status"], sha256(body))
        headers = [*self._start.get("headers", ()), (SIGNATURE.encode(), signature.encode())]
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


async def _whole(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Unsigned("the request does not end")
        body += message.get("body", b"")
        if len(body) > _MAX_BODY:
            raise Unsigned(f"a request has at most {_MAX_BODY:,} bytes")
        if not message.get("more_body"):
            return bytes(body)


def _target(scope: MutableMapping[str, Any]) -> str:
    """Path and query as they were sent."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


async def _refuse(send: Send, why: str) -> None:
    content = {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "code": "unsigned",
        "detail": why,
    }
    body = msgspec.json.encode(content)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"www-authenticate", b"Exchange-Signature"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})
