"""Reading the simulated exchange's journal from other processes. It writes nothing; the journal's tables are
described in journal.py.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

JOURNAL_FILE = "simulated-exchange.sqlite"
"""The exchange's journal in the data directory; journal.py writes it."""


class JournalReader:
    """A reader of the journal, which need not be there (yet). From any thread."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / JOURNAL_FILE
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """One consistent state of the journal; None where there is no journal."""
        with self._lock:
            db = self._opened()
            if db is None:
                yield None
                return
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("ROLLBACK")

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
                f"{self._path.absolute().as_uri()}?mode=ro",
                uri=True,
                timeout=5.0,
                check_same_thread=False,
                isolation_level=None,
            )
            self._file = file
        return self._db


def is_unmade(error: sqlite3.OperationalError) -> bool:
    """Whether the journal lacks a table: an exchange is just making it, or one of an earlier release
    made it.
    """
    return "no such table" in str(error)
