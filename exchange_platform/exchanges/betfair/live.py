"""Following Betfair's market stream live: subscribing, resuming where it broke off, noticing silence. Not
here: one connection (connection.py), what follows from a message (live_book.py), logging in (login.py).
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from betfairlightweight.filters import streaming_market_data_filter, streaming_market_filter

from exchange_platform.exchanges.betfair.connection import (
    Connection,
    ConnectionEnded,
    Endpoint,
    Envelope,
    decode_envelope,
)
from exchange_platform.exchanges.betfair.messages import Undecodable
from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

HEARTBEAT_MS = 5000
"""How often the server is asked to say that it lives: its most."""
_BACK_OFF = BackOff(first_s=0.5, max_s=30.0)
_UNRELIABLE = 503
_LOG_IN_AGAIN = frozenset({"NO_SESSION", "INVALID_SESSION_INFORMATION"})
_NOT_ALLOWED = frozenset(
    {"NO_APP_KEY", "INVALID_APP_KEY", "NOT_AUTHORIZED", "INVALID_INPUT", "INVALID_REQUEST", "SUBSCRIPTION_LIMIT_EXCEEDED"}
)  # fmt: skip
_BEGIN_ANEW = frozenset({"INVALID_CLOCK"})


class NotAllowed(Exception):
    """Betfair refuses for a reason that trying again does not fix: stop. The message says which, and what to
    do.
    """


class Login(Protocol):
    """Gives session tokens."""

    def token(self, *, fresh: bool) -> str:
        """A session token; with `fresh` another than the last. Raises `NotAllowed`, and `ConnectionEnded` to
        try again later.
        """
        ...


class Book(Protocol):
    """What keeps and hands on what the stream says."""

    @property
    def tokens(self) -> tuple[str | None, str | None]:
        """(initialClk, clk) of the newest message that was taken, or Nones."""
        ...

    def take(self, line: bytes, envelope: Envelope) -> None:
        """Take a line of the market stream; it is durable on return. Raises `Undecodable`."""
        ...

    def begin_anew(self) -> None:
        """Forget the tokens: the next subscription brings images."""
        ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which markets to follow: those that fit every part that is given. Another one can't resume what this
    one began.
    """

    market_ids: Sequence[str] = ()
    event_ids: Sequence[str] = ()
    event_type_ids: Sequence[str] = ()
    market_types: Sequence[str] = ()
    country_codes: Sequence[str] = ()
    conflate_ms: int = 0
    heartbeat_ms: int = HEARTBEAT_MS

    @property
    def criteria(self) -> str:
        """One text for one subscription."""
        return msgspec.json.encode([self._filter(), self._data_filter()]).decode()

    def request(self, initial_clk: str | None, clk: str | None) -> dict[str, Any]:
        """The arguments of betfairlightweight's `subscribe_to_markets`."""
        return {
            "market_filter": self._filter(),
            "market_data_filter": self._data_filter(),
            "initial_clk": initial_clk,
            "clk": clk,
            "conflate_ms": self.conflate_ms,
            "heartbeat_ms": self.heartbeat_ms,
            "segmentation_enabled": True,
        }

    def _filter(self) -> dict[str, Any]:
        given = {
            name: sorted(getattr(self, name)) or None
            for name in ("market_ids", "event_ids", "event_type_ids", "market_types", "country_codes")
        }
        return dict(streaming_market_filter(**given))

    def _data_filter(self) -> dict[str, Any]:
        return dict(streaming_market_data_filter(fields=["EX_MARKET_DEF", "EX_TRADED"]))


@dataclass(slots=True)
class Following:
    """How it goes, for people."""

    state: str = "not connected yet"
    connections: int = 0
    images: int = 0
    resumptions: int = 0
    heartbeats: int = 0
    messages: int = 0
    unreliable: bool = False
    """Betfair says that its data is late or incomplete for now (503)."""
    damaged: int = 0
    troubles: list[str] = field(default_factory=list)
    """Why connections ended, the newest ten."""


