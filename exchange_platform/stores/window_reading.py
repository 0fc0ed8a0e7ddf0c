"""Reading odds windows for clients: a market's closed and live ones as one list, by a few connections that threads share.

Not here: their SQL (lake_windows.py), and what an analyst may ask (lake.py).
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from exchange_platform.settings import Settings
from exchange_platform.stores import lake_windows
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.lake_connection import LakeConnection
from exchange_platform.stores.lake_s3 import S3Access
from exchange_platform.windows import WINDOW, WindowRow

CONNECTIONS = 3
_MEMORY_MB = 200
_WAIT_S = 5.0
_DAY = timedelta(days=1)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MarketWindow:
    """A window as it is now. `final` once it is closed; `revision` is the closed row's, 0 if it was never closed."""

    row: WindowRow
    final: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Span:
    """Windows that start in `[since, until)`."""

    since: datetime = _EARLIEST
    until: datetime = _LATEST


class WindowReader:
    """Reads windows from the lake. Thread-safe: each call has one of a few read-only connections for itself.

    Readers take no lock of the lake's writers and never wait for them. A connection is opened when it is first needed, and kept.
    Every method raises `StoreUnavailable`: the lake is away, or all connections have been busy for five seconds.
    """

    def __init__(self, settings: Settings, *, connections: int = CONNECTIONS) -> None:
        self._connections = [
            LakeConnection(
                settings.lake_catalog_string,
                settings.lake_data_location,
                read_only=True,
                threads=1,
                memory_mb=_MEMORY_MB,
                s3=S3Access(settings.aws_region, settings.aws_endpoint_url),
            )
            for _ in range(connections)
        ]
        # The one used last is taken first, so that those never needed are never opened.
        self._idle: queue.LifoQueue[LakeConnection] = queue.LifoQueue()
        for connection in reversed(self._connections):
            self._idle.put(connection)

    def snapshot(self) -> int:
        """The lake's newest snapshot: while it stays, every answer stays."""
        with self._taken() as connection:
            return self._snapshot(connection)

    def read(
        self, market_id: str, span: Span, *, selection_id: int | None = None, limit: int
    ) -> list[MarketWindow]:
        """The market's newest `limit` windows of that span, all of one state of the lake: oldest first, then by selection."""
        rows = self._rows({market_id: span}, selection_id, limit)
        return rows[::-1]

    def read_since(self, floors: Mapping[str, datetime], *, limit: int) -> list[MarketWindow]:
        """The windows of several markets that start at or after each one's floor, newest first; each market's day is one state of the lake."""
        by_day: dict[int, dict[str, Span]] = {}
        for market_id, floor in floors.items():
            by_day.setdefault((floor - _EARLIEST) // _DAY, {})[market_id] = Span(floor)
        found: list[MarketWindow] = []
        for spans in by_day.values():
            found.extend(self._rows(spans, None, limit))
        return found

    def close(self) -> None:
        """Close every connection. Safe to call twice."""
        for connection in self._connections:
            connection.close()

    def _rows(self, spans: Mapping[str, Span], selection_id: int | None, limit: int) -> list[MarketWindow]:
        with self._taken() as connection:
            session = connection.session
            session.execute("BEGIN")
            try:
                return [_window(values) for values in _read(session, spans, selection_id, limit)]
            finally:
                _end(session)

    @contextmanager
    def _taken(self) -> Iterator[LakeConnection]:
        try:
            connection = self._idle.get(timeout=_WAIT_S)
        except queue.Empty:
            raise StoreUnavailable(
                f"lake: its {len(self._connections)} reading connections have been busy for {_WAIT_S:g} s"
            ) from None
        try:
            with connection.translated():
                yield connection
        finally:
            self._idle.put(connection)

    @staticmethod
    def _snapshot(connection: LakeConnection) -> int:
        ((snapshot,),) = connection.session.execute("FROM lake.current_snapshot()").fetchall()
        return int(snapshot)


def _read(
    session: duckdb.DuckDBPyConnection, spans: Mapping[str, Span], selection_id: int | None, limit: int
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


def _end(session: duckdb.DuckDBPyConnection) -> None:
    try:
        session.execute("ROLLBACK")
    except duckdb.Error:
        return  # the error that ended the transaction is on its way already
