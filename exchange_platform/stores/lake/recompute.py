"""Computing a day's closed windows again from their executions, in short transactions. The SQL of a window is
windows.py's.

Which windows are wrong is found by reading, beside the writers. Only those are computed again under the write
lock, a bounded number at a time: so a day that is what it should be holds nobody up, and one that is wrong
throughout holds consumers up for moments. Each transaction leaves whole windows; one that is killed in
between has corrected some, and the next attempt finds the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import duckdb

from exchange_platform.stores.lake.connection import LakeConnection
from exchange_platform.stores.lake.rows import windows_batch
from exchange_platform.stores.lake.windows import (
    Recomputed,
    disagreeing,
    literal,
    recompute_windows,
    span,
)

MAX_ROWS_AT_ONCE = 1_000
"""Rows that one transaction corrects: some tenths of a second, while consumers wait for up to 10 s."""
_HOUR = timedelta(hours=1)
_HOUR_US = 3_600_000_000

Window = tuple[str, datetime]


def recompute(lake: LakeConnection, day: date) -> Recomputed:
    """Compute the day's (UTC) windows again, those that are open excepted. Idempotent: a row that is what it
    was keeps its revision.
    """
    begin = datetime.combine(day, time(), UTC)
    total = Recomputed(day, 0, 0, 0, 0)
    for hour in _hours(lake, begin):
        total = _plus(total, _recompute_hour(lake, day, hour))
    ((rows,),) = _read(lake, _counted(begin, begin + timedelta(days=1)))
    return Recomputed(day, rows, total.changed, total.added, total.removed)


def _recompute_hour(lake: LakeConnection, day: date, hour: datetime) -> Recomputed:
    total = Recomputed(day, 0, 0, 0, 0)
    while True:
        wrong = _read(lake, disagreeing(hour, hour + _HOUR, MAX_ROWS_AT_ONCE))
        windows = sorted({(market_id, start.astimezone(UTC)) for market_id, _, _, start in wrong})
        if not windows:
            return total
        with lake.write() as connection:
            done = _correct(connection, day, windows)
        total = _plus(total, done)
        if not (done.changed or done.added or done.removed):
            return total  # somebody else has corrected or opened them meanwhile


def _correct(connection: duckdb.DuckDBPyConnection, day: date, windows: Sequence[Window]) -> Recomputed:
    due = windows_batch(windows)  # noqa: F841 (DuckDB reads it by name)
    connection.execute("CREATE OR REPLACE TEMP TABLE due_windows AS SELECT * FROM due")
    starts = [start for _, start in windows]
    return recompute_windows(connection, day, min(starts), max(starts))


def _hours(lake: LakeConnection, begin: datetime) -> list[datetime]:
    """The hours of the day that have executions or windows: most of a long span of days have none."""
    until = begin + timedelta(days=1)
    hours = _read(
        lake,
        f"""
        SELECT make_timestamptz(hour * {_HOUR_US}) FROM (
            SELECT DISTINCT epoch_us(executed_at) // {_HOUR_US} AS hour FROM executions {span("executed_at", begin, until)}
            UNION SELECT DISTINCT epoch_us(window_start) // {_HOUR_US} FROM odds_windows {span("window_start", begin, until)}
        ) ORDER BY hour
        """,
    )
    return [hour.astimezone(UTC) for (hour,) in hours]


def _counted(begin: datetime, until: datetime) -> str:
    return (
        f"SELECT count(*) FROM odds_windows WHERE window_start >= {literal(begin)} AND window_start < {literal(until)}"
        " AND (market_id, window_start) NOT IN (SELECT (market_id, window_start) FROM open_windows)"
    )


def _read(lake: LakeConnection, sql: str) -> list[tuple[Any, ...]]:
    with lake.translated():
        return lake.session.execute(sql).fetchall()


def _plus(one: Recomputed, other: Recomputed) -> Recomputed:
    return Recomputed(
        one.day,
        one.rows + other.rows,
        one.changed + other.changed,
        one.added + other.added,
        one.removed + other.removed,
    )
