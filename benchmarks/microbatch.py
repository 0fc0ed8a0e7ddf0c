"""What a micro-batch costs with many bets stored, against the same with few. python -m benchmarks.microbatch
[--bets N]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from exchange_platform.domain.records import BetUpdate
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.database import Database, metadata
from tests.support.workload import matched_pairs

FEW = 50_000
_FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
INSERT INTO bets SELECT
  printf('old%010d', n), 3, printf('user-%05d', abs(random()) % 20000), 'e1', printf('0.%04d', n % 1000), 1, '0',
  'back', '2', 'GBP', 1000, 1000, 0, 0, 0, 0, 1000, 'SETTLED', 'lost', -1000, 0, NULL, 1, 3, 1700000000000000 + n, 1700000000000000 + n
FROM numbers
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bets", type=int, default=5_000_000)
    parser.add_argument("--batch", type=int, default=1000, help="records a batch")
    parser.add_argument("--batches", type=int, default=100)
    arguments = parser.parse_args()
    updates = [
        record
        for record in matched_pairs(arguments.batch * arguments.batches // 6, users=20_000)
        if isinstance(record, BetUpdate)
    ]
    few = _measure(FEW, updates, arguments.batch)
    many = _measure(arguments.bets, updates, arguments.batch)
    print(
        f"a batch of {arguments.batch} bet updates: median {1000 * many:.1f} ms with {arguments.bets:,} bets stored,"
        f" {1000 * few:.1f} ms with {FEW:,} | ratio {many / few:.2f}"
    )


def _measure(stored: int, updates: list[BetUpdate], size: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite:///{Path(directory) / 'operational.sqlite'}")
        metadata.create_all(database.engine)
        with database.write() as connection:
            connection.execute(sa.text(_FILL), {"count": stored})
        times = []
        for start in range(0, len(updates), size):
            began = time.perf_counter()
            with database.write() as connection:
                apply_bet_updates(connection, updates[start : start + size])
            times.append(time.perf_counter() - began)
        database.dispose()
    return statistics.median(times)


if __name__ == "__main__":
    main()
