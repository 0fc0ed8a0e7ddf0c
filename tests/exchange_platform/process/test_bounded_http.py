"""HTTP peers without an end: a body, a header block, a line, or a byte now and then. Whoever calls them gives
up in bounded time and memory.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import time
import tracemalloc
from collections.abc import Callable

import pytest

from exchange_platform import client as api_client
from exchange_platform.client import ApiUnavailable, ExchangeClient
from exchange_platform.process.bounded_http import AnswerTooLarge, bounded_client
from exchange_platform.process.lean_httpx import httpx
from exchange_platform.streams.engine.source import SourceUnavailable
from exchange_platform.streams.sources.feed import FeedSource
from exchange_platform.submission.exchange_asking import ExchangeLookup, ExchangeUnavailable
from tests.exchange_platform.mail.test_unbounded_servers import serving

BOUND_S = 0.5
MB = 1024 * 1024
BOMB = gzip.compress(b" " * (64 * MB))
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def _asked(connection: socket.socket) -> None:
    connection.recv(65536)


def endless_body(connection: socket.socket) -> None:
    _asked(connection)
    connection.sendall(OK + b"Content-Length: 99999999999\r\n\r\n[")
    while True:
        connection.sendall(b" " * 65536)


def endless_chunks(connection: socket.socket) -> None:
    _asked(connection)
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")


def endless_headers(connection: socket.socket) -> None:
    _asked(connection)
    connection.sendall(OK)
    while True:
        connection.sendall(b"X-More: " + b"y" * 1000 + b"\r\n")


def dripped_headers(connection: socket.socket) -> None:
    _asked(connection)
    connection.sendall(OK + b"X-Slow: ")
    while True:
        connection.sendall(b"y")
        time.sleep(0.05)


def dripped_body(connection: socket.socket) -> None:
    _asked(connection)
    connection.sendall(OK + b"Content-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


def compressed_bomb(connection: socket.socket) -> None:
    _asked(connection)
    head = f"Content-Encoding: gzip\r\nContent-Length: {len(BOMB)}\r\n\r\n".encode()
    connection.sendall(OK + head + BOMB)


ENDLESS = [endless_body, endless_chunks, endless_headers, dripped_headers, dripped_body, compressed_bomb]


@pytest.mark.parametrize("talk", ENDLESS)
def test_an_answer_without_an_end_is_left_in_bounded_time_and_memory(
    talk: Callable[[socket.socket], None],
) -> None:
    with serving(talk) as port, bounded_client(max_s=BOUND_S, max_bytes=MB, verify=False) as client:
        tracemalloc.start()
        began = time.monotonic()
        with pytest.raises(httpx.TransportError):
            client.get(f"http://127.0.0.1:{port}/")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert time.monotonic() - began < 20 * BOUND_S
    assert peak < 8 * MB


def test_an_answer_within_its_bounds_is_whole_and_the_connection_is_kept() -> None:
    def polite(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(OK + b"Content-Length: 1048576\r\n\r\n" + b"x" * MB)

    with serving(polite) as port, bounded_client(max_s=10.0, max_bytes=MB, verify=False) as client:
        for _ in range(3):
            assert len(client.get(f"http://127.0.0.1:{port}/").content) == MB


@pytest.mark.parametrize("talk", ENDLESS)
@pytest.mark.long
def test_the_clients_of_the_api_and_of_the_exchange_give_up_on_such_a_peer(
    talk: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_client, "_TRIES", 1)
    with serving(talk) as port:
        url = f"http://127.0.0.1:{port}"
        with ExchangeClient(url, "a-token", timeout_s=BOUND_S) as api, pytest.raises(ApiUnavailable):
            api.bet("b1")
        with contextlib.closing(ExchangeLookup(url)) as exchange, pytest.raises(ExchangeUnavailable):
            exchange.bet("b1")
        feed = FeedSource(url, name="exchange-feed", wait_s=0.0, silent_after_s=BOUND_S)
        with contextlib.closing(feed), pytest.raises(SourceUnavailable):
            feed.shards()


def test_an_answer_that_is_too_large_is_not_asked_for_again() -> None:
    asked = []

    def large(connection: socket.socket) -> None:
        asked.append(1)
        endless_body(connection)

    with (
        serving(large) as port,
        ExchangeClient(f"http://127.0.0.1:{port}", "a-token") as api,
        pytest.raises(ApiUnavailable, match="more than"),
    ):
        api.bet("b1")
    assert len(asked) == 1
    assert issubclass(AnswerTooLarge, httpx.TransportError)


def test_a_line_of_changes_without_an_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless_line(connection: socket.socket) -> None:
        _asked(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: ")
        while True:
            connection.sendall(b"x" * 65536)

    monkeypatch.setattr(api_client, "_TRIES", 1)
    with (
        serving(endless_line) as port,
        ExchangeClient(f"http://127.0.0.1:{port}", "a-token") as api,
        pytest.raises(ApiUnavailable),
    ):
        next(api.changes("a1"))
