"""Keeping the lake small and fast: few files, few snapshots. Not here: what the files hold (tables.py).

Files are merged by tiers of size, each a few of its own kind into one of the next: so a row is rewritten a
few times in its life, and no step holds the write lock for long.
"""

from __future__ import annotations

from datetime import datetime

import duckdb

from exchange_platform.stores.lake.connection import CATALOG, LakeConnection
from exchange_platform.stores.lake.tables import CHANGED_IN_PLACE
from exchange_platform.stores.lake.windows import literal

_GROWING = ("executions", "bet_history", "odds_windows")
_MB = 1_000_000
_SMALL = _MB
_TIERS = ((0, _SMALL), (_SMALL, 4 * _MB))
"""Bytes, from and below. A larger file is left alone."""
_MORE_TIERS = ((4 * _MB, 16 * _MB), (16 * _MB, 64 * _MB))
"""Where maintenance holds no writer up: on a catalog that takes no lock."""

_FEW = 4
_MERGES_A_STEP = 1
_MAX_STEPS = 1000
_CHANGED_SHARE = 0.3


def merge_small(connection: duckdb.DuckDBPyConnection) -> None:
    """Merge the small files that commits leave: a few dozen take 0.1 s. The caller holds the write lock."""
    for table in ("executions", "bet_history"):
        _merge(connection, table, 0, _SMALL, merges=_MERGES_A_STEP)


def tidy(lake: LakeConnection, *, keep: str) -> None:
    """Merge every tier that has gathered files, drop snapshots older than `keep` (an interval) and the files
    that only they needed.

    Each step takes the write lock for itself; the longest writes one file (tables.py: `largest_file`).
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
        for smallest, largest in _TIERS if lake.is_sqlite else _TIERS + _MORE_TIERS:
            _merge_tier(lake, table, smallest, largest)
    _drop_snapshots(lake, keep)
    _drop_files(lake, keep)


def _drop_snapshots(lake: LakeConnection, keep: str) -> None:
    """By their numbers: `older_than` takes every snapshot of the same day for older on a SQLite catalog
    (DuckLake 1.0).
    """
    with lake.alone() as connection:
        old = connection.execute(
            "SELECT snapshot_id FROM (SELECT *, max(snapshot_id) OVER () AS newest FROM ducklake_snapshots('lake'))"
            f" WHERE snapshot_id < newest AND snapshot_time < now() - INTERVAL '{keep}'"
        ).fetchall()
        if old:
            versions = ", ".join(str(snapshot_id) for (snapshot_id,) in old)
            connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{versions}])")


def _drop_files(lake: LakeConnection, keep: str) -> None:
    """Delete files that were no longer needed so long ago.

    A SQLite catalog compares times as text, '2026-06-01 12:00' with '2026-06-01T11:00', so they are written
    alike first: otherwise files that a query reads this very moment would be deleted.
    """
    with lake.alone() as connection:
        if lake.is_sqlite:
            connection.execute(
                f"UPDATE {CATALOG}.ducklake_files_scheduled_for_deletion"
                " SET schedule_start = replace(schedule_start, ' ', 'T') WHERE contains(schedule_start, ' ')"
            )
        connection.execute(
            f"CALL ducklake_cleanup_old_files('lake', older_than => now() - INTERVAL '{keep}')"
        )


class KnownFiles(Exception):
    """DuckLake called files orphans that its catalog knows: nothing was deleted. The message names one."""


def delete_orphans(lake: LakeConnection, before: datetime) -> int:
    """Delete the files in the lake's folder that the catalog does not know and that were written before then;
    how many.

    A writer that is killed between INSERT and COMMIT leaves such a file, and so does one that writes just
    now: hence `before`, which must be longer ago than any transaction lasts. Takes no lock. Raises
    `KnownFiles`.
    """
    arguments = f"older_than => {literal(before)}"
    with lake.translated():
        connection = lake.session
        orphans = [
            path
            for (path,) in connection.execute(
                f"CALL ducklake_delete_orphaned_files('lake', dry_run => true, {arguments})"
            ).fetchall()
        ]
        if not orphans:
            return 0
        # DuckLake compares whole paths. Each file has a name of its own, so names are compared too before
        # anything is deleted.
        names = [path.rpartition("/")[2] for path in orphans]
        known = connection.execute(_KNOWN_NAMES, [names]).fetchall()
        if known:
            raise KnownFiles(
                f"lake: {len(known)} of {len(orphans)} files that DuckLake would delete are in its catalog, such as {known[0][0]}:"
                " was its folder moved or mounted elsewhere? Nothing was deleted"
            )
        connection.execute(f"CALL ducklake_delete_orphaned_files('lake', {arguments})")
    return len(orphans)


_KNOWN_NAMES = " UNION ALL ".join(
    f"SELECT path FROM {CATALOG}.{table} WHERE list_contains($1, parse_filename(path))"
    for table in ("ducklake_data_file", "ducklake_delete_file", "ducklake_files_scheduled_for_deletion")
)


def _merge_tier(lake: LakeConnection, table: str, smallest: int, largest: int) -> None:
    for _ in range(_MAX_STEPS):
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
