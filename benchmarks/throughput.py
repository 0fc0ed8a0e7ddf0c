"""Records in memory -> all sinks committed, one process, SQLite. Baseline: the same bytes inserted into one
bare table.

python -m benchmarks.throughput [--records N] [--runs N] [--users N]
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.stage import consume, emulator
from exchange_platform.domain.records import encode
from exchange_platform.process.clock import SYSTEM_CLOCK
from tests.support.memory_source import MemorySource
from tests.support.workload import matched_pairs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    data = [encode(record) for record in matched_pairs(arguments.records // 7, users=arguments.users)]
    ours, bare = [], []
    for run in range(arguments.runs):
        with tempfile.TemporaryDirectory() as directory, emulator(Path(directory)) as settings:
            source = MemorySource()
            now_us = SYSTEM_CLOCK.now_us()
            for entry in data:
                source.put(entry, arrived_at_us=now_us)
            ours.append(len(data) / consume(settings, source, len(data)))
            bare.append(_bare(Path(directory) / "bare.sqlite", data))
        print(f"run {run + 1}: {ours[-1]:,.0f} records/s, bare insert {bare[-1]:,.0f}/s")
    print(
        f"all sinks committed: median {statistics.median(ours):,.0f} records/s of {len(data):,} records, {arguments.users} users"
        f" | bare SQLite insert of the same bytes: {statistics.median(bare):,.0f}/s"
        f" | ratio {statistics.median(ours) / statistics.median(bare):.3f}"
    )


def _bare(path: Path, data: list[bytes]) -> float:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE records (number INTEGER PRIMARY KEY, data BLOB)")
    began = time.perf_counter()
    for start in range(0, len(data), 10_000):
        with connection:
            connection.executemany(
                "INSERT INTO records (data) VALUES (?)", [(entry,) for entry in data[start : start + 10_000]]
            )
    seconds = time.perf_counter() - began
    connection.close()
    return len(data) / seconds


if __name__ == "__main__":
    main()
