"""Attaching the lake: DuckDB, its extensions, the catalog, and one writer at a time. Not here: tables and
statements (lake.py).
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import duckdb
from filelock import FileLock, Timeout

from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.credentials import unavailable
from exchange_platform.stores.lake import damage as lake_damage
from exchange_platform.stores.lake import extensions as lake_extensions
from exchange_platform.stores.lake.files import DATA_FILES, DELETE_FILES, LakeDamaged, LakeFile, files_of
from exchange_platform.stores.lake.s3 import S3Access

LOCK_TIMEOUT_S = 10.0
CATALOG = "__ducklake_metadata_lake"
"""The name under which DuckLake attaches its own catalog."""

_ADVISORY_LOCK = 7214
_LOCK_POLL_S = 0.005
_WRITER_MEMORY_MB = 128
_READER_MEMORY_MB = 1000
# Errors that DuckDB has no class of their own for, and that pass.
_TRANSIENT = (
    "database is locked",
    "disk I/O error",
    "conflict",
    "could not connect",
    "connection to server",
    "server closed the connection",
    "terminating connection",
    "No space left",
    "Could not set lock",
    "Connection refused",
    "lock timeout",
    "DATA_PATH parameter",
)
# In `password=...` of a libpq string and `//user:password@` of a URL.
_PASSWORD = re.compile(
    # To the last @ of the word: one in the password should be written %40, and often is not.
    r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'\"]+)|(//[^:/@\s]*:)\S*(?=@)",
    re.IGNORECASE,
)
_READS = " options='-c default_transaction_read_only=on'"
"""What PostgreSQL is asked for by a connection that runs others' queries: another layer beside its role's
rights.
"""


class LakeConnection:
    """One DuckDB that has the lake attached as `lake`. For one thread at a time. Nothing is opened before it
    is used.

    On a SQLite catalog, two processes that write at once fail instead of waiting, so each writing transaction
    holds a file lock; it is the kernel's, so a killed process leaves none behind. On PostgreSQL an advisory
    lock of the transaction does the same. Readers take no lock and wait for none.
    """

    def __init__(
        self,
        catalog: str,
        data_path: str,
        *,
        read_only: bool = False,
        threads: int = 2,
        memory_mb: int | None = None,
        s3: S3Access | None = None,
        fenced: bool = False,
        spill_mb: int | None = None,
    ) -> None:
        """`fenced`: for what others write. It only reads, reaches no file but the lake's, and can't be
        configured.

        `spill_mb` bounds what DuckDB writes to its temporary directory; None: nine tenths of the free space.
        """
        kind, _, place = catalog.partition(":")
        if kind not in ("sqlite", "postgres"):
            raise ValueError(f"lake catalog {kind!r} is not known: sqlite:PATH and postgres:... are")
        self.is_sqlite = kind == "sqlite"
        self.read_only = read_only
        self._catalog = catalog
        self._data_path = data_path
        self._threads = threads
        self._memory_mb = memory_mb or (_READER_MEMORY_MB if read_only else _WRITER_MEMORY_MB)
        self._s3 = s3
        self._spill_mb = spill_mb
        self._fenced = fenced
        self._secrets = _passwords(catalog)
        self._session: duckdb.DuckDBPyConnection | None = None
        self._closing = threading.Lock()
        self._path = Path(place)
        self._lock = _lock(f"{place}.lock") if self.is_sqlite else None
        self._turn = _lock(f"{place}.turn") if self.is_sqlite else None

    @property
    def session(self) -> duckdb.DuckDBPyConnection:
        """The connection, opened at first use. Raises `StoreUnavailable`."""
        if self._session is None:
            self._session = self._open()
        return self._session

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A writing transaction, alone among all processes; rolled back on any error.

        Raises `StoreUnavailable`: nothing was written, unless the catalog's server was lost just as it
        committed.
        """
        with self._locked_file(), self.translated(), self._locked_server():
            connection = self.session
            connection.execute("BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._roll_back(connection)
                raise

    @contextmanager
    def alone(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection while no other process writes, without a transaction: for maintenance. Raises
        `StoreUnavailable`.

        On PostgreSQL it takes no lock: DuckLake itself sees that maintenance and writers do not undo each
        other.
        """
        with self._locked_file(), self.translated():
            yield self.session

    @contextmanager
    def translated(self, *, attached: bool = True) -> Iterator[None]:
        """Turn DuckDB's errors that may pass into `StoreUnavailable`, and begin with a new connection then.

        Where a file of the lake or its catalog is behind the error, it is a `LakeDamaged` that names it.
        Before the lake is `attached` its files are not known.
        """
        try:
            yield
        except duckdb.CatalogException as error:
            self._drop()
            raise StoreUnavailable(
                f"lake: {self._first_line(error)} Are its tables there? `exchange-platform migrate` makes them."
            ) from None
        except duckdb.Error as error:
            damage = self.damage_behind(error, attached=attached)
            if damage is not None:
                raise damage from None
            if not may_pass(error):
                if not isinstance(error, duckdb.DataError | duckdb.IntegrityError):
                    self._drop()  # a database that is invalidated answers nothing else any more
                raise
            self._drop()
            raise unavailable(f"lake: {self._first_line(error)}", error) from None

    def catalog_rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the catalog's own database, in its SQL: what DuckLake keeps there costs a tenth so."""
        function = "sqlite_query" if self.is_sqlite else "postgres_query"
        return self.session.execute(f"FROM {function}({_quoted(CATALOG)}, {_quoted(sql)})").fetchall()

    def files(self) -> list[LakeFile]:
        """The Parquet files of the newest snapshot, data files first. Raises `StoreUnavailable`."""
        return [
            file
            for statement in (DATA_FILES, DELETE_FILES)
            for file in files_of(self.catalog_rows(statement), self._data_path)
        ]

    @contextmanager
    def scratch(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB without the lake, to read single files: a damaged one can make a DuckDB refuse everything
        from then on.
        """
        connection = duckdb.connect(
            config={"threads": "1", "memory_limit": f"{self._memory_mb}MB", **lake_extensions.CONFIG}
        )
        try:
            if self._data_path.startswith("s3://"):
                lake_extensions.load(connection, "httpfs")
                if self._s3 is not None:
                    self._s3.grant(connection)
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()

    def damage_behind(self, error: duckdb.Error, *, attached: bool = True) -> LakeDamaged | None:
        """The damage that made DuckDB raise this error, if it was one. The connection is begun again then."""
        catalog = lake_damage.of_catalog(str(error), self._path if self.is_sqlite else None)
        if catalog is not None:
            self._drop()
            return catalog
        if not attached or not lake_damage.is_suspicious(error):
            return None
        self._drop()
        try:
            with self.scratch() as scratch:
                return lake_damage.of_files(scratch, self.files(), str(error))
        except (duckdb.Error, StoreUnavailable, OSError):
            return None  # the catalog does not answer either: the error stands for itself

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self._drop()

    @contextmanager
    def _locked_file(self) -> Iterator[None]:
        if self._lock is None or self._turn is None:
            yield
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Whoever waits holds the turn, so that a writer which has just finished does not come first
            # again.
            with self._turn.acquire(poll_interval=_LOCK_POLL_S):
                self._lock.acquire(poll_interval=_LOCK_POLL_S)
        except Timeout:
            raise StoreUnavailable(f"lake: another process writes since {LOCK_TIMEOUT_S:g} s") from None
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _locked_server(self) -> Iterator[None]:
        """PostgreSQL's lock, in a transaction beside the writing one: that one must begin after it and end
        before it.

        (In the same one, DuckDB would release it before DuckLake commits, and show what was there before the
        wait.)
        """
        if self.is_sqlite:
            yield
            return
        holder = self.session.cursor()
        try:
            holder.execute("BEGIN")
            lock = f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S:g}s'; SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"
            holder.execute(f"CALL postgres_execute({_quoted(CATALOG)}, {_quoted(lock)})")
            yield
        finally:
            holder.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self.is_sqlite and self.read_only and not self._path.exists():
            lake_damage.refuse_lost_catalog(self._path, self._data_path)
            raise StoreUnavailable(
                f"lake: there is no catalog {self._path}; `exchange-platform migrate` makes one"
            )
        if self.is_sqlite:
            lake_damage.refuse_lost_catalog(self._path, self._data_path)
        connection = duckdb.connect(
            config={
                "threads": str(self._threads),
                "memory_limit": f"{self._memory_mb}MB",
                "temp_directory": str(Path(tempfile.gettempdir()) / f"exchange-platform-lake-{uuid4().hex}"),
                # A consumer lives long beside other processes, and reads no file twice.
                "enable_external_file_cache": "true" if self.read_only else "false",
                **({} if self._spill_mb is None else {"max_temp_directory_size": f"{self._spill_mb}MB"}),
                **lake_extensions.CONFIG,
            }
        )
        try:
            with self.translated(attached=False):
                self._attach(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        on_s3 = self._data_path.startswith("s3://")
        lake_extensions.load(
            connection,
            "ducklake",
            "sqlite_scanner" if self.is_sqlite else "postgres_scanner",
            *(["httpfs"] if on_s3 else []),
        )
        if self.is_sqlite:
            # Each scanning thread has a SQLite connection of its own, outside the transaction: while files
            # are merged, it sees neither the old nor the new ones, and a table seems empty. One thread sees
            # one state, and is faster.
            connection.execute("SET GLOBAL sqlite_disable_multithreaded_scans = true")
        if on_s3 and self._s3 is not None:
            self._s3.grant(connection)
        # Small commits as Parquet files cost half of what rows in the catalog cost; Lake.commit keeps the
        # files few.
        options = [f"DATA_PATH {_quoted(self._data_path)}", "DATA_INLINING_ROW_LIMIT 0"]
        if self.is_sqlite:
            options.append("META_BUSY_TIMEOUT 10000")
            if Path(self._data_path).parent == self._path.parent:
                options.append("OVERRIDE_DATA_PATH true")  # the two were moved together
            if not self.read_only:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                options.append("META_JOURNAL_MODE 'WAL'")
        if not on_s3:
            Path(self._data_path).mkdir(parents=True, exist_ok=True)
        if self.read_only:
            options.append("READ_ONLY")
        catalog = f"{self._catalog}{_READS}" if self._fenced and not self.is_sqlite else self._catalog
        connection.execute(f"ATTACH {_quoted('ducklake:' + catalog)} AS lake ({', '.join(options)})")
        connection.execute("USE lake")
        connection.execute("SET TimeZone = 'UTC'")
        if self._fenced:
            self._fence(connection)

    def _fence(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Nothing but the lake's files can be opened from here on, and none of this undone."""
        folder = self._data_path if "://" in self._data_path else str(Path(self._data_path).absolute())
        connection.execute(f"SET allowed_directories = [{_quoted(folder.rstrip('/') + '/')}]")
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")

    def without_password(self, message: str) -> str:
        """The message without the catalog's password, however it is written there."""
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return without_password(message)

    def _first_line(self, error: BaseException) -> str:
        lines = self.without_password(str(error)).strip().splitlines()
        return lines[0] if lines else type(error).__name__

    def _roll_back(self, connection: duckdb.DuckDBPyConnection) -> None:
        try:
            connection.execute("ROLLBACK")
        except duckdb.Error:
            self._drop()

    def _drop(self) -> None:
        with self._closing:
            connection, self._session = self._session, None
        if connection is not None:
            connection.close()


def _lock(path: str) -> FileLock:
    return FileLock(path, timeout=LOCK_TIMEOUT_S, thread_local=False)


def may_pass(error: duckdb.Error) -> bool:
    """Whether the error is the catalog's or the storage's trouble rather than the statement's."""
    if isinstance(error, duckdb.IOException | duckdb.ConnectionException | duckdb.TransactionException):
        return True
    if isinstance(error, duckdb.ProgrammingError | duckdb.DataError | duckdb.NotSupportedError):
        return False
    return any(sign in str(error) for sign in _TRANSIENT)


def without_password(message: str) -> str:
    """The message with what a connection string in it says of passwords blanked out."""
    return _PASSWORD.sub(lambda match: f"{match[1] or match[3]}***", message)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _passwords(catalog: str) -> list[str]:
    """Each form in which the password of a connection string may stand in a message, the longest first."""
    quoted = [
        match[1] for match in re.finditer(r"password\s*=\s*'((?:[^'\\]|\\.)*)'", catalog, re.IGNORECASE)
    ]
    bare = [match[1] for match in re.finditer(r"password\s*=\s*([^\s']\S*)", catalog, re.IGNORECASE)]
    in_url = [match[1] for match in re.finditer(r"//[^:/@\s]*:(\S*)@", catalog)]
    written = [*quoted, *bare, *in_url]
    meant = [re.sub(r"\\(.)", r"\1", one) for one in written] + [unquote(one) for one in in_url]
    # libpq takes what follows an @ that should have been written %40 for the host, and names it.
    tails = [f"{part}@" for one in in_url for part in one.split("@")[1:] if part]
    return sorted({one for one in (*written, *meant, *tails) if one}, key=len, reverse=True)
