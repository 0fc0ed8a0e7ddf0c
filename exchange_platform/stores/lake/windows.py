"""The odds windows' SQL: live, closed, recomputed. Each window's row is a function of its executions alone,
whatever their order.

Not here: which windows are due (windows.py) and the lake's other tables (lake.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import duckdb

from exchange_platform.domain.windows import WINDOW
from exchange_platform.stores.lake.rows import windows_batch

__all__ = [
    "HOURS",
    "LIVE",
    "ClosedDay",
    "Recomputed",
    "close",
    "disagreeing",
    "disputed",
    "has_passed",
    "literal",
    "of_markets",
    "recompute_windows",
    "span",
]

_WINDOW_US = WINDOW // timedelta(microseconds=1)
# Grouping by a window's number since 1970, when a UTC hour began, is a quarter faster than by time_bucket().
_NUMBER = f"epoch_us(executed_at) // {_WINDOW_US}"
_START = f"make_timestamptz(number * {_WINDOW_US})"

# Sums are exact decimals and divided once, so that no order of rows can change a digit. The stake is widened
# first: the largest that a record may carry, times its odds, does not fit into 18 digits, and one overflow
# would stop every window of the closing.
_COLUMNS = """
    count(*) AS executions,
    sum(odds)::DOUBLE / count(*) AS average_odds,
    sum(odds * stake::DECIMAL(28, 3))::DOUBLE / sum(stake)::DOUBLE AS vwap,
    min(odds) AS min_odds,
    max(odds) AS max_odds,
    arg_min(odds, (executed_at, execution_id)) AS open_odds,
    arg_max(odds, (executed_at, execution_id)) AS close_odds,
    sum(stake) AS stake
