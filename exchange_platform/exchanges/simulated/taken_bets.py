"""The bets that the simulated exchange took from `bet-orders`, for whoever asks by their ids. Reads the exchange's journal; writes nothing."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

JOURNAL_FILE = "simulated-exchange.sqlite"
"""The exchange's journal in the data directory; journal.py writes it."""

TAKEN_BETS_SCHEMA = """
CREATE TABLE IF NOT EXISTS taken_bets (
    bet_id TEXT PRIMARY KEY, changed_at_us INTEGER NOT NULL, state BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS taken_bets_by_age ON taken_bets (changed_at_us);
"""
"""The newest state of each such bet, as a `bet_update`, kept for days after it is final."""


class TakenBets:
    """A reader of the exchange's journal, which need not be there (yet). From any thread."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / JOURNAL_FILE
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def newest(self, bet_id: str) -> bytes | None:
        """The newest state of the bet as the exchange published it, or will within its next tick; None: it never took it."""
        with self._lock:
            try:
                db = self._opened()
                if db is None:
                    return None
                row = db.execute("SELECT state FROM taken_bets WHERE bet_id = ?", (bet_id,)).fetchone()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):  # the exchange is just making its journal
                    return None
                raise
            return None if row is None else bytes(row[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _opened(self) -> sqlite3.Connection | None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        file = (stat.st_dev, stat.st_ino)
        if self._db is None or file != self._file:
            if self._db is not None:
                self._db.close()
            self._db = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0, check_same_thread=False
            )
            self._file = file
        return self._db