class LiveStream:
    """Follows the stream until it is stopped: `run` once, in a thread of its own.

    A connection that breaks, or is silent for two heartbeats, is made again with back-off, and goes on where
    the last message that was taken left off; where Betfair can't resume there, its images replace what is
    known. Data that is unreliable (503) is said to be, and followed all the same: Betfair sends what is right
    when it has it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        login: Login,
        subscription: Subscription,
        book: Book,
        *,
        app_key: str,
        clock: Clock = SYSTEM_CLOCK,
        back_off: BackOff = _BACK_OFF,
        rng: random.Random | None = None,
        on_change: Callable[[str], None] = lambda _said: None,
    ) -> None:
        self.following = Following()
        self._endpoint = endpoint
        self._login = login
        self._subscription = subscription
        self._book = book
        self._app_key = app_key
        self._clock = clock
        self._back_off = back_off
        self._rng = rng or random.Random()
        self._on_change = on_change
        self._stopping = threading.Event()
        self._connection: Connection | None = None
        self._log_in_again = False
        self._failures = 0

    def run(self) -> None:
        """Follow until `stop`. Raises `NotAllowed`, and what the book raises when it can keep nothing."""
        while not self._stopping.is_set():
            try:
                self._follow()
            except ConnectionEnded as end:
                if self._stopping.is_set():
                    return
                self._failures += 1
                pause_s = self._back_off.jittered_s(self._failures, self._rng)
                self.following.troubles = [*self.following.troubles[-9:], str(end)]
                self._say(f"not connected: {end}; another try in {pause_s:.2f} s")
                self._clock.wait(self._stopping, pause_s)

    def stop(self) -> None:
        """End soon, from any thread."""
        self._stopping.set()
        connection = self._connection
        if connection is not None:
            connection.close()

    def _follow(self) -> None:
        token = self._login.token(fresh=self._log_in_again)
        self._log_in_again = False
        connection = Connection(
            self._endpoint, app_key=self._app_key, session_token=token, on_line=self._on_line
        )
        self._connection = connection
        if self._stopping.is_set():
            return
        connection.expect_within(max(15.0, self._silence_s(self._subscription.heartbeat_ms)))
        self.following.connections += 1
        try:
            connection.run(self._subscription.request(*self._book.tokens))
        finally:
            connection.close()

    def _on_line(self, line: bytes) -> None:
        try:
            envelope = decode_envelope(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from error
        if envelope.op == "status":
            self._on_status(envelope)
        elif envelope.op == "mcm":
            self._on_markets(line, envelope)

    def _on_status(self, envelope: Envelope) -> None:
        if envelope.status_code != "FAILURE":
            return
        code = envelope.error_code or "?"
        said = f"{code}: {envelope.error_message or 'no reason given'}"
        if code in _NOT_ALLOWED:
            raise NotAllowed(f"Betfair refuses: {said}")
        self._log_in_again = code in _LOG_IN_AGAIN
        if code in _BEGIN_ANEW:
            self._book.begin_anew()
        raise ConnectionEnded(said)

    def _on_markets(self, line: bytes, envelope: Envelope) -> None:
        following = self.following
        if self._connection is not None:
            self._connection.subscribed()
        if envelope.heartbeat_ms and self._connection is not None:
            self._connection.expect_within(self._silence_s(envelope.heartbeat_ms))
        try:
            self._book.take(line, envelope)
        except Undecodable as error:
            raise self._damaged(str(error)) from error
        self._failures = 0
        following.messages += 1
        following.heartbeats += envelope.ct == "HEARTBEAT"
        if envelope.ct == "SUB_IMAGE" and envelope.may_resume_here:
            following.images += 1
            self._say("connected, from images")
        elif envelope.ct == "RESUB_DELTA" and envelope.may_resume_here:
            following.resumptions += 1
            self._say("connected, resumed")
        unreliable = envelope.status == _UNRELIABLE
        if unreliable != following.unreliable:
            following.unreliable = unreliable
            self._say("data unreliable (503)" if unreliable else "data reliable again")

    def _damaged(self, reason: str) -> ConnectionEnded:
        """A line that can't be understood may hold anything: images bring the state back."""
        self.following.damaged += 1
        self._book.begin_anew()
        return ConnectionEnded(f"a line can't be understood ({reason[:200]}): images are asked for")

    def _say(self, state: str) -> None:
        self.following.state = state
        log.info("betfair: %s", state)
        with contextlib.suppress(Exception):
            self._on_change(state)

    @staticmethod
    def _silence_s(heartbeat_ms: int) -> float:
        """Two heartbeats, and a little for the way."""
        return 2 * heartbeat_ms / 1000 + 0.1