"""


def _computed(where: str = "", only: str = "") -> str:
    """SQL of the windows' rows: from executions `where` so, `only` those that a join on (market_id, number)
    leaves.
    """
    return f"""
    SELECT market_id, selection_id, handicap, {_START} AS window_start, {_COLUMNS}
    FROM (SELECT *, {_NUMBER} AS number FROM executions {where}) numbered {only}
    GROUP BY market_id, selection_id, handicap, number
    """


LIVE = f"SELECT *, false AS final, 0::BIGINT AS revision FROM ({_computed()})"

_HOUR_US = 3_600_000_000
# By the windows, which are few: an execution is in one that is closed or in one that is open.
HOURS = f"""
    SELECT make_timestamptz(hour * {_HOUR_US}) FROM (
        SELECT DISTINCT epoch_us(window_start) // {_HOUR_US} AS hour FROM odds_windows
        UNION SELECT DISTINCT epoch_us(window_start) // {_HOUR_US} FROM open_windows) ORDER BY hour
"""

_GAP = timedelta(hours=1)
_MAX_PARTS = 8
_KEY = ("market_id", "selection_id", "handicap", "window_start")
_VALUES = (
    "executions",
    "average_odds",
    "vwap",
    "min_odds",
    "max_odds",
    "open_odds",
    "close_odds",
    "stake",
)


def _same_key(left: str, right: str) -> str:
    return " AND ".join(f"{left}.{name} = {right}.{name}" for name in _KEY)


def _same_values(left: str, right: str) -> str:
    return " AND ".join(f"{left}.{name} = {right}.{name}" for name in _VALUES)


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """Windows closed in one UTC day: rows written for the first time, and rows that changed again."""

    day: date
    closed: int
    reopened: int


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A day's windows after recomputation: how many, how many of them are not what they were, how many had no
    row or lost theirs.
    """

    day: date
    rows: int
    changed: int
    added: int
    removed: int


def has_passed(window: tuple[str, datetime], passed: Mapping[str, datetime | None]) -> bool:
    """Whether the window's end lies at or before the instant up to which its market has passed."""
    market_id, start = window
    if market_id not in passed:
        return False
    upto = passed[market_id]
    return upto is None or start + WINDOW <= upto


def close(connection: duckdb.DuckDBPyConnection, due: Sequence[tuple[str, datetime]]) -> list[ClosedDay]:
    """Write the rows of these (market, window start) and take them from the open ones, in the caller's
    transaction.
    """
    days: dict[date, ClosedDay] = {}
    for part in _near_each_other(due):
        for done in _close_part(connection, part):
            known = days.get(done.day, ClosedDay(done.day, 0, 0))
            days[done.day] = ClosedDay(done.day, known.closed + done.closed, known.reopened + done.reopened)
    return [days[day] for day in sorted(days)]


def _close_part(
    connection: duckdb.DuckDBPyConnection, due: Sequence[tuple[str, datetime]]
) -> list[ClosedDay]:
    earliest, latest = due[0][1], due[-1][1]
    closing = windows_batch(due)  # noqa: F841 (DuckDB reads it by name)
    connection.execute("CREATE OR REPLACE TEMP TABLE due_windows AS SELECT * FROM closing")
    computed = _computed(
        f"WHERE executed_at >= {literal(earliest)} AND executed_at < {literal(latest + WINDOW)}",
        "SEMI JOIN temp.due_windows due USING (market_id, number)",
    )
    days = _write(connection, computed, earliest, latest + WINDOW)
    connection.execute(
        "DELETE FROM open_windows WHERE (market_id, window_start) IN"
        " (SELECT (market_id, window_start) FROM temp.due_windows)"
    )
    return days


def _near_each_other(due: Sequence[tuple[str, datetime]]) -> list[list[tuple[str, datetime]]]:
    """The windows by time, apart where hours lie between them: one late execution must not have days of
    others read.
    """
    ordered = sorted(due, key=lambda window: (window[1], window[0]))
    gap = _GAP
    while True:
        parts = [[ordered[0]]]
        for window in ordered[1:]:
            if window[1] - parts[-1][-1][1] > gap:
                parts.append([])
            parts[-1].append(window)
        if len(parts) <= _MAX_PARTS:
            return parts
        gap *= 2


def recompute_windows(
    connection: duckdb.DuckDBPyConnection, day: date, earliest: datetime, latest: datetime
) -> Recomputed:
    """Compute the day's windows in the temporary table `due_windows` again, which start from `earliest` to
    `latest`, in the caller's transaction.

    Those that are open by now are left to whoever closes them.
    """
    connection.execute(
        "DELETE FROM temp.due_windows WHERE (market_id, window_start) IN (SELECT (market_id, window_start) FROM open_windows)"
    )
    until = latest + WINDOW
    computed = _computed(
        f"WHERE executed_at >= {literal(earliest)} AND executed_at < {literal(until)}",
        "SEMI JOIN temp.due_windows due USING (market_id, number)",
    )
    days = _write(connection, computed, earliest, until)
    removed = connection.execute(
        f"""
        DELETE FROM odds_windows w WHERE w.window_start >= {literal(earliest)} AND w.window_start < {literal(until)}
        AND (w.market_id, w.window_start) IN (SELECT (market_id, window_start) FROM temp.due_windows)
        AND NOT EXISTS (SELECT 1 FROM temp.computed_windows c WHERE {_same_key("w", "c")})
        """
    ).fetchone()
    (rows,) = connection.execute("SELECT count(*) FROM temp.computed_windows").fetchone() or (0,)
    return Recomputed(
        day,
        rows,
        sum(entry.reopened for entry in days),
        sum(entry.closed for entry in days),
        int(removed[0]) if removed else 0,
    )


def disagreeing(since: datetime | None, until: datetime | None, limit: int) -> str:
    """SQL that finds closed windows, not open again, that start in that span and whose row is not what their
    executions give.
    """
    after, rows_after = span("executed_at", since, until), span("window_start", since, until)
    return f"""
    SELECT coalesce(w.market_id, l.market_id), coalesce(w.selection_id, l.selection_id),
           coalesce(w.handicap, l.handicap), coalesce(w.window_start, l.window_start)
    FROM (SELECT * FROM odds_windows {rows_after}) w
    FULL JOIN ({_computed(after)}) l ON {_same_key("w", "l")}
    WHERE (coalesce(w.market_id, l.market_id), coalesce(w.window_start, l.window_start))
          NOT IN (SELECT (market_id, window_start) FROM open_windows)
      AND (w.market_id IS NULL OR l.market_id IS NULL OR NOT ({_same_values("w", "l")}))
    LIMIT {limit:d}
    """


def disputed(since: datetime | None, until: datetime | None) -> str:
    """SQL of the (market, window start) of that span, windows' bounds, that are not open and whose executions
    give a row that is not there.

    A closed row that more executions gave than there are now is not disputed.
    """
    after, rows_after = span("executed_at", since, until), span("window_start", since, until)
    return f"""
    SELECT DISTINCT l.market_id, l.window_start
    FROM ({_computed(after)}) l LEFT JOIN (SELECT * FROM odds_windows {rows_after}) w ON {_same_key("w", "l")}
    WHERE (l.market_id, l.window_start) NOT IN (SELECT (market_id, window_start) FROM open_windows)
      AND (w.market_id IS NULL OR (l.executions >= w.executions AND NOT ({_same_values("w", "l")})))
    """


def span(column: str, since: datetime | None, until: datetime | None) -> str:
    """A WHERE of the rows from one instant up to before another (None: no bound); empty where there is
    neither.
    """
    bounds = [
        f"{column} {comparison} {literal(bound)}"
        for comparison, bound in ((">=", since), ("<", until))
        if bound is not None
    ]
    return f"WHERE {' AND '.join(bounds)}" if bounds else ""


def of_markets(since: datetime, until: datetime, live: tuple[datetime, datetime] | None) -> str:
    """SQL of the windows of some markets, closed and open ones together, newest first.

    Parameters: `$markets`, each one's `$since` and `$until` (starts in `[since, until)`, all of them within
    the two arguments), `$selection` or NULL, and the `$most` rows. `live` is the span in which windows of
    theirs are open; None: there are none. An open window has `final` false and the revision of its closed
    row, if it has one.
    """
    wanted = "JOIN wanted USING (market_id)"
    within = "window_start >= since AND window_start < until"
    selected = "($selection IS NULL OR selection_id = $selection)"
    closed = f"""
        SELECT {", ".join(_KEY)}, {", ".join(_VALUES)}, true AS final, revision FROM odds_windows {wanted}
        WHERE window_start >= {literal(since)} AND window_start < {literal(until)} AND {within} AND {selected}
    """
    with_wanted = """
    WITH wanted AS (SELECT unnest($markets) AS market_id, unnest($since) AS since, unnest($until) AS until)
    """
    if live is None:
        return (
            f"{with_wanted} {closed} ORDER BY window_start DESC, selection_id DESC, handicap DESC LIMIT $most"
        )
    begin, end = live
    computed = _computed(
        f"{wanted} WHERE executed_at >= {literal(begin)} AND executed_at < {literal(end)} AND {selected}",
        "SEMI JOIN waiting USING (market_id, number)",
    )
    return f"""{with_wanted},
    waiting AS (
        SELECT DISTINCT market_id, window_start, epoch_us(window_start) // {_WINDOW_US} AS number
        FROM open_windows {wanted} WHERE {within}),
    closed AS ({closed})
    SELECT * FROM closed ANTI JOIN waiting USING (market_id, window_start)
    UNION ALL
    SELECT {", ".join(f"live.{name}" for name in (*_KEY, *_VALUES))}, false, coalesce(closed.revision, 0)
    FROM ({computed}) live LEFT JOIN closed ON {_same_key("live", "closed")}
    ORDER BY window_start DESC, selection_id DESC, handicap DESC LIMIT $most
    """


def _write(
    connection: duckdb.DuckDBPyConnection, computed: str, begin: datetime, end: datetime
) -> list[ClosedDay]:
    """Write those of the computed windows, all of that span, that are new or changed."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE computed_windows AS {computed}")
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE changed_windows AS
        SELECT c.*, w.revision AS known FROM temp.computed_windows c
        LEFT JOIN (SELECT * FROM odds_windows WHERE window_start >= {literal(begin)} AND window_start < {literal(end)}) w
        ON {_same_key("w", "c")}
        WHERE w.revision IS NULL OR NOT ({_same_values("w", "c")})
        """
    )
    counted = connection.execute(
        """
        SELECT (window_start AT TIME ZONE 'UTC')::DATE, count(*) FILTER (known IS NULL), count(known)
        FROM temp.changed_windows GROUP BY 1 ORDER BY 1
        """
    ).fetchall()
    if any(reopened for _, _, reopened in counted):
        connection.execute(
            f"""
            DELETE FROM odds_windows w WHERE w.window_start >= {literal(begin)} AND w.window_start < {literal(end)}
            AND EXISTS (SELECT 1 FROM temp.changed_windows c WHERE c.known IS NOT NULL AND {_same_key("w", "c")})
            """
        )
    if counted:
        connection.execute(
            f"""
            INSERT INTO odds_windows BY NAME
            SELECT {", ".join(_KEY)}, {", ".join(_VALUES)}, true AS final, coalesce(known, 0) + 1 AS revision
            FROM temp.changed_windows
            ORDER BY window_start, market_id, selection_id, handicap
            """
        )
    return [ClosedDay(day, closed, reopened) for day, closed, reopened in counted]


def literal(instant: datetime) -> str:
    """The instant as SQL. A literal, not a parameter: files are pruned when the statement is planned."""
    return f"TIMESTAMPTZ '{instant.astimezone(UTC).isoformat()}'"
