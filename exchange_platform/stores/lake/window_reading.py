"""Reading odds windows for clients: a market's closed and live ones as one list, by a few connections that
threads share.

Not here: their SQL (windows.py), and what an analyst may ask (lake.py).
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from exchange_platform.domain.windows import WINDOW, WindowRow
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.lake import windows as lake_windows
from exchange_platform.stores.lake.connection import LakeConnection
from exchange_platform.stores.lake.s3 import S3Access

CONNECTIONS = 3
_MEMORY_MB = 200
_WAIT_S = 5.0
_LITTLE_S = 1.0
_READ_S = 5.0
"""A read that takes longer is ended: whoever asked gets an answer, and the connection is free again."""
_DAY = timedelta(days=1)
DEFAULT_SPAN = timedelta(days=1)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MarketWindow:
    """A window as it is now. `final` once it is closed; `revision` is the closed row's, 0 if it was never
    closed.
    """

    row: WindowRow
    final: bool
    revision: int


@dataclass(frozen=True, slots=True)
class WindowSpan:
    """Windows that start in `[since, until)`."""

    since: datetime = EARLIEST
    until: datetime = LATEST


class _Waiting:
    """A thread that waits for a connection."""

    def __init__(self) -> None:
        self.served = threading.Event()
        self.connection: LakeConnection | None = None


class WindowReader:
    """Reads windows from the lake. Thread-safe: each call has one of a few read-only connections for itself.

    Readers take no lock of the lake's writers and never wait for them. A connection is opened when it is
    first needed, and kept. Every method raises `StoreUnavailable`: the lake is away, all connections have
    been busy for five seconds, or the read itself took as long.
    """

    def __init__(self, settings: Settings, *, connections: int = CONNECTIONS) -> None:
        self._connections = [
            LakeConnection(
                settings.lake_read_catalog_string,
                settings.lake_data_location,
                read_only=True,
                threads=1,
                memory_mb=_MEMORY_MB,
                s3=S3Access(settings.aws_region, settings.aws_endpoint_url),
            )
            for _ in range(connections)
        ]
        self._unopened = list(self._connections)
        self._idle: list[LakeConnection] = []
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._lock = threading.Lock()

    def snapshot(self) -> int:
        """The lake's newest snapshot: while it stays, every answer stays."""
        with self._taken() as connection:
            return self._snapshot(connection)

    def read(
        self, market_id: str, span: WindowSpan, *, selection_id: int | None = None, limit: int
    ) -> list[MarketWindow]:
        """The market's newest `limit` windows of that span, all of one state of the lake: oldest first, then
        by selection.
        """
        rows = self._rows({market_id: span}, selection_id, limit)
        return rows[::-1]

    def read_since(self, floors: Mapping[str, datetime], *, limit: int) -> list[MarketWindow]:
        """The windows of several markets that start at or after each one's floor, newest first; each market's
        day is one state of the lake.
        """
        by_day: dict[int, dict[str, WindowSpan]] = {}
        for market_id, floor in floors.items():
            by_day.setdefault((floor - EARLIEST) // _DAY, {})[market_id] = WindowSpan(floor)
        found: list[MarketWindow] = []
        for spans in by_day.values():
            found.extend(self._rows(spans, None, limit))
        return found

    def close(self) -> None:
        """Close every connection. Safe to call twice."""
        for connection in self._connections:
            connection.close()

    def _rows(
        self, spans: Mapping[str, WindowSpan], selection_id: int | None, limit: int
    ) -> list[MarketWindow]:
        with self._taken() as connection:
            session = connection.session
            session.execute("BEGIN")
            try:
                return [_window(values) for values in _read(session, spans, selection_id, limit)]
            finally:
                _end(session)

    @contextmanager
    def _taken(self) -> Iterator[LakeConnection]:
        connection = self._take()
        try:
            with connection.translated(), _ended_after(connection.session, _READ_S):
                yield connection
        finally:
            self._give_back(connection)

    def _take(self) -> LakeConnection:
        """A connection that nobody uses; who came first is served first.

        Opening one takes longer than most reads, so only who has waited a little for an open one opens
        another.
        """
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if len(self._unopened) == len(self._connections):
                return self._unopened.pop()
            mine = _Waiting()
            self._waiting.append(mine)
        mine.served.wait(_LITTLE_S)
        with self._lock:
            if mine.connection is None and self._unopened:
                self._waiting.remove(mine)
                return self._unopened.pop()
        mine.served.wait(_WAIT_S)
        with self._lock:
            if mine.connection is not None:
                return mine.connection
            self._waiting.remove(mine)
        raise StoreUnavailable(
            f"lake: its {len(self._connections)} reading connections have been busy for {_WAIT_S:g} s"
        )

    def _give_back(self, connection: LakeConnection) -> None:
        with self._lock:
            if self._waiting:
                first = self._waiting.popleft()
                first.connection = connection
                first.served.set()
            else:
                self._idle.append(connection)

    @staticmethod
    def _snapshot(connection: LakeConnection) -> int:
        ((snapshot,),) = connection.session.execute("FROM lake.current_snapshot()").fetchall()
        return int(snapshot)


def default_since(updated_at: datetime, now: datetime) -> datetime:
    """From when on windows are shown of a market whose newest update is of then: a day before. A replay tells
    of years ago.
    """
    return max(EARLIEST + DEFAULT_SPAN, min(updated_at, now)) - DEFAULT_SPAN


def _read(
    session: duckdb.DuckDBPyConnection, spans: Mapping[str, WindowSpan], selection_id: int | None, limit: int
) -> list[tuple[Any, ...]]:
    markets = list(spans)
    open_from, open_to = session.execute(
        "SELECT min(window_start), max(window_start) FROM open_windows WHERE market_id IN (SELECT unnest(?))",
        [markets],
    ).fetchone() or (None, None)
    since = min(span.since for span in spans.values())
    until = max(span.until for span in spans.values())
    live = None
    if open_from is not None:
        begin, end = max(open_from, since), min(open_to + WINDOW, until)
        live = (begin, end) if begin < end else None
    return session.execute(
        lake_windows.of_markets(since, until, live),
        {
            "markets": markets,
            "since": [span.since for span in spans.values()],
            "until": [span.until for span in spans.values()],
            "selection": selection_id,
            "most": limit,
        },
    ).fetchall()


def _window(values: tuple[Any, ...]) -> MarketWindow:
    *row, final, revision = values
    row[3] = row[3].astimezone(UTC)
    return MarketWindow(WindowRow(*row), bool(final), int(revision))


@contextmanager
def _ended_after(session: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what the session runs after so long. Raises `StoreUnavailable` then."""
    timer = threading.Timer(seconds, session.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException:
        raise StoreUnavailable(f"lake: a read was ended after {seconds:g} s") from None
    finally:
        timer.cancel()


def _end(session: duckdb.DuckDBPyConnection) -> None:
    try:
        session.execute("ROLLBACK")
    except duckdb.Error:
        return  # the error that ended the transaction is on its way already
