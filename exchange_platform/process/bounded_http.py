"""HTTP calls whose peer may do anything: an answer is bounded in bytes and in total time. What an answer
means is the caller's.

httpx gives each single read its time-out, so a server that drips bytes holds a caller for ever, in the
headers too; and it collects a body of any length.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore

from exchange_platform.process.call_bounds import bounded_call, left_s
from exchange_platform.process.lean_httpx import httpx

MAX_BYTES = 16 * 1024 * 1024
"""The longest answer of the API or of an exchange is far below: a page of 1,000 updates has some megabytes.
"""


class AnswerTooLarge(httpx.TransportError):
    """The answer is longer than allowed, or compressed, so that its length is not known. Asking again brings
    the same.
    """


class BoundedTransport(httpx.HTTPTransport):
    """A transport whose answers have at most `max_bytes` and take at most `max_s` from the request to their
    last byte.

    A request's own time-out is its bound in total time. Its extensions `max_bytes` and `max_s` say otherwise;
    None means no bound, for answers that go on for ever. Raises what httpx raises: `AnswerTooLarge`, and a
    `TimeoutException`.
    """

    def __init__(self, *, max_s: float, max_bytes: int = MAX_BYTES, verify: bool = True) -> None:
        super().__init__(verify=False, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False) if verify else None,
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=_Backend(),
        )
        self._max_s = max_s
        self._max_bytes = max_bytes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; the answer's body is read through the bounds."""
        read_s = request.extensions.get("timeout", {}).get("read", self._max_s)
        max_s = request.extensions.get("max_s", read_s)
        max_bytes = request.extensions.get("max_bytes", self._max_bytes)
        until_s = None if max_s is None else time.monotonic() + max_s
        with bounded_call(until_s=until_s):
            response = super().handle_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            response.close()
            raise AnswerTooLarge("the answer is compressed, which was not asked for")
        assert isinstance(response.stream, httpx.SyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Body(response.stream, max_bytes, until_s),
            extensions=response.extensions,
        )


def bounded_client(
    base_url: str = "",
    *,
    max_s: float,
    max_bytes: int = MAX_BYTES,
    verify: bool = True,
    headers: dict[str, str] | None = None,
) -> httpx.Client:
    """A client whose every answer is bounded. It asks for no compression, follows no redirect and reads no
    proxy from the environment.
    """
    return httpx.Client(
        base_url=base_url,
        headers={"Accept-Encoding": "identity", **(headers or {})},
        timeout=max_s,
        trust_env=False,
        transport=BoundedTransport(max_s=max_s, max_bytes=max_bytes, verify=verify),
    )


class _Body(httpx.SyncByteStream):
    """An answer's body, read within its bounds."""

    def __init__(self, stream: httpx.SyncByteStream, max_bytes: int | None, until_s: float | None) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._until_s = until_s

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        chunks = iter(self._stream)
        while True:
            with bounded_call(until_s=self._until_s):
                chunk = next(chunks, None)
            if chunk is None:
                return
            received += len(chunk)
            if self._max_bytes is not None and received > self._max_bytes:
                self.close()
                raise AnswerTooLarge(f"an answer of more than {self._max_bytes:,} bytes")
            yield chunk

    def close(self) -> None:
        self._stream.close()


class _Stream(httpcore.NetworkStream):
    """A connection on which no call goes on past its end."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, left_s(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Opens such connections."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)
