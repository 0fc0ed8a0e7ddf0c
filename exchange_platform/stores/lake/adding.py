"""Adding rows to the lake's tables that it does not have. Not here: the transaction (lake.py), the tables
(tables.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import duckdb

from exchange_platform.domain.bets import Bet
from exchange_platform.stores.lake.rows import Batch, bets_batch
from exchange_platform.stores.lake.windows import literal


def add_bets(connection: duckdb.DuckDBPyConnection, bets: Sequence[Bet]) -> int:
    """Add the versions of bets that the lake does not have; returns how many."""
    new: dict[tuple[str, int], Bet] = {}
    for bet in bets:
        new.setdefault((bet.bet_id, bet.version), bet)
    batch = bets_batch(list(new.values()))
    times = [bet.updated_at for bet in new.values()]
    known = known_keys(connection, "bet_history", ("bet_id", "version"), "updated_at", batch, times)
    if known:
        for bet_id, version in known:
            del new[bet_id, version]
        if not new:
            return 0
        batch = bets_batch(list(new.values()))
    connection.execute("INSERT INTO bet_history BY NAME SELECT * FROM batch")
    return len(new)


def known_keys(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    key: tuple[str, ...],
    time: str,
    batch: Batch,  # noqa: ARG001 (DuckDB reads it by name)
    times: Sequence[datetime],
) -> set[tuple[Any, ...]]:
    """The keys of the batch that the table has. A repeat has the same time, so only the files of the batch's
    span are looked into.
    """
    same = " AND ".join(f"stored.{name} = batch.{name}" for name in key)
    found = connection.execute(
        f"SELECT {', '.join(key)} FROM {table} stored SEMI JOIN batch ON {same}"
        f" WHERE stored.{time} BETWEEN {literal(min(times))} AND {literal(max(times))}"
    )
    return set(found.fetchall())
