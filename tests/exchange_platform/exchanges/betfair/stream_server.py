"""Betfair's stream over TLS, played from recorded lines, that misbehaves as a plan says. It knows nothing of
the platform's code.

A plan is a list of steps over all connections; `cut`, `silence` and the like end a connection, and the next
one goes on with the plan. A client that names where it was (initialClk, clk) is told what has changed since,
as one message; any other gets images.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.support.certificates import Certificate

Step = tuple[Any, ...]
APP_KEY, SESSION = "an-app-key", "a-session"
HEARTBEAT_MS = 500


class _Ended(Exception):
    """This connection is over."""


class Recorded:
    """What the recorded lines say as of each of them: images, and what changed from one to another."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.messages: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def between(self, after: int, upto: int) -> list[dict[str, Any]]:
        """What changed, as one entry a market; an image in between makes the market's entry an image."""
        merged: dict[str, dict[str, Any]] = {}
        for message in self.messages[after:upto]:
            for change in message.get("mc", ()):
                entry = merged.setdefault(change["id"], {"id": change["id"]})
                if change.get("img"):
                    entry = merged[change["id"]] = {"id": change["id"], "img": True}
                if "marketDefinition" in change:
                    entry["marketDefinition"] = change["marketDefinition"]
                for runner in change.get("rc", ()):
                    key = (runner["id"], runner.get("hc", 0))
                    sizes = entry.setdefault("_sizes", {}).setdefault(key, {})
                    sizes.update(dict(runner.get("trd", ())))
        return [_with_runners(entry) for entry in merged.values()]

    def image(self, upto: int) -> list[dict[str, Any]]:
        """Every market as it is by then."""
        entries = self.between(0, upto)
        for entry in entries:
            entry["img"] = True
            for runner in entry.get("rc", ()):
                runner["trd"] = [[odds, size] for odds, size in runner["trd"] if size]
        return entries


def _with_runners(entry: dict[str, Any]) -> dict[str, Any]:
    sizes = entry.pop("_sizes", {})
    runners = []
    for (selection, handicap), ladder in sizes.items():
        runner: dict[str, Any] = {"id": selection, "trd": [[odds, size] for odds, size in ladder.items()]}
        if handicap:
            runner["hc"] = handicap
        runners.append(runner)
    return {**entry, "rc": runners} if runners else entry


class StreamServer:
    """The server; `position` is how many of the recorded lines have happened."""

    def __init__(self, lines: Sequence[bytes], plan: Sequence[Step], certificate: Certificate) -> None:
        self.position = 0
        self.subscriptions: list[dict[str, Any]] = []
        self.authentications: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.refuse_session: set[str] = set()
        self._recorded = Recorded(lines)
        self._plan = list(plan)
        self._context = certificate.server_context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._closing = threading.Event()
        self.played = threading.Event()
        """The whole plan was played."""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._listening.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                self._listening.settimeout(0.05)
                plain, _ = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                plain.settimeout(10)
                with self._context.wrap_socket(plain, server_side=True) as tls:
                    _Client(self, tls).serve()
            except (_Ended, OSError):
                pass
            except Exception as error:
                self.problems.append(f"{type(error).__name__}: {error}")
            finally:
                plain.close()

    # What a connection asks of the server.

    def next_step(self) -> Step | None:
        if not self._plan:
            self.played.set()
            return None
        return self._plan.pop(0)

    @property
    def recorded(self) -> Recorded:
        return self._recorded

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()


