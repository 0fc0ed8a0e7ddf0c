"""How long an analyst waits while the lake is written: queries from a second process, and the commits
meanwhile.

    python -m benchmarks.lake_reads [--queries 1000] [--stored 5000000] [--records 500]

This process commits `--records` records every 0.5 s, as a consumer does, into a lake that already holds
`--stored` executions and as many bets, and does maintenance once a minute; another one queries. The target is
a median under 100 ms and no error. Beside it stands the same without anybody writing.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import tempfile
import threading
import time
from datetime import timedelta
from multiprocessing.pool import Pool
from pathlib import Path

from benchmarks.lake_seed import lake_in, seed
from exchange_platform.domain.records import Execution
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.lake import Lake
from tests.support.workload import START, matched_pairs

TARGET_MS = 100
INTERVAL_S = 0.5
_MAINTAIN_EVERY = 120
_RECENT = (START - timedelta(minutes=5)).isoformat()
QUESTIONS = {
    "executions, counted": "SELECT count(*) FROM executions",
    "checkpoint of a source": "SELECT shard, position FROM checkpoints",
    "latest 20 executions": f"SELECT * FROM executions WHERE executed_at >= '{_RECENT}' ORDER BY executed_at DESC LIMIT 20",
    "live windows, newest": f"SELECT * FROM odds_windows_live WHERE window_start >= '{_RECENT}'",
    "closed windows": "SELECT count(*), max(revision) FROM odds_windows",
    "stake by market, recent": f"SELECT market_id, sum(stake) FROM executions WHERE executed_at >= '{_RECENT}' GROUP BY 1",
}


def ask(directory: Path, queries: int) -> list[tuple[str, float]]:
    """Ask every question in turn through one read-only connection; which, and how long it took, in ms."""
    lake = lake_in(directory, read_only=True)
    lake.query("SELECT 1")
    taken = []
    for name, sql in itertools.islice(itertools.cycle(QUESTIONS.items()), queries):
        began = time.perf_counter()
        lake.query(sql)
        taken.append((name, 1000 * (time.perf_counter() - began)))
    lake.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--stored", type=int, default=5_000_000)
    parser.add_argument("--records", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, multiprocessing.get_context("spawn").Pool(1) as pool:
        directory = Path(place)
        seed(directory, executions=given.stored, bets=given.stored).close()
        print(f"{given.stored:,} executions and as many bets stored, {given.queries:,} queries")
        _tell("nobody writes", pool.apply(ask, (directory, given.queries)))
        commits = _write_while(pool, directory, given.queries, given.records)
        print(
            f"{len(commits)} commits of {given.records} records meanwhile: median {statistics.median(commits):.0f} ms,"
            f" p99 {_p99(commits):.0f} ms"
        )


def _write_while(pool: Pool, directory: Path, queries: int, records: int) -> list[float]:
    lake = lake_in(directory)
    stream = matched_pairs(10**9, step=timedelta(milliseconds=7))
    position = lake.claim("benchmark", 1, ["shard-0"])["shard-0"]
    answer = pool.apply_async(ask, (directory, queries))
    maintenance: threading.Thread | None = None
    never = threading.Event()
    commits: list[float] = []
    while not answer.ready():
        batch = list(itertools.islice(stream, records))
        following = f"{len(commits) + 1:012d}"
        executions = [record for record in batch if isinstance(record, Execution)]
        bets = [record for record in batch if not isinstance(record, Execution)]
        began = time.perf_counter()
        lake.commit("benchmark", 1, [Advance("shard-0", position, following)], executions, bets)
        commits.append(1000 * (time.perf_counter() - began))
        position = following
        if len(commits) % _MAINTAIN_EVERY == _MAINTAIN_EVERY // 4:
            maintenance = threading.Thread(target=_maintain, args=(directory,))
            maintenance.start()
        never.wait(max(0.0, INTERVAL_S - (time.perf_counter() - began)))
    _tell("while the lake is written", answer.get())
    if maintenance is not None:
        maintenance.join()
    lake.close()
    return commits


def _maintain(directory: Path) -> None:
    lake: Lake = lake_in(directory)
    lake.maintain()
    lake.close()


def _tell(title: str, taken: list[tuple[str, float]]) -> None:
    every = [ms for _, ms in taken]
    verdict = "met" if statistics.median(every) < TARGET_MS else "MISSED"
    print(
        f"{title}: median {statistics.median(every):.0f} ms (target {TARGET_MS}: {verdict}),"
        f" p99 {_p99(every):.0f} ms, longest {max(every):.0f} ms, errors 0"
    )
    for name in QUESTIONS:
        print(f"  {name:<26} median {statistics.median(ms for asked, ms in taken if asked == name):6.1f} ms")


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


if __name__ == "__main__":
    main()
