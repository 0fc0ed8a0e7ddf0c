"""Who follows an event live, and the one thread that looks for changes for all of them. Not here: the
stream's route (routes/live.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel

from exchange_platform.api.event_models import ChangedWindows, whole_event, window_told
from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.lake.window_reading import MarketWindow, WindowReader, default_since
from exchange_platform.stores.operational.database import from_us
from exchange_platform.stores.operational.events.reader import EventReader, StoredEvent

log = logging.getLogger(__name__)

LOOK_S = 0.4
_TROUBLE_S = 2.0
_MAX_WAITING = 64
_MAX_WINDOWS = 5000

_Key = tuple[int, Decimal, datetime]
_Stamp = tuple[int, int, bool]

DELAYED = b"event: delayed\ndata: {}\n\n"
RESUMED = b"event: resumed\ndata: {}\n\n"


class TooManyClients(Exception):
    """As many clients as are allowed follow events: refuse this one, it may poll."""


class TooManyOfOneAddress(TooManyClients):
    """As many clients of one address as are allowed follow events: one caller can't take every place."""


class Client:
    """One that follows an event. `messages` are what its stream sends; None ends it.

    One that reads more slowly than things change is ended: it comes back and begins with the newest state.
    """

    def __init__(self, event_id: str, loop: asyncio.AbstractEventLoop, address: str = "") -> None:
        self.event_id = event_id
        self.address = address
        self.messages: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_WAITING)
        self._loop = loop

    def tell(self, message: bytes | None) -> None:
        """Hand a message over, from any thread."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: it is gone
            self._loop.call_soon_threadsafe(self._put, message)

    def _put(self, message: bytes | None) -> None:
        if message is None or self.messages.full():
            while not self.messages.empty():
                self.messages.get_nowait()
            message = None
        self.messages.put_nowait(message)


@dataclass(slots=True)
class _Market:
    """Which windows of a market were sent: those that may still change, each by what changes with it."""

    floor: datetime
    told: dict[_Key, _Stamp] = field(default_factory=dict)

    def changed(self, windows: Iterable[MarketWindow]) -> list[MarketWindow]:
        """Those of the windows that are not what was sent; they are sent now. Forgets those that will hardly
        change.
        """
        changed = []
        for window in windows:
            row = window.row
            key = (row.selection_id, row.handicap, row.window_start)
            stamp = (row.executions, window.revision, window.final)
            if self.told.get(key) != stamp:
                self.told[key] = stamp
                changed.append(window)
        if self.told:
            newest = max(start for _, _, start in self.told)
            self.floor = min(
                [start for (_, _, start), (_, _, final) in self.told.items() if not final] + [newest]
            )
            self.told = {key: stamp for key, stamp in self.told.items() if key[2] >= self.floor}
        return changed


@dataclass(slots=True)
class _Followed:
    """An event that somebody follows. `message` is its newest state, empty until it was read."""

    clients: set[Client] = field(default_factory=set)
    version: int = 0
    message: bytes = b""
    markets: dict[str, _Market] = field(default_factory=dict)
    unread: dict[str, datetime] = field(default_factory=dict)
    """Markets whose windows were not read yet, and since when to read them."""


class Live:
    """Notifies clients of changes of the events that they follow, and of their markets' windows.

    One thread looks for all of them, while there are any: at the events' versions in one statement, and at
    the lake only when it has a new snapshot. A client's first message is the event as it is; a window that
    changes after that is sent, so a client that reads the windows once it has the first message, and again
    after each `resumed`, misses nothing. A window is sent again whenever its executions, revision or finality
    change.
    """

    def __init__(
        self,
        events: EventReader,
        windows: WindowReader,
        *,
        ending: threading.Event,
        clock: Clock,
        most_clients: int,
        most_of_an_address: int,
    ) -> None:
        self._events = events
        self._windows = windows
        self._ending = ending
        self._clock = clock
        self._most_clients = most_clients
        self._most_of_an_address = most_of_an_address
        self._of_addresses: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._followed: dict[str, _Followed] = {}
        self._thread: threading.Thread | None = None
        self._snapshot: int | None = None
        self._delayed = False

    @property
    def clients(self) -> int:
        """How many follow an event now."""
        with self._lock:
            return sum(len(followed.clients) for followed in self._followed.values())

    def join(self, event_id: str, loop: asyncio.AbstractEventLoop, *, address: str) -> Client:
        """Begin to follow an event that exists, for a caller at that address. Raises `TooManyClients`. Call
        `leave` when it ends.
        """
        client = Client(event_id, loop, address)
        with self._lock:
            if self._of_addresses[address] >= self._most_of_an_address:
                raise TooManyOfOneAddress
            if sum(len(one.clients) for one in self._followed.values()) >= self._most_clients:
                raise TooManyClients
            followed = self._followed.setdefault(event_id, _Followed())
            followed.clients.add(client)
            self._of_addresses[address] += 1
            if followed.message:
                client.tell(followed.message)
            if self._delayed:
                client.tell(DELAYED)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look_for_all, name="live events", daemon=True)
                self._thread.start()
        self._wake.set()
        return client

    def leave(self, client: Client) -> None:
        """Follow no longer. Safe to call twice."""
        with self._lock:
            followed = self._followed.get(client.event_id)
            if followed is not None and client in followed.clients:
                followed.clients.discard(client)
                self._of_addresses[client.address] -= 1
                if not self._of_addresses[client.address]:
                    del self._of_addresses[client.address]
                if not followed.clients:
                    del self._followed[client.event_id]
        self._wake.set()

    def close(self) -> None:
        """End every client and the thread. `ending` is set already."""
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout=10)

    def _look_for_all(self) -> None:
        pause_s = 0.0
        while not self._is_over():
            self._clock.wait(self._wake, pause_s)
            self._wake.clear()
            if self._ending.is_set():
                continue
            try:
                self._look()
                self._tell_delay(False)
                pause_s = LOOK_S
            except StoreUnavailable as error:
                log.warning("following events: %s", error)
                self._tell_delay(True)
                pause_s = _TROUBLE_S
            except Exception:
                log.exception("following events")
                self._tell_delay(True)
                pause_s = _TROUBLE_S

    def _is_over(self) -> bool:
        """Whether nobody is left to look for; if so the next client starts another thread."""
        with self._lock:
            if self._ending.is_set():
                for followed in self._followed.values():
                    for client in followed.clients:
                        client.tell(None)
                self._thread = None
                return True
            if not self._followed:
                self._thread = None
                self._snapshot = None
                return True
            return False

    def _look(self) -> None:
        with self._lock:
            followed = dict(self._followed)
        versions = self._events.versions(list(followed))
        moved = [event_id for event_id, one in followed.items() if versions.get(event_id, 0) != one.version]
        stored = self._events.read(moved) if moved else []
        for one in stored:
            for market in one.markets:
                its = followed[one.event.event_id]
                if market.market_id not in its.markets:
                    its.unread[market.market_id] = default_since(market.updated_at, self._now())
        try:
            self._look_at_windows(followed)
        finally:  # also while the lake is away
            for one in stored:
                self._tell_event(followed[one.event.event_id], one)

    def _look_at_windows(self, followed: dict[str, _Followed]) -> None:
        snapshot = self._windows.snapshot()
        unread = [one for one in followed.values() if one.unread]
        if unread:
            self._begin(unread)
        if snapshot != self._snapshot:
            self._tell_windows(followed)
            self._snapshot = snapshot

    def _begin(self, unread: list[_Followed]) -> None:
        """Take the windows of these events' new markets as sent: who follows them reads them after the
        event's message.
        """
        floors = {market_id: since for one in unread for market_id, since in one.unread.items()}
        by_market = _by_market(self._windows.read_since(floors, limit=_MAX_WINDOWS))
        for one in unread:
            for market_id, since in one.unread.items():
                market = one.markets[market_id] = _Market(since)
                market.changed(by_market.get(market_id, ()))
            one.unread.clear()

    def _tell_windows(self, followed: dict[str, _Followed]) -> None:
        floors = {
            market_id: market.floor for one in followed.values() for market_id, market in one.markets.items()
        }
        if not floors:
            return
        by_market = _by_market(self._windows.read_since(floors, limit=_MAX_WINDOWS))
        for one in followed.values():
            for market_id, market in one.markets.items():
                changed = market.changed(by_market.get(market_id, ()))
                if changed:
                    told = ChangedWindows(
                        market_id=market_id, windows=[window_told(window) for window in reversed(changed)]
                    )
                    self._tell(one, _message("windows", told))

    def _tell_event(self, followed: _Followed, stored: StoredEvent) -> None:
        message = _message("event", whole_event(stored))
        with self._lock:
            followed.version = stored.index_version
            followed.message = message
            for client in followed.clients:
                client.tell(message)

    def _tell(self, followed: _Followed, message: bytes) -> None:
        with self._lock:
            for client in followed.clients:
                client.tell(message)

    def _tell_delay(self, delayed: bool) -> None:
        with self._lock:
            if delayed == self._delayed:
                return
            self._delayed = delayed
            for followed in self._followed.values():
                for client in followed.clients:
                    client.tell(DELAYED if delayed else RESUMED)

    def _now(self) -> datetime:
        return from_us(self._clock.now_us())


def _by_market(windows: Iterable[MarketWindow]) -> dict[str, list[MarketWindow]]:
    found: dict[str, list[MarketWindow]] = {}
    for window in windows:
        found.setdefault(window.row.market_id, []).append(window)
    return found


def _message(name: str, content: BaseModel) -> bytes:
    """A server-sent event. JSON has no line breaks of its own, so the data is one line."""
    return f"event: {name}\ndata: {content.model_dump_json()}\n\n".encode()