class _Client:
    def __init__(self, server: StreamServer, tls: ssl.SSLSocket) -> None:
        self._server = server
        self._tls = tls
        self._id = 0
        self._sent: list[bytes] = []
        self._buffer = b""

    def serve(self) -> None:
        server = self._server
        self._send({"op": "connection", "connectionId": "206-1"})
        asked = self._receive()
        server.authentications.append(asked)
        if asked["op"] != "authentication" or asked["appKey"] != APP_KEY:
            self._fail(asked, "INVALID_APP_KEY")
        if asked["session"] in server.refuse_session:
            self._fail(asked, "INVALID_SESSION_INFORMATION")
        self._send({"op": "status", "id": asked["id"], "statusCode": "SUCCESS", "connectionClosed": False})
        asked = self._receive()
        server.subscriptions.append(asked)
        self._id = asked["id"]
        step = server._plan[0] if server._plan else None
        if step is not None and step[0] == "refuse":
            server._plan.pop(0)
            self._fail(asked, step[1])
        self._send({"op": "status", "id": self._id, "statusCode": "SUCCESS", "connectionClosed": False})
        self._begin(asked)
        while not server.is_closing:
            step = server.next_step()
            if step is None:
                self._wait_out()
                return
            getattr(self, f"_do_{step[0]}")(*step[1:])

    def _begin(self, asked: dict[str, Any]) -> None:
        server = self._server
        if asked.get("clk") and asked.get("initialClk") == "initial":
            since = int(asked["clk"][1:])
            self._markets(
                server.recorded.between(since, server.position), ct="RESUB_DELTA", heartbeatMs=HEARTBEAT_MS
            )
        else:
            if asked.get("clk") or asked.get("initialClk"):
                server.problems.append(f"resumes with {asked.get('initialClk')}, {asked.get('clk')}")
            entries = server.recorded.image(server.position)
            self._markets(entries, ct="SUB_IMAGE", initialClk="initial", heartbeatMs=HEARTBEAT_MS)

    def _do_send(self, count: int) -> None:
        """The next lines, as they were recorded."""
        server = self._server
        for _ in range(count):
            message = server.recorded.messages[server.position]
            server.position += 1
            self._markets(message["mc"], pt=message["pt"])

    def _do_skip(self, count: int) -> None:
        """Things happen, and nobody is told."""
        self._server.position += count

    def _do_conflate(self, count: int) -> None:
        """The next lines as one message."""
        server = self._server
        entries = server.recorded.between(server.position, server.position + count)
        server.position += count
        self._markets([{**entry, "con": True} for entry in entries])

    def _do_repeat(self, count: int) -> None:
        """The newest messages once more, byte for byte."""
        for line in self._sent[-count:]:
            self._tls.sendall(line)

    def _do_image(self) -> None:
        """Every market again, out of the blue."""
        self._markets(self._server.recorded.image(self._server.position))

    def _do_unreliable(self, count: int) -> None:
        """The next lines, marked as unreliable."""
        server = self._server
        for _ in range(count):
            message = server.recorded.messages[server.position]
            server.position += 1
            self._markets(message["mc"], pt=message["pt"], status=503)

    def _do_heartbeat(self) -> None:
        self._send({"op": "mcm", "id": self._id, "clk": self._clk, "pt": self._pt, "ct": "HEARTBEAT"})

    def _do_segments(self, count: int) -> None:
        """The next lines as one message in segments, a market each."""
        server = self._server
        entries = server.recorded.between(server.position, server.position + count)
        server.position += count
        for number, entry in enumerate(entries):
            kind = "SEG_START" if number == 0 else "SEG_END" if number == len(entries) - 1 else "SEG"
            clk = {"clk": self._clk} if kind == "SEG_END" else {}
            self._send(
                {"op": "mcm", "id": self._id, "pt": self._pt, "segmentType": kind, "mc": [entry], **clk}
            )

    def _do_half_a_segmented_message(self, count: int) -> None:
        """Segments of which the last never comes."""
        server = self._server
        entries = server.recorded.between(server.position, server.position + count)
        self._send(
            {"op": "mcm", "id": self._id, "pt": self._pt, "segmentType": "SEG_START", "mc": entries[:1]}
        )
        raise _Ended

    def _do_cut(self) -> None:
        """The connection breaks."""
        raise _Ended

    def _do_cut_in_a_line(self) -> None:
        """The connection breaks in the middle of a message."""
        message = {"op": "mcm", "id": self._id, "clk": "c9999", "pt": self._pt, "mc": []}
        self._tls.sendall(json.dumps(message).encode()[:20])
        raise _Ended

    def _do_garbage(self, line: bytes) -> None:
        """A line that is no message."""
        self._tls.sendall(line + b"\r\n")
        self._wait_for_the_end()

    def _do_silence(self) -> None:
        """No heartbeat any more, until the client has had enough."""
        self._wait_for_the_end()

    def _do_refuse(self, code: str) -> None:
        raise AssertionError(f"{code} is for the beginning of a connection")

    def _wait_out(self) -> None:
        """Heartbeats until the end."""
        while not self._server.is_closing:
            self._do_heartbeat()
            self._tls.settimeout(HEARTBEAT_MS / 1000 / 2)
            try:
                if not self._tls.recv(1024):
                    return
            except TimeoutError:
                continue

    def _wait_for_the_end(self) -> None:
        while not self._server.is_closing:
            self._tls.settimeout(0.1)
            try:
                if not self._tls.recv(1024):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        raise _Ended

    @property
    def _clk(self) -> str:
        return f"c{self._server.position}"

    @property
    def _pt(self) -> int:
        position = self._server.position
        return int(self._server.recorded.messages[max(0, position - 1)]["pt"])

    def _markets(self, entries: list[dict[str, Any]], **more: Any) -> None:
        self._send({"op": "mcm", "id": self._id, "clk": self._clk, "pt": self._pt, "mc": entries} | more)

    def _fail(self, asked: dict[str, Any], code: str) -> None:
        said = {"statusCode": "FAILURE", "errorCode": code, "errorMessage": "as planned"}
        self._send({"op": "status", "id": asked.get("id"), "connectionClosed": True, **said})
        raise _Ended

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\r\n"
        if message["op"] == "mcm" and message.get("mc"):
            self._sent.append(line)
        self._tls.sendall(line)

    def _receive(self) -> dict[str, Any]:
        while b"\r\n" not in self._buffer:
            part = self._tls.recv(65_536)
            if not part:
                raise _Ended
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        message: dict[str, Any] = json.loads(line)
        return message


@contextmanager
def stream_server(
    lines: Sequence[bytes], plan: Sequence[Step], certificate: Certificate
) -> Iterator[StreamServer]:
    server = StreamServer(lines, plan, certificate)
    try:
        yield server
    finally:
        server.close()
    assert server.problems == []
