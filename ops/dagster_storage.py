"""Deletes Dagster's old runs with all that they left: events, files and output. How old is settings'; nothing
else of Dagster's is touched.

Dagster keeps every run for ever (dagster #33785). Its `delete_run` deletes rows. On SQLite each run has a
database file of its own, which stays as large as it was, and so does the index of all runs; what a run
printed stays too.
"""

import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from exchange_platform.settings import Settings
from exchange_platform.stores.operational.purge_rounds import ROWS_AT_ONCE, Budget, Purged
from exchange_platform.stores.operational.sqlite_space import give_back

_RUNS_AT_ONCE = 20
_STRAY_AFTER_S = 3600.0
"""A file without a run is that of a run that is gone; a new run is there before its file."""
_REWRITTEN_BYTES = 100_000_000
"""Dagster's processes wait 20 s for a lock; rewriting so much takes 1 or 2."""
_RUNLESS_EVENTS = ("ASSET_CHECK_EVALUATION", "FRESHNESS_STATE_EVALUATION")
"""Reported without a run, and without a reader once they are old: the newest evaluation of each check is kept
elsewhere.
"""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Runs that ended so, and for how long they are kept."""

    statuses: tuple[dg.DagsterRunStatus, ...]
    kept: timedelta

    def due(self, now: datetime) -> dg.RunsFilter:
        return dg.RunsFilter(statuses=list(self.statuses), updated_before=now - self.kept)


def purge_runs(
    instance: dg.DagsterInstance, settings: Settings, budget: Budget, now: datetime | None = None
) -> Purged:
    """Delete runs that ended long ago, oldest first, until none is left or the time is over; then what
    earlier releases left of theirs.
    """
    now = now or datetime.now(UTC)
    kinds = (
        _Kind(
            (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED),
            timedelta(days=settings.runs_kept_days),
        ),
        _Kind((dg.DagsterRunStatus.FAILURE,), timedelta(days=settings.failed_runs_kept_days)),
    )
    waiting: list[str] = []

    def step() -> int | None:
        if not waiting:
            waiting.extend(_next(instance, kinds, now))
        if not waiting:
            return None
        delete_run(instance, waiting.pop())
        return 1

    deleted = budget.repeat(step)
    left = sum(instance.get_runs_count(kind.due(now)) for kind in kinds)
    behind_us = max(_behind_us(instance, kind, now) for kind in kinds)
    return Purged(deleted, left, behind_us)


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run that has ended: its rows, its file, what it printed.

    A process that has the file open keeps what it had; nobody opens it again, since the run is gone.
    """
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        # As `DagsterInstance.delete_run` does, but for the rows of a file that goes as a whole.
        instance.run_storage.delete_run(run_id)
        with storage.index_connection() as connection:
            storage.delete_events_for_run(connection, run_id)
        if storage.supports_global_concurrency_limits:
            storage.free_concurrency_slots_for_run(run_id)
    else:
        instance.delete_run(run_id)
    _delete_files(instance, run_id)


def purge_strays(instance: dg.DagsterInstance, budget: Budget) -> int:
    """Delete the files and output of runs that are gone: earlier releases left them. How many runs'."""
    strays = iter(_strays(instance))

    def step() -> int | None:
        run_id = next(strays, None)
        if run_id is None:
            return None
        _delete_files(instance, run_id)
        return 1

    return budget.repeat(step)


def purge_runless(instance: dg.DagsterInstance, kept: timedelta, budget: Budget) -> int:
    """Delete old events that were reported without a run, and old evaluations of checks but each one's
    newest; how many rows.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    before = (datetime.now(UTC) - kept).replace(tzinfo=None)
    connects = [storage.index_connection]
    if isinstance(storage, SqliteEventLogStorage):  # each event lies in its run's file too
        connects.append(lambda: storage.run_connection(RUNLESS_RUN_ID))
    events, checks = SqlEventLogStorageTable, AssetCheckExecutionsTable
    old_events = sa.select(events.c.id).where(
        events.c.run_id == RUNLESS_RUN_ID,
        events.c.timestamp < before,
        events.c.dagster_event_type.in_(_RUNLESS_EVENTS),
    )
    newest = sa.select(sa.func.max(checks.c.id)).group_by(checks.c.asset_key, checks.c.check_name)
    old_checks = sa.select(checks.c.id).where(checks.c.create_timestamp < before, checks.c.id.not_in(newest))
    deleted = 0
    for connect in connects:
        for table, old in ((events, old_events), (checks, old_checks)):

            def step(connect=connect, table=table, old=old) -> int | None:  # type: ignore[no-untyped-def]
                with connect() as connection:
                    ids = connection.execute(old.limit(ROWS_AT_ONCE)).scalars().all()
                    if not ids:
                        return None
                    connection.execute(sa.delete(table).where(table.c.id.in_(ids)))
                    return len(ids)

            deleted += budget.repeat(step)
    return deleted


def give_space_back(instance: dg.DagsterInstance, budget: Budget) -> int:
    """Give the free pages of Dagster's SQLite files back to the file system; how many bytes. Nothing on
    PostgreSQL, which does so itself.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        return 0
    index = Path(storage.path_for_shard("index"))
    home = Path(instance.root_directory)
    files = (index, index.parent.parent / "runs.db", home / "schedules" / "schedules.db")
    given = [give_back(path, budget, max_rewritten=_REWRITTEN_BYTES) for path in files if path.is_file()]
    return sum(one.before - one.after for one in given)


def _next(instance: dg.DagsterInstance, kinds: Iterable[_Kind], now: datetime) -> list[str]:
    for kind in kinds:
        records = instance.get_run_records(
            kind.due(now), limit=_RUNS_AT_ONCE, order_by="update_timestamp", ascending=True
        )
        if records:
            return [record.dagster_run.run_id for record in reversed(records)]
    return []


def _behind_us(instance: dg.DagsterInstance, kind: _Kind, now: datetime) -> int:
    oldest = instance.get_run_records(kind.due(now), limit=1, order_by="update_timestamp", ascending=True)
    if not oldest:
        return 0
    ended = oldest[0].update_timestamp.replace(tzinfo=UTC)
    return max(0, (now - kind.kept - ended) // timedelta(microseconds=1))


def _delete_files(instance: dg.DagsterInstance, run_id: str) -> None:
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        path = storage.path_for_shard(run_id)
        for name in (path, f"{path}-wal", f"{path}-shm"):
            with suppress(FileNotFoundError):
                Path(name).unlink()
    if isinstance(
        instance.compute_log_manager, LocalComputeLogManager
    ):  # on S3 the bucket's lifecycle does it
        instance.compute_log_manager.delete_logs(prefix=[run_id])


def _strays(instance: dg.DagsterInstance) -> Iterable[str]:
    """The ids that files and folders are named by, of runs that Dagster does not know, where nothing was
    written lately.
    """
    found: dict[str, Path] = {}
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for run_id in storage.get_all_run_ids():
            found[run_id] = Path(storage.path_for_shard(run_id))
    if isinstance(instance.compute_log_manager, LocalComputeLogManager):
        for folder in Path(instance.storage_directory()).iterdir():
            if folder.is_dir():
                found.setdefault(folder.name, folder)
    for run_id, path in found.items():
        with suppress(FileNotFoundError):
            aged = time.time() - path.stat().st_mtime > _STRAY_AFTER_S
            if aged and _is_run_id(run_id) and not instance.has_run(run_id):
                yield run_id


def _is_run_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False
