"""The bets that the simulated exchange took from `bet-orders`, for whoever asks by their ids. Reads the
exchange's journal; writes nothing.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from exchange_platform.exchanges.simulated.journal_reader import JOURNAL_FILE, JournalReader, is_unmade

__all__ = ["JOURNAL_FILE", "TAKEN_BETS_SCHEMA", "TakenBets"]

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
        self._journal = JournalReader(data_dir)

    def newest(self, bet_id: str) -> bytes | None:
        """The newest state of the bet as the exchange published it, or will within its next tick; None: it
        never took it.
        """
        try:
            with self._journal.reading() as db:
                if db is None:
                    return None
                row = db.execute("SELECT state FROM taken_bets WHERE bet_id = ?", (bet_id,)).fetchone()
        except sqlite3.OperationalError as error:
            if is_unmade(error):
                return None
            raise
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        """Close the file."""
        self._journal.close()
