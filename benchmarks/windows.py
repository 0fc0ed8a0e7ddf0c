"""How fast windows are closed from the lake, beside a bare DuckDB group-by of the same Parquet files.

    python -m benchmarks.windows [--executions 5000000] [--runs 5]

Closing is what a consumer does: find the due windows, compute their rows from `executions`, write them to
`odds_windows` and take them from `open_windows`, in one DuckLake transaction. The target is 3,000,000
executions a second on 2 cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from benchmarks.lake_seed import lake_in, seed
from exchange_platform.stores.lake.connection import LakeConnection

TARGET = 3_000_000
_GROUPS = "market_id, selection_id, handicap, time_bucket(INTERVAL 5 MINUTE, executed_at)"
_BARE = f"""
    CREATE OR REPLACE TABLE bare AS
    SELECT {_GROUPS} AS window_start, count(*) AS executions, avg(odds) AS average_odds,
           sum(odds * stake) / sum(stake) AS vwap, min(odds) AS min_odds, max(odds) AS max_odds,
           arg_min(odds, executed_at) AS open_odds, arg_max(odds, executed_at) AS close_odds, sum(stake) AS stake
    FROM read_parquet($files) GROUP BY {_GROUPS}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--executions", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        measure(Path(directory), given.executions, given.runs, given.threads)


def measure(directory: Path, executions: int, runs: int, threads: int) -> None:
    """Print both rates, their ratio, and whether the rows agree with the live ones."""
    connection = seed(directory, executions=executions, threads=threads)
    lake = lake_in(directory, threads=threads)
    lake.claim("benchmark", 1, ["shard-0"])
    closings, bare = [], []
    files = [str(path) for path in (directory / "data" / "main" / "executions").glob("*.parquet")]
    plain = duckdb.connect(config={"threads": str(threads)})
    plain.execute("SET TimeZone = 'UTC'")
    for _ in range(runs):
        _open_all(connection)
        due = lake.open_windows(refresh=True)
        passed = dict.fromkeys(market for market, _ in due)
        closings.append(_seconds(lambda passed=passed: lake.close_windows("benchmark", 1, passed)))  # type: ignore[misc]
        bare.append(_seconds(lambda: plain.execute(_BARE, {"files": files})))
    closing_s, bare_s = statistics.median(closings), statistics.median(bare)
    wrong = len(lake.disagreeing_windows())
    print(
        f"{executions:,} executions, {lake.counts().closed_windows:,} windows, {threads} threads, {runs} runs, medians"
    )
    print(f"closing from the lake   {executions / closing_s:>12,.0f} executions/s   {closing_s:.2f} s")
    print(f"bare DuckDB group-by    {executions / bare_s:>12,.0f} executions/s   {bare_s:.2f} s")
    print(f"closing takes {closing_s / bare_s:.2f} times the bare group-by; target {TARGET:,}: ", end="")
    print("met" if executions / closing_s >= TARGET else "MISSED")
    print(f"{wrong} windows disagree with their executions")
    plain.close()
    lake.close()
    connection.close()


def _open_all(connection: LakeConnection) -> None:
    with connection.write() as session:
        session.execute("DELETE FROM odds_windows")
        session.execute("DELETE FROM open_windows")
        session.execute(
            "INSERT INTO open_windows SELECT DISTINCT market_id, time_bucket(INTERVAL 5 MINUTE, executed_at) FROM executions"
        )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
