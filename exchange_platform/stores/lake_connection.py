"""Attaching the lake: DuckDB, its extensions, the catalog, and one writer at a time. Not here: tables and statements (lake.py)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from duckdb_extensions import import_extension
from filelock import FileLock, Timeout

from exchange_platform.stores.checkpoints import StoreUnavailable

LOCK_TIMEOUT_S = 10.0
_RETRIED = (
    "database is locked",
    "disk I/O error",
    "Transaction conflict",
    "could not connect",
    "connection to server",
    "server closed the connection",
    "No space left",
    "Could not set lock",
    "Connection refused",
    "HTTP",
)


class LakeConnection:
    """One DuckDB that has the lake attached as `lake`. For one thread at a time.

    On a SQLite catalog, two processes that write at once fail instead of waiting, so each writing transaction holds a file lock; it is the
    kernel's, so a killed process leaves none behind. On PostgreSQL an advisory lock in the catalog does the same.
    """

    def __init__(self, catalog: str, data_path: str, *, read_only: bool = False, threads: int = 2) -> None:
        self.read_only = read_only
        self._catalog = catalog
        self._data_path = data_path
        self._threads = threads
        self._session: duckdb.DuckDBPyConnection | None = None
        self._closing = threading.Lock()
        kind, _, place = catalog.partition(":")
        if kind not in ("sqlite", "postgres"):
            raise ValueError(f"lake catalog {kind!r} is not known: sqlite:PATH and postgres:... are")
        self.is_sqlite = kind == "sqlite"
        self._lock: FileLock | None = None
        if self.is_sqlite:
            self._path = Path(place)
            self._lock = FileLock(f"{place}.lock", timeout=LOCK_TIMEOUT_S, thread_local=False)

    @property
    def session(self) -> duckdb.DuckDBPyConnection:
        """The connection, opened at first use. Raises `StoreUnavailable`."""
        if self._session is None:
            self._session = self._open()
        return self._session

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A writing transaction, alone among all processes; rolled back on any error. Raises `StoreUnavailable`."""
        with self._alone():
            connection = self.session
            with self.translated():
                connection.execute("BEGIN")
                if not self.is_sqlite:
                    connection.execute(
                        "SELECT * FROM postgres_query('__ducklake_metadata_lake', 'SELECT pg_advisory_xact_lock(7214)')"
                    )
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    self._roll_back(connection)
                    raise

    @contextmanager
    def alone(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection while no other process writes, without a transaction: for maintenance calls. Raises `StoreUnavailable`."""
        with self._alone(), self.translated():
            yield self.session

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn DuckDB's errors that may pass into `StoreUnavailable`, and begin with a new connection then."""
        try:
            yield
        except (duckdb.IOException, duckdb.ConnectionException, duckdb.TransactionException) as error:
            self._drop()
            raise StoreUnavailable(f"lake: {_first_line(error)}") from error
        except duckdb.Error as error:
            if any(sign in str(error) for sign in _RETRIED):
                self._drop()
                raise StoreUnavailable(f"lake: {_first_line(error)}") from error
            raise

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self._drop()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._lock is None:
            yield
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._lock:
                yield
        except Timeout as error:
            raise StoreUnavailable(f"lake: another process writes since {LOCK_TIMEOUT_S:g} s") from error

    def _open(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(
            config={
                "threads": str(self._threads),
                "autoload_known_extensions": "false",
                "autoinstall_known_extensions": "false",
            }
        )
        with self.translated():
            needed = ["ducklake", "sqlite_scanner" if self.is_sqlite else "postgres_scanner"]
            if self._data_path.startswith("s3://"):
                needed.append("httpfs")
            for extension in needed:
                import_extension(extension, con=connection)
                connection.execute(f"LOAD {extension}")
            options: dict[str, Any] = {"DATA_PATH": self._data_path, "DATA_INLINING_ROW_LIMIT": 100}
            if self.is_sqlite:
                if self.read_only and not self._path.exists():
                    raise StoreUnavailable(
                        f"lake: there is no catalog {self._path}; `exchange-platform migrate` makes one"
                    )
                self._path.parent.mkdir(parents=True, exist_ok=True)
                Path(self._data_path).mkdir(parents=True, exist_ok=True)
                options |= {"META_BUSY_TIMEOUT": 10_000}
                if not self.read_only:
                    options |= {"META_JOURNAL_MODE": "WAL"}
            listed = ", ".join(
                f"{name} {_quoted(value) if isinstance(value, str) else value}"
                for name, value in options.items()
            )
            mode = ", READ_ONLY" if self.read_only else ""
            connection.execute(f"ATTACH {_quoted('ducklake:' + self._catalog)} AS lake ({listed}{mode})")
            connection.execute("USE lake")
            connection.execute("SET TimeZone = 'UTC'")
        return connection

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


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
