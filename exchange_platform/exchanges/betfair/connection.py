"""One connection to Betfair's stream: TLS, authentication, subscription, lines. Not here: what to do when it
ends (live.py), what lines say.

The protocol is betfairlightweight's; its socket is replaced by one that checks the server's certificate, and
nothing that it sends is logged, since that holds secrets. Source: Betfair developer documentation, "Exchange
Stream API".
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from betfairlightweight.exceptions import ListenerError, SocketError
from betfairlightweight.streaming.betfairstream import BetfairStream
from betfairlightweight.streaming.listener import BaseListener

from exchange_platform.process.decoders import json_decoder

CONNECT_TIMEOUT_S = 15.0
MAX_LINE_BYTES = 32 * 1024 * 1024
MAX_LINE_S = MAX_GREETING_S = 60.0
"""An image of many markets in one line has some megabytes; a subscription may have it in segments."""
_BUFFER_BYTES = 65_536
_CRLF = "\r\n"


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """What a line says besides markets: acknowledgements, tokens for resumption, heartbeats, whether data is
    reliable.
    """

    op: str
    ct: str | None = None
    """SUB_IMAGE, RESUB_DELTA, HEARTBEAT; absent for an update."""
    clk: str | None = None
    initial_clk: str | None = None
    heartbeat_ms: int | None = None
    segment_type: str | None = None
    status: int | str | None = None
    """503: the data is unreliable for now."""
    status_code: str | None = None
    error_code: str | None = None
    error_message: str | None = None

    @property
    def may_resume_here(self) -> bool:
        """Whether all up to this line is complete: of a message in segments only the last is."""
        return self.segment_type in (None, "SEG_END")


_decoder = json_decoder(Envelope)


def decode_envelope(line: bytes) -> Envelope:
    """Raises `msgspec.MsgspecError` for what is no message."""
    return _decoder.decode(line)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the stream is, and whom to trust there."""

    host: str
    port: int
    context: ssl.SSLContext


class ConnectionEnded(Exception):
    """The connection is over: make another. The message says why."""


class Connection:
    """A connection that is used once. `on_line` is called for every line, in the thread that calls `run`;
    what it raises ends `run`.
    """

    def __init__(
        self, endpoint: Endpoint, *, app_key: str, session_token: str, on_line: Callable[[bytes], None]
    ) -> None:
        self._stream = _Stream(endpoint, _Listener(on_line), app_key, session_token)

    def run(self, subscription: dict[str, Any]) -> None:
        """Connect, authenticate, subscribe, and hand on lines until `close`. Raises `ConnectionEnded` for
        every other end.

        `subscription` are the arguments of betfairlightweight's `subscribe_to_markets`.
        """
        try:
            self._stream.subscribe_to_markets(**subscription)
            self._stream.start()
        except (SocketError, ListenerError, OSError) as error:
            silent = isinstance(error.__context__, TimeoutError) or isinstance(error, TimeoutError)
            said = f"silent for {self._stream.timeout:g} s" if silent else str(error).rpartition("]: ")[2]
            raise ConnectionEnded(said) from error
        finally:
            self._stream.let_go()

    def expect_within(self, seconds: float) -> None:
        """From now on a longer silence ends the connection."""
        self._stream.timeout = seconds

    def subscribed(self) -> None:
        """Let the connection last: it brings what was asked for. One of which this is not said ends after
        `MAX_GREETING_S`.
        """
        self._stream.greeted_until_s = None

    def close(self) -> None:
        """End it, from any thread; `run` returns."""
        self._stream.stop()


class _Listener(BaseListener):  # type: ignore[misc]
    """Hands on lines; keeps no caches of its own."""

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        super().__init__(max_latency=None)
        self._on_line = on_line

    def register_stream(self, unique_id: int, operation: str) -> None:  # noqa: ARG002
        self.stream_unique_id = unique_id

    def update_unique_id(self, unique_id: int) -> None:
        self.stream_unique_id = unique_id

    def on_data(self, raw_data: str | None) -> None:
        for line in (raw_data or "").split(_CRLF):
            if line:
                self._on_line(line.encode())


class _Stream(BetfairStream):  # type: ignore[misc]
    _socket: ssl.SSLSocket | None
    _running: bool

    def __init__(self, endpoint: Endpoint, listener: _Listener, app_key: str, session_token: str) -> None:
        super().__init__(0, listener, app_key, session_token, CONNECT_TIMEOUT_S, _BUFFER_BYTES, None)
        self.host = endpoint.host
        self.greeted_until_s: float | None = None
        """Until when (monotonic) it must bring what was asked for; None: it has."""
        self._endpoint = endpoint
        self._received = bytearray()

    def _create_socket(self) -> ssl.SSLSocket:
        endpoint = self._endpoint
        self.greeted_until_s = time.monotonic() + MAX_GREETING_S
        self._received.clear()
        plain = socket.create_connection((endpoint.host, endpoint.port), timeout=self.timeout)
        try:
            return endpoint.context.wrap_socket(plain, server_hostname=endpoint.host)
        except BaseException:
            plain.close()
            raise

    def stop(self) -> None:
        """End, from any thread; the thread that reads closes the socket."""
        self._running = False
        current = self._socket
        if current is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(current, socket.SHUT_RDWR)

    def let_go(self) -> None:
        """Close the socket, in the thread that reads."""
        self.stop()
        current, self._socket = self._socket, None
        if current is not None:
            with contextlib.suppress(OSError):
                current.close()

    def _receive_all(self) -> str | None:
        """The next lines, whole ones. Raises `SocketError` for a line that is too long or takes too long, and
        for a long silence.
        """
        began_s = time.monotonic()
        searched = 0
        while self._running:
            end = self._received.rfind(_CRLF.encode(), max(searched - 1, 0))
            if end >= 0:
                lines = bytes(self._received[: end + len(_CRLF)])
                del self._received[: end + len(_CRLF)]
                return lines.decode()
            searched = len(self._received)
            if searched > MAX_LINE_BYTES:
                raise SocketError(f"a line of more than {MAX_LINE_BYTES:,} bytes")
            if searched == 0:
                began_s = time.monotonic()
            self._receive(began_s + MAX_LINE_S)
        return None

    def _receive(self, line_until_s: float) -> None:
        current = self._socket
        until_s = min(line_until_s, self.greeted_until_s or line_until_s)
        left_s = until_s - time.monotonic()
        if current is None:
            return
        part: bytes | None = None
        try:
            if left_s > 0:
                current.settimeout(min(self.timeout, left_s))
                part = current.recv(self.buffer_size)
        except OSError as error:
            if not self._running:
                return
            if not isinstance(error, TimeoutError) or left_s > self.timeout:
                raise SocketError(f"reading failed: {error}") from error
        if part is None:
            raise SocketError("a line, or the answer to the subscription, took too long")
        if not part and self._running:
            raise SocketError("closed by the server")
        self._received += part

    def _send(self, message: dict[str, Any]) -> None:
        if not self._running:
            self._connect()
            self.authenticate()
        told = {name: value for name, value in message.items() if value is not None}
        current = self._socket
        if current is None:
            raise SocketError("ended before anything was sent")
        try:
            current.sendall(f"{json.dumps(told)}{_CRLF}".encode())
        except OSError as error:
            self.stop()
            raise SocketError(f"sending failed: {error}") from error
