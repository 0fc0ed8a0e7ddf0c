"""The lake against the exchange: each execution and each version of each bet, once; and the odds windows that
follow from the executions.
"""

from __future__ import annotations

import importlib.util
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from tests.faults.audit.expected import Expected
from tests.faults.audit.findings import Finding, differences
from tests.faults.audit.records import BET_FIELDS, EXECUTION_FIELDS, Bet, Execution, of_columns

STORE = "lake"
_WINDOW_US = 300 * 1_000_000


@contextmanager
def opened(data_dir: Path, *, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """The lake, as any analyst's DuckDB attaches it; writable for those alone who damage it for a test."""
    # Checking the extensions' signatures takes 0.2 s each; the platform has done it with the same files.
    with duckdb.connect(
        config={"autoinstall_known_extensions": "false", "allow_unsigned_extensions": "true", "threads": "1"}
    ) as connection:
        for name in ("ducklake", "sqlite_scanner"):
            wheel = importlib.util.find_spec(f"duckdb_extension_{name}")
            assert wheel is not None
            assert wheel.origin is not None
            file = (
                Path(wheel.origin).parent
                / "extensions"
                / f"v{duckdb.__version__}"
                / f"{name}.duckdb_extension"
            )
            connection.execute(f"LOAD '{file}'")
        connection.execute("SET GLOBAL sqlite_disable_multithreaded_scans = true")
        access = ", READ_ONLY" if read_only else ""
        connection.execute(
            f"ATTACH 'ducklake:sqlite:{data_dir}/lake/catalog.sqlite' AS lake"
            f" (DATA_PATH '{data_dir}/lake/data', OVERRIDE_DATA_PATH true{access})"
        )
        connection.execute("USE lake")
        yield connection


def counts(data_dir: Path) -> tuple[int, int]:
    """How many executions and bet versions the lake has."""
    with opened(data_dir) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM executions), (SELECT count(*) FROM bet_history)"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def executions(connection: duckdb.DuckDBPyConnection, expected: Expected) -> Iterator[Finding]:
    """Each execution once, alike in every column."""
    rows = _rows(connection, "SELECT *, epoch_us(executed_at) AS executed_at_us FROM executions")
    stored = [of_columns(Execution, row) for row in rows]
    for execution_id, count in Counter(one.execution_id for one in stored).items():
        if count > 1:
            yield Finding(STORE, "an execution is there more than once", execution_id, f"{count} times")
    by_id: dict[str, Execution] = {one.execution_id: one for one in stored}
    for execution_id, execution in expected.executions.items():
        found = by_id.pop(execution_id, None)
        if found is None:
            yield Finding(STORE, "an execution is missing", execution_id, f"stake {execution.stake}")
        elif differs := differences(execution, found, EXECUTION_FIELDS):
            yield Finding(STORE, "an execution differs", execution_id, differs)
    for execution_id in by_id:
        yield Finding(STORE, "an execution that the exchange does not have", execution_id)


def bet_history(connection: duckdb.DuckDBPyConnection, expected: Expected) -> Iterator[Finding]:
    """Each version of each bet that the exchange published, once, alike in every column."""
    rows = _rows(
        connection,
        "SELECT *, epoch_us(placed_at) AS placed_at_us, epoch_us(updated_at) AS updated_at_us FROM bet_history",
    )
    stored = [of_columns(Bet, row) for row in rows]
    for (bet_id, version), count in Counter((one.bet_id, one.version) for one in stored).items():
        if count > 1:
            yield Finding(STORE, "a bet's version is there more than once", f"bet {bet_id} version {version}")
    by_key: dict[tuple[str, int], Bet] = {(one.bet_id, one.version): one for one in stored}
    for bet_id, versions in expected.told.bets.items():
        for version, bet in versions.items():
            name = f"bet {bet_id} version {version}"
            found = by_key.pop((bet_id, version), None)
            if found is None:
                yield Finding(STORE, "a bet's version is missing", name, bet.status)
            elif differs := differences(bet, found, BET_FIELDS):
                yield Finding(STORE, "a bet's version differs", name, differs)
    for bet_id, version in by_key:
        yield Finding(
            STORE, "a bet's version that the exchange does not have", f"bet {bet_id} version {version}"
        )


def windows(connection: duckdb.DuckDBPyConnection, expected: Expected) -> Iterator[Finding]:
    """Each closed window's row is what its executions give; a window without a row is still open."""
    wanted = _windows(expected)
    still_open = {
        (row["market_id"], row["start_us"])
        for row in _rows(connection, "SELECT market_id, epoch_us(window_start) AS start_us FROM open_windows")
    }
    rows = _rows(connection, "SELECT *, epoch_us(window_start) AS start_us FROM odds_windows")
    for row in rows:
        key = (row["market_id"], row["selection_id"], row["handicap"], row["start_us"])
        values = wanted.pop(key, None)
        found = {name: row[name] for name in values or {}}
        if (row["market_id"], row["start_us"]) not in still_open and found != values:
            yield Finding(STORE, "a window", " ".join(map(str, key)), f"is {found}, should be {values}")
        if values is None:
            yield Finding(STORE, "a window without executions", " ".join(map(str, key)))
    for key in wanted:
        if (key[0], key[3]) not in still_open:
            yield Finding(STORE, "a window is missing", " ".join(map(str, key)))


def _windows(expected: Expected) -> dict[tuple[str, int, Decimal, int], dict[str, Any]]:
    grouped: dict[tuple[str, int, Decimal, int], list[Execution]] = defaultdict(list)
    for one in expected.executions.values():
        start_us = one.executed_at_us // _WINDOW_US * _WINDOW_US
        grouped[one.market_id, one.selection_id, one.handicap, start_us].append(one)
    windows: dict[tuple[str, int, Decimal, int], dict[str, Any]] = {}
    for key, some in grouped.items():
        some.sort(key=lambda one: (one.executed_at_us, one.execution_id))
        odds = [one.odds for one in some]
        windows[key] = {
            "executions": len(some),
            "min_odds": min(odds),
            "max_odds": max(odds),
            "open_odds": odds[0],
            "close_odds": odds[-1],
            "stake": sum(one.stake for one in some),
            "average_odds": float(sum(odds)) / len(odds),
            "vwap": float(sum(one.odds * one.stake for one in some)) / float(sum(one.stake for one in some)),
        }
    return windows


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    # An instant with its zone would want pytz: only its microseconds are asked for.
    answer = connection.execute(
        f"SELECT COLUMNS(name -> name NOT IN ('placed_at', 'updated_at', 'executed_at', 'window_start')) FROM ({query})"
    )
    names = [column[0] for column in answer.description or ()]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
