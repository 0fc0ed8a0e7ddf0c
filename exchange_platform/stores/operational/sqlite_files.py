"""Whether a SQLite file is whole: there, readable, a database, and with sound pages. Which files there are is
data_files.py's.

SQLite keeps no checksums. Its quick check finds broken pages, rows out of order and missing pages; a bit that
changed inside a value is found by the checks that compare stores, if at all.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

_HEADER = b"SQLite format 3\0"
_HEADER_BYTES = 100
_STEPS = 20_000
"""SQLite's instructions between two looks at the clock."""
_MAX_SHOWN = 3


class FileCondition(StrEnum):
    """How a file is."""

    WHOLE = "whole"
    """All of it was looked at, and nothing is wrong."""
    UNFINISHED = "unfinished"
    """Nothing wrong was found in the time that there was."""
    UNKNOWN = "unknown"
    """It could not be looked at now."""
    MISSING = "missing"
    """It is not there."""
    DAMAGED = "damaged"
    """SQLite says what is wrong with it."""
    FORBIDDEN = "forbidden"
    """This process may not read it."""


@dataclass(frozen=True, slots=True)
class SqliteState:
    """How a file is, and in words what is wrong."""

    condition: FileCondition
    reason: str = ""


WHOLE = SqliteState(FileCondition.WHOLE)


def glance(path: Path) -> SqliteState:
    """Look at the file's place, permissions and header; some microseconds. It may be damaged further in."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return SqliteState(FileCondition.MISSING, "it is gone")
    except OSError as error:
        return SqliteState(FileCondition.FORBIDDEN, (error.strerror or str(error)).lower())
    if not stat.S_ISREG(found.st_mode):
        return SqliteState(
            FileCondition.DAMAGED, "a directory has its name" if path.is_dir() else "it is no file"
        )
    if not found.st_mode & stat.S_IRUSR or not os.access(path, os.R_OK | os.W_OK):
        return SqliteState(FileCondition.FORBIDDEN, f"its permissions are {stat.filemode(found.st_mode)}")
    if found.st_size == 0:
        return SqliteState(FileCondition.DAMAGED, "it is empty")
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        return SqliteState(FileCondition.FORBIDDEN, (error.strerror or str(error)).lower())
    if len(header) < _HEADER_BYTES or not header.startswith(_HEADER):
        return SqliteState(
            FileCondition.DAMAGED, "it is not a SQLite database: its beginning was overwritten"
        )
    return WHOLE


def examine(path: Path, budget_s: float, *, clock_s: Callable[[], float] = time.monotonic) -> SqliteState:
    """Glance at the file, then let SQLite check its pages for so long at most. Changes nothing; beside
    running writers.
    """
    first = glance(path)
    if first.condition is not FileCondition.WHOLE:
        return first
    until = clock_s() + budget_s
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1.0)
    except sqlite3.Error as error:
        return SqliteState(FileCondition.UNKNOWN, str(error))
    try:
        database.set_progress_handler(lambda: int(clock_s() > until), _STEPS)
        found = [str(row[0]) for row in database.execute(f"PRAGMA quick_check({_MAX_SHOWN})")]
    except sqlite3.DatabaseError as error:
        return _of_error(error)
    finally:
        database.close()
    if found == ["ok"]:
        return WHOLE
    return SqliteState(FileCondition.DAMAGED, "; ".join(" ".join(line.split()) for line in found)[:300])


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite's error says that the file is damaged, or is none of its databases."""
    return isinstance(error, sqlite3.DatabaseError) and (
        getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
        or any(sign in str(error) for sign in ("malformed", "file is not a database"))
    )


def _of_error(error: sqlite3.DatabaseError) -> SqliteState:
    if is_damage(error):
        return SqliteState(FileCondition.DAMAGED, str(error))
    if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
        return SqliteState(FileCondition.UNFINISHED)
    return SqliteState(FileCondition.UNKNOWN, str(error))
