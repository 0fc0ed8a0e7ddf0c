"""Bounds of one call over sockets: until when it must be done, and how many bytes may come. For peers that
may do anything. What calls are is said elsewhere.

Libraries give each single `recv` its time-out, so a peer that drips bytes holds a caller for ever, and they
collect an answer of any length. The bounds belong to a thread while it makes a call; httpx (bounded_http.py),
and what is built on urllib3, do all of a call's input and output in the caller's thread.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_READ_BYTES = 65_536
MAX_BYTES = 64 * 1024 * 1024
"""Kinesis answers with 10 MB of records at most (GetRecords), in base64; DynamoDB and a search engine's pages
are smaller.
"""


class TooManyBytes(Exception):
    """The answer is longer than allowed, or compressed, so that its length is not known. Asking again brings
    the same.
    """


class _Bounds(threading.local):
    until_s: float | None = None
    room: int | None = None


_bounds = _Bounds()


@contextmanager
def bounded_call(*, until_s: float | None, max_bytes: int | None = None) -> Iterator[None]:
    """What this thread does inside ends by `until_s` (monotonic) and receives at most so many bytes; None is
    no bound.
    """
    before = _bounds.until_s, _bounds.room
    _bounds.until_s, _bounds.room = until_s, max_bytes
    try:
        yield
    finally:
        _bounds.until_s, _bounds.room = before


def left_s(timeout_s: float | None, error: type[Exception] = TimeoutError) -> float | None:
    """How long the next step may take: its own time-out, and no longer than the call has left. Raises `error`
    where that is nothing.
    """
    if _bounds.until_s is None:
        return timeout_s
    left = _bounds.until_s - time.monotonic()
    if left <= 0:
        raise error("the answer took longer than it may in all")
    return left if timeout_s is None else min(timeout_s, left)


def _received(count: int) -> None:
    if _bounds.room is None:
        return
    _bounds.room -= count
    if _bounds.room < 0:
        raise TooManyBytes("the answer has more bytes than allowed")


class BoundedSocket:
    """A connected socket, or one of TLS, on which no call goes past its bounds. Everything else is the
    socket's own.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._timeout_s: float | None = sock.gettimeout()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, seconds: float | None) -> None:
        """Give each single step so long."""
        self._timeout_s = seconds
        self._sock.settimeout(seconds)

    def recv(self, *args: Any) -> bytes:
        """As a socket's."""
        self._sock.settimeout(left_s(self._timeout_s))
        data: bytes = self._sock.recv(*args)
        _received(len(data))
        return data

    def recv_into(self, *args: Any) -> int:
        """As a socket's."""
        self._sock.settimeout(left_s(self._timeout_s))
        count: int = self._sock.recv_into(*args)
        _received(count)
        return count

    def sendall(self, data: Any, *args: Any) -> None:
        """As a socket's, but that the time-out is of all of it."""
        with memoryview(data) as view, view.cast("B") as left:
            sent = 0
            while sent < len(left):
                self._sock.settimeout(left_s(self._timeout_s))
                sent += self._sock.send(left[sent:], *args)

    def makefile(self, mode: str = "rb", buffering: int = -1) -> Any:
        """A file that reads what comes; http.client wants no other."""
        if mode != "rb":
            raise ValueError(f"a bounded socket is read in mode rb, not {mode}")
        raw = socket.SocketIO(self, "r")  # type: ignore[arg-type]  # it needs recv_into, fileno and _decref_socketios
        self._sock._io_refs += 1  # the socket closes once its files have
        return raw if buffering == 0 else io.BufferedReader(raw)


@cache
def bounded_connections(connection: type[Any], *, plain: bool = False) -> type[Any]:
    """A connection class of urllib3's kind, whose sockets are bounded. A `plain` one takes no compressed
    answer, whose length nobody knows.
    """

    class Bounded(connection):  # type: ignore[misc]
        sock: Any
        _response_options: Any

        def connect(self) -> None:
            super().connect()
            self.sock = BoundedSocket(self.sock)

        def getresponse(self) -> Any:
            options = self._response_options
            if not plain:
                return super().getresponse()
            self._response_options = options._replace(preload_content=False)
            response = super().getresponse()
            if response.headers.get("content-encoding", "identity") != "identity":
                self.close()
                raise TooManyBytes("the answer is compressed, which was not asked for")
            if (
                options.preload_content
            ):  # bit by bit: `read` reserves memory for whatever length the peer names
                response._body = b"".join(response.stream(_READ_BYTES, decode_content=False))
            return response

    Bounded.__name__ = f"Bounded{connection.__name__}"
    return Bounded


@cache
def bounded_pools(pool: type[Any], *, plain: bool = False) -> type[Any]:
    """A pool class of urllib3's kind, of such connections."""
    connections = bounded_connections(pool.ConnectionCls, plain=plain)
    return type(f"Bounded{pool.__name__}", (pool,), {"ConnectionCls": connections})
