"""An event feed over real HTTP, as docs/exchange.md has it, that misbehaves on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from exchange_platform.domain.events import FeedUpdate, encode_update


class FeedServer:
    """A feed whose entries are bytes, spliced into its answers as they are: what is no JSON makes the answer
    none.
    """

    def __init__(self) -> None:
        self.feed_id = "feed-1"
        self.entries: list[tuple[int, bytes]] = []
        self.newest = 0
        self.oldest = 1
        self.ended_from: int | None = 1
        self.requests = 0
        self.instead: Callable[[int], tuple[int, bytes] | None] = lambda after: None
        """What to answer instead, as (status, body), for a request after that cursor."""
        self.silent = threading.Event()
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def append(self, *updates: FeedUpdate | bytes) -> None:
        with self._changed:
            for update in updates:
                self.newest += 1
                data = update if isinstance(update, bytes) else encode_update(update)
                self.entries.append((self.newest, data))
            self._changed.notify_all()

    def restart_as(self, feed_id: str) -> None:
        """Another feed at the same place, empty."""
        with self._changed:
            self.feed_id, self.entries, self.newest = feed_id, [], 0

    def go_back_to(self, newest: int) -> None:
        """As one that was restored from an older copy."""
        with self._changed:
            self.newest = newest
            self.entries = [entry for entry in self.entries if entry[0] <= newest]

    def close(self) -> None:
        self.silent.clear()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, after: int, limit: int, wait_s: float = 0.0) -> tuple[int, bytes]:
        """(status, body) of one request."""
        with self._changed:
            self._changed.wait_for(lambda: self.newest != after, wait_s)
            found = [entry for entry in self.entries if entry[0] > after][:limit]
            updates = b",".join(b'{"cursor":%d,"update":%s}' % entry for entry in found)
            return 200, b'{"feed_id":"%s","oldest":%d,%s"newest":%d,"updates":[%s]}' % (
                self.feed_id.encode(),
                self.oldest,
                b"" if self.ended_from is None else b'"ended_from":%d,' % self.ended_from,
                self.newest,
                updates,
            )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet

            def do_GET(self) -> None:
                server.requests += 1
                asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                if server.silent.is_set():
                    with server._changed:
                        server._changed.wait_for(lambda: not server.silent.is_set(), 20)
                    self.close_connection = True
                    return
                after, limit, wait_s = int(asked["after"]), int(asked["limit"]), float(asked["wait_s"])
                status, body = server.instead(after) or server.answer(after, limit, wait_s)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler

    def speak_again(self) -> None:
        with self._changed:
            self.silent.clear()
            self._changed.notify_all()


@contextmanager
def feed_server() -> Iterator[FeedServer]:
    server = FeedServer()
    try:
        yield server
    finally:
        server.speak_again()
        server.close()
