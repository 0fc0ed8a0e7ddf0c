"""Keeping the lake small and fast: few files, few snapshots. Not here: what the files hold (lake_tables.py).

Files are merged by tiers of size, each a few of its own kind into one of the next: so a row is rewritten a few times in its
life, and no step holds the write lock for long.
"""

from __future__ import annotations

import duckdb

from exchange_platform.stores.lake_connection import LakeConnection
from exchange_platform.stores.lake_tables import CHANGED_IN_PLACE

_GROWING = ("executions", "bet_history", "odds_windows")
_SMALL = 1_000_000
_TIERS = ((0, _SMALL), (_SMALL, 6_000_000), (6_000_000, 24_000_000))
"""Bytes, from and below. A file of 24 MB or more is left alone."""

_FEW = 4
_MERGES_A_STEP = 1
_MOST_STEPS = 1000
_CHANGED_SHARE = 0.3


def merge_small(connection: duckdb.DuckDBPyConnection) -> None:
    """Merge the small files that commits leave: a few dozen take 0.1 s. The caller holds the write lock."""
    for table in ("executions", "bet_history"):
        _merge(connection, table, 0, _SMALL, merges=_MERGES_A_STEP)


def tidy(lake: LakeConnection, *, keep: str) -> None:
    """Merge every tier that has gathered files, drop snapshots older than `keep` (an interval) and the files that only they needed.

    Each step takes the write lock for itself; the longest rewrites some 30 MB.
    """
    for table in CHANGED_IN_PLACE:
        _step(lake, f"CALL ducklake_flush_inlined_data('lake', table_name => '{table}')")
    for table in (*CHANGED_IN_PLACE, "odds_windows"):
        _step(
            lake, f"CALL ducklake_rewrite_data_files('lake', '{table}', delete_threshold => {_CHANGED_SHARE})"
        )
    for table in CHANGED_IN_PLACE:
        _step(lake, f"CALL ducklake_merge_adjacent_files('lake', '{table}')")
    for table in _GROWING:
        for smallest, largest in _TIERS:
            _merge_tier(lake, table, smallest, largest)
    for statement in ("ducklake_expire_snapshots", "ducklake_cleanup_old_files"):
        _step(lake, f"CALL {statement}('lake', older_than => now() - INTERVAL '{keep}')")


def _merge_tier(lake: LakeConnection, table: str, smallest: int, largest: int) -> None:
    for _ in range(_MOST_STEPS):
        with lake.alone() as connection:
            counted = connection.execute(
                "SELECT count(*) FROM ducklake_list_files('lake', ?)"
                " WHERE data_file_size_bytes >= ? AND data_file_size_bytes < ? AND delete_file IS NULL",
                [table, smallest, largest],
            ).fetchone()
            if counted is None or counted[0] < _FEW:
                return
            if not _merge(connection, table, smallest, largest, merges=_MERGES_A_STEP):
                return


def _merge(
    connection: duckdb.DuckDBPyConnection, table: str, smallest: int, largest: int, *, merges: int
) -> bool:
    sizes = f"max_file_size => {largest}" + (f", min_file_size => {smallest}" if smallest else "")
    done = connection.execute(
        f"CALL ducklake_merge_adjacent_files('lake', '{table}', {sizes}, max_compacted_files => {merges})"
    ).fetchall()
    return bool(done)


def _step(lake: LakeConnection, statement: str) -> None:
    with lake.alone() as connection:
        connection.execute(statement)
