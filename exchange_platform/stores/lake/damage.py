"""Whether an error of the lake comes from damage: a destroyed catalog, or a Parquet file that is cut, changed
or gone.

DuckDB's messages don't always name the file, and some name none of the words below, so the files themselves
are asked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb

from exchange_platform.stores.lake.files import (
    DamagedFile,
    FileUnreadable,
    LakeDamaged,
    LakeFile,
    inner_damage,
    named_in,
    outer_damage,
)

REMEDY = "`exchange-platform restore-lake` takes it out and restores what it held"

_CATALOG_SIGNS = (
    "malformed",
    "file is not a database",
    "unable to open database file",
    "creating a new DuckLake is explicitly disabled",
)
_NO_DAMAGE = (
    "database is locked",
    "conflict",
    "No space left",
    "Could not set lock",
    "connection",
    "out of memory",
)
_READING_S = 20.0
"""How long files are read to find the one behind an error that names none."""
_NAMED = 3


def of_catalog(message: str, path: Path | None) -> LakeDamaged | None:
    """The damage of a SQLite catalog that a message speaks of."""
    if path is None or not any(sign in message for sign in _CATALOG_SIGNS):
        return None
    if "unable to open database file" in message and not path.is_dir() and os.access(path, os.R_OK | os.W_OK):
        return None
    return LakeDamaged(
        f"lake: its catalog {path} is damaged: {' '.join(message.split())[:200]}; {_CATALOG_REMEDY}"
    )


_CATALOG_REMEDY = "stop the platform, then `exchange-platform restore-lake` sets it aside and makes a new one from the files and the other stores (an empty one would know nothing of them)"


def refuse_lost_catalog(path: Path, data_path: str) -> None:
    """Raise `LakeDamaged` where the catalog is gone or empty beside files that it named: a new one would
    forget them in silence.
    """
    if path.is_dir():
        raise LakeDamaged(f"lake: its catalog {path} is a directory; {_CATALOG_REMEDY}")
    if path.exists() and path.stat().st_size:
        return
    orphan = next(Path(data_path).rglob("*.parquet"), None) if "://" not in data_path else None
    if orphan is not None:
        found = "empty" if path.exists() else "gone"
        raise LakeDamaged(
            f"lake: its catalog {path} is {found}, and {data_path} has the files that it named; {_CATALOG_REMEDY}"
        )


def is_suspicious(error: duckdb.Error) -> bool:
    """Whether a damaged file may be behind it."""
    if any(sign in str(error) for sign in _NO_DAMAGE):
        return False
    kinds = (
        duckdb.IOException,
        duckdb.InvalidInputException,
        duckdb.SerializationException,
        duckdb.InternalException,
    )
    # What the Parquet reader's own libraries raise has no class of its own.
    return isinstance(error, (*kinds, duckdb.FatalException)) or type(error) is duckdb.Error


def of_files(
    scratch: duckdb.DuckDBPyConnection, files: Sequence[LakeFile], message: str
) -> LakeDamaged | None:
    """The damaged files behind an error with this message: those whose size or footer is wrong, else the ones
    that can't be read.
    """
    damaged = [DamagedFile(file, reason) for file in files if (reason := _outer(scratch, file)) is not None]
    if not damaged:
        damaged = _unreadable(scratch, files, message)
    return damage(damaged, of=len(files)) if damaged else None


def damage(damaged: Sequence[DamagedFile], *, of: int) -> LakeDamaged:
    """The error that names these, among `of` files of the lake."""
    if len(damaged) == of and of > 1 and all("is gone" in one.reason for one in damaged):
        return LakeDamaged(
            f"lake: all of its {of} files are gone: is the disk or the bucket that holds them there?"
        )
    named = "; ".join(one.described for one in damaged[:_NAMED])
    more = f"; and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
    return LakeDamaged(f"lake: damaged: {named}{more}; {REMEDY}", damaged)


def _outer(scratch: duckdb.DuckDBPyConnection, file: LakeFile) -> str | None:
    try:
        return outer_damage(scratch, file)
    except FileUnreadable:
        return None


def _unreadable(
    scratch: duckdb.DuckDBPyConnection, files: Sequence[LakeFile], message: str
) -> list[DamagedFile]:
    """Those named in the message that can't be read; where it names none, the first one that can't, newest
    first.
    """
    named = named_in(message, files)
    until = time.monotonic() + _READING_S
    for file in named or reversed(files):
        try:
            reason = inner_damage(scratch, file.path, file.rows)
        except FileUnreadable:
            continue
        if reason is not None:
            return [DamagedFile(file, reason)]
        if time.monotonic() > until:
            break
    return []
