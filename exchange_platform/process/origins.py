"""Keeps other sites' pages out of servers that ask for no password: by the Host, Origin and Sec-Fetch-Site of
each request.

A browser sends requests for any page that its user opens, to this machine's ports too. Three ways in are
shut: a page's own requests (Origin; WHATWG Fetch), images, forms and frames, which send no Origin
(Sec-Fetch-Site; W3C Fetch Metadata), and names that are made to point here, so that a page counts as this
server's own (DNS rebinding: Host). Programs that are no browser send none of these but Host.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
_READS = ("GET", "HEAD")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of where it comes from. `hosts` are all of its Host headers; the others are None
    where they are missing.
    """

    method: str
    hosts: tuple[str, ...]
    origin: str | None = None
    fetch_site: str | None = None
    fetch_mode: str | None = None
    fetch_dest: str | None = None

    @classmethod
    def of(cls, method: str, headers: Iterable[tuple[str, str]]) -> Asked:
        """Read it from the headers, whose names are in lower case. Of one that is given twice, both count as
        one that nothing equals.
        """
        given: dict[str, list[str]] = {}
        for name, value in headers:
            given.setdefault(name, []).append(value)

        def one(name: str) -> str | None:
            values = given.get(name)
            return None if values is None else ", ".join(values)

        return cls(
            method,
            tuple(given.get("host", ())),
            one("origin"),
            one("sec-fetch-site"),
            one("sec-fetch-mode"),
            one("sec-fetch-dest"),
        )

    @property
    def _follows_a_link(self) -> bool:
        """Whether somebody opened an address, by a link on another page too: then no page reads the answer,
        or sends anything.
        """
        return self.method in _READS and (self.fetch_mode, self.fetch_dest) == ("navigate", "document")


def allowed_names(*texts: str | None) -> frozenset[str]:
    """Return the names of this machine itself, and those in these texts: names separated by commas,
    or URLs.
    """
    names = set(LOOPBACK_NAMES)
    for text in texts:
        for part in (text or "").split(","):
            name = _name(urlsplit(part.strip()).netloc if "://" in part else part.strip())
            if name:
                names.add(name)
    return frozenset(names)


def unknown_host(hosts: Sequence[str], allowed: frozenset[str] | None) -> str | None:
    """Why a request with these Host headers is refused; None if it may go on. Without `allowed` any one name
    will do.
    """
    if len(hosts) != 1:
        return "a request names one Host"
    if allowed is not None and _name(hosts[0]) not in allowed:
        return (
            f"this server is not called {_shown(hosts[0])}; EXCHANGE_PLATFORM_ALLOWED_HOSTS may name others"
        )
    return None


def refusal(asked: Asked, allowed: frozenset[str] | None) -> str | None:
    """Why the request is refused; None if it may go on. Without `allowed` the server is called by whatever
    name leads to it.
    """
    if why := unknown_host(asked.hosts, allowed):
        return why
    host = asked.hosts[0]
    if asked.origin is not None and not _is_same(asked.origin, host):
        return f"the request comes from a page of {_shown(asked.origin)}"
    if asked.fetch_site in (None, "same-origin", "none") or asked._follows_a_link:
        return None
    return "the request comes from a page of another site"


class OriginGuard:
    """An ASGI application before another: refuses with 403 what `refusal` finds, requests and websockets
    alike.
    """

    def __init__(
        self,
        app: App,
        *,
        allowed: frozenset[str] | None,
        also: Callable[[Scope], str | None] = lambda _: None,
    ) -> None:
        self._app = app
        self._allowed = allowed
        self._also = also

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the other application do so."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        asked = Asked.of(scope.get("method", "GET"), headers)
        why = refusal(asked, self._allowed) or self._also(scope)
        if why is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": why[:120]})
        else:
            await _forbid(send, why)


async def _forbid(send: Send, why: str) -> None:
    body = f"refused: {why}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _name(host: str) -> str:
    """The name in `name:port`, in lower case; an IPv6 address keeps its brackets."""
    name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")


def _is_same(origin: str, host: str) -> bool:
    """Whether the origin is that of this host; its scheme is not known here, as TLS may end before us."""
    try:
        parsed = urlsplit(origin)
    except ValueError:
        return False
    default = _DEFAULT_PORTS.get(parsed.scheme)
    if default is None or not parsed.netloc:
        return False
    return _with_port(parsed.netloc, default) == _with_port(host, default)


def _with_port(netloc: str, default: str) -> str:
    name = _name(netloc)
    port = (
        netloc[netloc.rfind("]") + 1 :].partition(":")[2]
        if netloc.startswith("[")
        else netloc.partition(":")[2]
    )
    return f"{name}:{port or default}"


def _shown(text: str) -> str:
    return repr(text[:100])
