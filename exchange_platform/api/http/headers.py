"""What every response carries, and how large a request may be. Not here: what it says."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exchange_platform.api.http.problems import Problem, answer
from exchange_platform.process.origins import unknown_host

MAX_BODY_BYTES = 64 * 1024

_ALWAYS = {
    # Pages are this origin's alone: no script, style, picture or frame of anybody else's, nothing inline.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


_HEADERS = [
    (name.lower().encode(), value.encode())
    for name, value in {**_ALWAYS, "Cache-Control": "no-store"}.items()
]

_ONLY_TLS = (b"strict-transport-security", b"max-age=31536000")

STREAM_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
"""Of an answer that goes on for ever: proxies that compress or gather it would hold its messages back."""


class Headers:
    """Adds the headers that every response carries; answers of routes are not stored unless the route says
    otherwise.

    `over_tls`: users reach the API by https, and their browsers are to use nothing else for a year (RFC
    6797).
    """

    def __init__(self, app: ASGIApp, *, over_tls: bool) -> None:
        self._app = app
        self._headers = [*_HEADERS, _ONLY_TLS] if over_tls else _HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and complete the response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = list(message["headers"])
                given = {name.lower() for name, _ in headers}
                headers.extend(header for header in self._headers if header[0] not in given)
            await send(message)

        await self._app(scope, receive, complete)


class KnownHosts:
    """Refuses requests that call this server by another name, with 421: else a page whose name is made to
    point here would read it.

    `/health` answers whoever asks: a load balancer asks by address, and nothing is to be learnt there.
    """

    def __init__(self, app: ASGIApp, *, allowed: frozenset[str]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] == "http" and scope["path"] != "/health":
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if why := unknown_host(hosts, self._allowed):
                await answer(Problem(421, "unknown_host", why))(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _TooLarge(Exception):
    """The body is longer than allowed."""


class MostBody:
    """Refuses bodies of more than `MAX_BODY_BYTES`, announced or not, with 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        began = False
        received = 0

        async def count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise _TooLarge
            return message

        async def note(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        if not announced.isdigit() or len(announced) > 18 or int(announced) > MAX_BODY_BYTES:
            await _refuse(scope, receive, send)
            return
        try:
            await self._app(scope, count, note)
        except _TooLarge:
            if not began:
                await _refuse(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    refusal = answer(Problem(413, "too_large", f"a request's body may have {MAX_BODY_BYTES} bytes at most"))
    await refusal(scope, receive, send)
