"""Gives the free pages of a SQLite file back to the file system, in steps that hold no writer up. What is
deleted is decided elsewhere.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from exchange_platform.stores.operational.purge_rounds import Budget

_INCREMENTAL = 2
_PAGES_AT_ONCE = 256
"""1 MB: some milliseconds under the write lock."""
_MIN_FREE_BYTES = 1_000_000
"""Less is not worth a step: the file's next rows go there."""
_BUSY_S = 10.0


@dataclass(frozen=True, slots=True)
class GivenBack:
    """How large a file was, is, and how much of it is free still, in bytes."""

    before: int
    after: int
    free: int


def give_back(path: str | Path, budget: Budget, *, max_rewritten: int = 0) -> GivenBack:
    """Give free pages back until few are left or the time is over. Safe beside readers and writers, who wait
    some milliseconds for a step.

    A file that was made without `auto_vacuum = INCREMENTAL` is rewritten as a whole first, once, where what
    it holds is no more than `max_rewritten` bytes and the disk has room for it: writers wait as long as that
    takes (some 10 ms a megabyte). A larger one stays as large as it is, and its free pages are used again.
    Where somebody else keeps the file locked, nothing changes: the next round tries again.
    """
    with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as db:
        # In WAL mode this loses no commit but to a power failure, and nothing is damaged: a step is not worth
        # a wait for the disk.
        db.execute("PRAGMA synchronous = NORMAL")
        page = _number(db, "page_size")
        before = _number(db, "page_count") * page
        if _number(db, "auto_vacuum") != _INCREMENTAL:
            used = before - _number(db, "freelist_count") * page
            if used <= max_rewritten and shutil.disk_usage(Path(path).parent).free > 3 * used:
                with suppress(sqlite3.OperationalError):
                    _rewrite(db)
        else:
            with suppress(sqlite3.OperationalError):
                budget.repeat(lambda: _step(db, page))
        return GivenBack(before, _number(db, "page_count") * page, _number(db, "freelist_count") * page)


def _rewrite(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
    db.execute("VACUUM")
    # In WAL mode the rewritten pages are in the log until a checkpoint.
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _step(db: sqlite3.Connection, page: int) -> int | None:
    free = _number(db, "freelist_count")
    if free * page < _MIN_FREE_BYTES:
        return None
    db.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
    return free - _number(db, "freelist_count") or None


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])
