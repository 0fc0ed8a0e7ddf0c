"""The lake's files as its catalog names them, and whether each is whole. Taking a damaged one out is
losses.py's.

The catalog knows each file's size, the length of its footer, its rows and the span of their times. Files
never change once they are written, so a file is whole when all of these fit and its bytes are those that were
there when it was first looked at.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from exchange_platform.stores.checkpoints import StoreDamaged

TIME_COLUMNS = {
    "executions": "executed_at",
    "bet_history": "updated_at",
    "odds_windows": "window_start",
    "open_windows": "window_start",
}
"""By which column a table's rows lie in time."""

OF_MARKETS = ("executions", "bet_history", "odds_windows")
"""Tables whose rows are counted by market when a file is first looked at."""

_MAGIC = b"PAR1"
_TAIL = struct.Struct("<I4s")


def _rows_prefix() -> str:
    return f"rows {duckdb.__version__} "  # asked late, as DuckDB is loaded late


_CHUNK_BYTES = 1 << 20
_AWAY = ("Permission denied", "Too many open files", "No space left", "Input/output error", "Cannot allocate")
_NAMED = re.compile(r"ducklake-[0-9a-f-]+\.parquet")

# Paths stand relative to their table's, and those to their schema's. A column's statistics are text.
_FILES = """
    SELECT f.{id} AS id, f.data_file_id AS of_file, t.table_id, t.table_name, s.path AS schema_path, s.path_is_relative AS in_data,
           t.path AS table_path, t.path_is_relative AS in_schema, f.path, f.path_is_relative AS in_table,
           f.{rows} AS number, f.file_size_bytes, f.footer_size, c.min_value, c.max_value
    FROM {table} f
    JOIN ducklake_table t ON t.table_id = f.table_id AND t.end_snapshot IS NULL
    JOIN ducklake_schema s ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL
    LEFT JOIN ducklake_column n ON n.table_id = t.table_id AND n.end_snapshot IS NULL AND n.column_name =
        CASE t.table_name WHEN 'executions' THEN 'executed_at' WHEN 'bet_history' THEN 'updated_at' ELSE 'window_start' END
    LEFT JOIN ducklake_file_column_stats c ON c.data_file_id = f.data_file_id AND c.column_id = n.column_id
    WHERE f.end_snapshot IS NULL ORDER BY 1
"""
DATA_FILES = _FILES.format(id="data_file_id", rows="record_count", table="ducklake_data_file")
"""SQL for the catalog: the files of the newest snapshot."""
DELETE_FILES = _FILES.format(id="delete_file_id", rows="delete_count", table="ducklake_delete_file")
"""SQL for the catalog: the files that list deleted rows of others."""


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One Parquet file of the newest snapshot."""

    file_id: int
    data_file_id: int
    """The same, or the file of which this one lists deleted rows."""
    table_id: int
    table: str
    path: str
    rows: int
    size: int
    footer_size: int
    since: datetime | None
    until: datetime | None
    """The first and the last of its rows' times, where the table has one."""

    @property
    def name(self) -> str:
        """Its name below the lake's data."""
        return "/".join(self.path.split("/")[-2:])

    @property
    def described(self) -> str:
        """What it holds, for a message."""
        if self.file_id != self.data_file_id:
            return f"{self.name} ({self.rows:,} deleted rows of {self.table})"
        span = (
            f" from {self.since:%Y-%m-%d %H:%M:%S} to {self.until:%Y-%m-%d %H:%M:%S} UTC"
            if self.since
            else ""
        )
        return f"{self.name} ({self.rows:,} rows of {self.table}{span})"


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A file that can't be trusted, and why."""

    file: LakeFile
    reason: str

    @property
    def described(self) -> str:
        """Both, for a message."""
        return f"{self.file.described}: {self.reason}"


class LakeDamaged(StoreDamaged):
    """Files of the lake, or its catalog, are damaged. With the files that were found, none where it is the
    catalog.
    """

    def __init__(self, message: str, files: Sequence[DamagedFile] = ()) -> None:
        super().__init__(message)
        self.files = tuple(files)


class FileUnreadable(OSError):
    """The file can't be read by this process, or the disk fails: it is not known to be damaged."""


def files_of(rows: Iterable[Sequence[Any]], data_path: str) -> list[LakeFile]:
    """The files, from the rows of `DATA_FILES` and `DELETE_FILES`."""
    return [
        LakeFile(
            int(row[0]),
            int(row[1]),
            int(row[2]),
            row[3],
            _path(data_path, row[4:10]),
            int(row[10] or 0),
            int(row[11]),
            int(row[12] or 0),
            _instant(row[13]),
            _instant(row[14]),
        )
        for row in rows
    ]


def named_in(message: str, files: Iterable[LakeFile]) -> list[LakeFile]:
    """The files that an error's message names."""
    names = set(_NAMED.findall(message))
    return [file for file in files if file.path.rpartition("/")[2] in names]


