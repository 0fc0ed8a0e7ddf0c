"""What the platform reports to the exchange and asks of it: one SQLite file between the gateway's process and
the exchange's.

The gateway writes it, the exchange reads it and deletes requests that it has served. The exchange's own state
lives in its journal (simulated/journal.py), which only the exchange writes.

| table | holds | |---|---| | `acknowledged` | by shard of a stream, the position up to which every sink of
the platform has committed, as last reported | | `requests` | what is to be published again: a market's
records of one minute, or a bet's newest state |
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exchange_platform.process.clock import SYSTEM_CLOCK, Clock

REQUESTS_FILE = "exchange-requests.sqlite"
"""The file's name in the data directory."""

MAX_WAITING = 10_000
_BUSY_S = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS acknowledged (
    shard TEXT PRIMARY KEY, position TEXT NOT NULL, reported_at_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT, asked_at_us INTEGER NOT NULL,
    market_id TEXT NOT NULL DEFAULT '', minute_us INTEGER NOT NULL DEFAULT 0, bet_id TEXT NOT NULL DEFAULT '',
    UNIQUE (market_id, minute_us, bet_id)
);
"""


class TooManyRequests(Exception):
    """More requests wait than the file takes: try again when the exchange has served some."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to publish again: a market's records of the minute that begins at `minute_us`, or the bet's
    newest state.
    """

    number: int
    market_id: str
    minute_us: int
    bet_id: str


class PlatformRequests:
    """The file, from any thread of any process. It is made if it is not there."""

    def __init__(self, path: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # what is lost with the power is reported again
        self._db.executescript(_SCHEMA)

    def acknowledge(self, positions: Mapping[str, str]) -> None:
        """Note up to where the platform has committed these shards.

        The newest report counts, even where it is lower: a store that was restored from a copy has to get
        those records again. Shards that are no longer reported belong to streams that are gone; they are
        dropped.
        """
        now_us = self._clock.now_us()
        with self._writing() as db:
            db.execute("DELETE FROM acknowledged")
            db.executemany(
                "INSERT INTO acknowledged VALUES (?, ?, ?)",
                [(shard, position, now_us) for shard, position in positions.items()],
            )

    def acknowledged(self) -> dict[str, str]:
        """By shard, up to where the platform has committed it."""
        with self._lock:
            return dict(self._db.execute("SELECT shard, position FROM acknowledged").fetchall())

    def ask(self, spans: Sequence[tuple[str, int]], bet_ids: Sequence[str]) -> None:
        """Ask for (market, minute) spans and bets to be published again. What is asked for already is not
        asked for twice.

        Raises `TooManyRequests`; nothing was noted then.
        """
        now_us = self._clock.now_us()
        with self._writing() as db:
            db.executemany(
                "INSERT OR IGNORE INTO requests (asked_at_us, market_id, minute_us) VALUES (?, ?, ?)",
                [(now_us, market_id, minute_us) for market_id, minute_us in spans],
            )
            db.executemany(
                "INSERT OR IGNORE INTO requests (asked_at_us, bet_id) VALUES (?, ?)",
                [(now_us, bet_id) for bet_id in bet_ids],
            )
            (waiting,) = db.execute("SELECT count(*) FROM requests").fetchone()
            if waiting > MAX_WAITING:
                raise TooManyRequests(f"{waiting} requests would wait; {MAX_WAITING} are allowed")

    def waiting(self, limit: int = 20) -> list[Request]:
        """The oldest requests."""
        with self._lock:
            rows = self._db.execute(
                "SELECT number, market_id, minute_us, bet_id FROM requests ORDER BY number LIMIT ?", (limit,)
            ).fetchall()
        return [Request(*row) for row in rows]

    def served(self, numbers: Sequence[int]) -> None:
        """These are done with: what they asked for is in the stream, or the exchange no longer has it."""
        with self._writing() as db:
            db.executemany("DELETE FROM requests WHERE number = ?", [(number,) for number in numbers])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
