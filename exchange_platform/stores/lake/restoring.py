"""Adding rows that a lake lost, and opening the windows that have to be computed again. Where the rows come
from is restoring.py's.

Every call is one transaction that adds only what is not there, so any of them may be repeated, and
interrupted between two.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import duckdb

from exchange_platform.domain.bets import Bet
from exchange_platform.domain.records import Execution
from exchange_platform.domain.windows import WINDOW
from exchange_platform.stores.lake.connection import LakeConnection
from exchange_platform.stores.lake.rows import Batch, bets_batch, executions_batch
from exchange_platform.stores.lake.windows import disputed

_KEYS = {
    "executions": (("execution_id",), "executed_at"),
    "bet_history": (("bet_id", "version"), "updated_at"),
}


def add_missing(lake: LakeConnection, executions: Sequence[Execution], bets: Sequence[Bet]) -> int:
    """Add those that the lake does not have, by their ids, and open no window; returns how many were
    added.
    """
    added = 0
    with lake.write() as connection:
        if executions:
            newest = list({one.execution_id: one for one in executions}.values())
            added += _insert_batch(connection, "executions", executions_batch(newest))
        if bets:
            versions = list({(one.bet_id, one.version): one for one in bets}.values())
            added += _insert_batch(connection, "bet_history", bets_batch(versions))
    return added


def add_missing_from_file(lake: LakeConnection, table: str, path: str) -> int:
    """Add a Parquet file's rows that the table does not have; returns how many. Raises DuckDB's error, or a
    `LakeDamaged`, where it can't be read.
    """
    place = "'" + path.replace("'", "''") + "'"
    with lake.write() as connection:
        return _insert(connection, table, f"read_parquet({place})")


def reopen(lake: LakeConnection, since: datetime | None, until: datetime | None) -> int:
    """Open the windows of that span that have no closed row, or one that fewer executions gave; returns how
    many were opened.

    A closed row that more executions gave than there are now stays as it is: it is all that is left of them.
    """
    begin = None if since is None else _window_of(since)
    end = None if until is None else _window_of(until) + WINDOW
    with lake.write() as connection:
        found = connection.execute(f"INSERT INTO open_windows {disputed(begin, end)}").fetchone()
    return int(found[0]) if found else 0


def _insert_batch(connection: duckdb.DuckDBPyConnection, table: str, batch: Batch) -> int:
    connection.register("lost_rows", batch)
    try:
        return _insert(connection, table, "lost_rows")
    finally:
        connection.unregister("lost_rows")


def _insert(connection: duckdb.DuckDBPyConnection, table: str, source: str) -> int:
    keys, time = _KEYS[table]
    bounds = connection.execute(f"SELECT min({time}), max({time}) FROM {source}").fetchone()
    if bounds is None or bounds[0] is None:
        return 0
    since, until = (f"TIMESTAMPTZ '{bound.isoformat()}'" for bound in bounds)
    same = " AND ".join(f"stored.{name} = lost.{name}" for name in keys)
    found = connection.execute(
        f"INSERT INTO {table} BY NAME SELECT * FROM {source} lost WHERE NOT EXISTS ("
        f"SELECT 1 FROM {table} stored WHERE {same} AND stored.{time} BETWEEN {since} AND {until})"
    ).fetchone()
    return int(found[0]) if found else 0


def _window_of(instant: datetime) -> datetime:
    return instant - timedelta(seconds=instant.timestamp() % WINDOW.total_seconds())