def outer_damage(session: duckdb.DuckDBPyConnection, file: LakeFile) -> str | None:
    """What is wrong with the file's size or footer; None if nothing is. Costs one small read. Raises
    `FileUnreadable`.
    """
    if file.path.startswith("s3://"):
        return _outer_damage_on_s3(session, file)
    path = Path(file.path)
    try:
        with path.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - _TAIL.size))
            tail = opened.read()
    except FileNotFoundError:
        return "the file is gone"
    except IsADirectoryError:
        return "it is a directory"
    except OSError as error:
        raise FileUnreadable(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if size != file.size:
        return f"it has {size:,} bytes, and had {file.size:,} when it was written"
    length, magic = _TAIL.unpack(tail)
    if magic != _MAGIC or (file.footer_size and length != file.footer_size):
        return "its footer is destroyed"
    return None


def inner_damage(session: duckdb.DuckDBPyConnection, path: str, rows: int | None) -> str | None:
    """What is wrong with a file's content, read as a whole; None if it can be read and has so many rows
    (None: any). Raises `FileUnreadable`.
    """
    try:
        found = int(_decoded(session, path)[0])
    except duckdb.Error as error:
        if _is_away(error):
            raise FileUnreadable(_line(error)) from None
        return f"it can't be read: {_line(error)}"
    if rows is not None and found != rows:
        return f"it has {found:,} rows, and had {rows:,} when it was written"
    return None


def digest(session: duckdb.DuckDBPyConnection, path: str) -> str:
    """A text that is another where the file's content is: the SHA-256 of its bytes; on S3, which guards bytes
    itself, one of its rows.

    Raises `FileUnreadable`.
    """
    if path.startswith("s3://"):
        try:
            return _rows_prefix() + ":".join(map(str, _decoded(session, path)))
        except duckdb.Error as error:
            if _is_away(error):
                raise FileUnreadable(_line(error)) from None
            return f"it can't be read: {_line(error)}"
    hashed = hashlib.sha256()
    try:
        with Path(path).open("rb") as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                hashed.update(chunk)
    except OSError as error:
        raise FileUnreadable(f"{path}: {(error.strerror or str(error)).lower()}") from None
    return hashed.hexdigest()


def is_comparable(digest: str) -> bool:
    """Whether this DuckDB gives the same digest for the same content: its hashes of rows are its version's
    own.
    """
    return not digest.startswith("rows ") or digest.startswith(_rows_prefix())


def _decoded(session: duckdb.DuckDBPyConnection, path: str) -> tuple[int, ...]:
    """The file's rows, and a hash of each column: so every value is decoded, a row group at a time."""
    found = session.execute(
        f"SELECT count(*), bit_xor(hash(COLUMNS(*))) FROM read_parquet({_quoted(path)})"
    ).fetchone()
    return tuple(int(value or 0) for value in found or (0,))


def by_market(session: duckdb.DuckDBPyConnection, file: LakeFile) -> dict[str, int] | None:
    """How many of the file's rows are each market's; None where the table is not of markets."""
    if file.table not in OF_MARKETS or file.file_id != file.data_file_id:
        return None
    return dict(
        session.execute(
            f"SELECT market_id, count(*) FROM read_parquet({_quoted(file.path)}) GROUP BY market_id"
        ).fetchall()
    )


def _outer_damage_on_s3(session: duckdb.DuckDBPyConnection, file: LakeFile) -> str | None:
    try:
        found = session.execute(f"SELECT size FROM read_blob({_quoted(file.path)})").fetchone()
        if found is not None and found[0] != file.size:
            return f"it has {found[0]:,} bytes, and had {file.size:,} when it was written"
        session.execute(f"SELECT num_rows FROM parquet_file_metadata({_quoted(file.path)})").fetchall()
    except duckdb.Error as error:
        if "404" in str(error) or "No files found" in str(error):
            return "the file is gone"
        if _is_away(error):
            raise FileUnreadable(_line(error)) from None
        return f"its footer is destroyed: {_line(error)}"
    return None


def _is_away(error: duckdb.Error) -> bool:
    """Whether the storage did not answer, or this process lacks something: that says nothing of the file."""
    others = (
        duckdb.HTTPException,
        duckdb.PermissionException,
        duckdb.OutOfMemoryException,
        duckdb.FatalException,
        duckdb.InterruptException,
    )
    return isinstance(error, others) or any(sign in str(error) for sign in _AWAY)


def _path(data_path: str, parts: Sequence[Any]) -> str:
    """Schema's, table's and file's own, each relative to the one before unless it says otherwise."""
    path = data_path.rstrip("/")
    for part, is_relative in zip(parts[::2], parts[1::2], strict=True):
        path = f"{path.rstrip('/')}/{part}" if is_relative else str(part)
    return path


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
