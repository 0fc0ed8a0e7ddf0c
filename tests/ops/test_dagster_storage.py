"""Old runs go with everything that they left, to the end, and what earlier releases left of theirs
goes too.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.test_utils import create_run_for_test

from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.purge_rounds import Budget, Purged
from ops.dagster_storage import give_space_back, purge_runless, purge_runs, purge_strays
from tests.support.stepping_clock import SteppingClock

MANY = 205
"""More than the purge of the release before deleted in a night."""
_DAY = timedelta(days=1)


@dg.op
def report_and_print(context: dg.OpExecutionContext) -> Iterator[dg.AssetMaterialization | dg.Output[None]]:
    """Report as a consumer run does, and print."""
    print("said on the way")
    for number in range(30):
        yield dg.AssetMaterialization("bets", metadata={"number": number, "text": "x" * 2_000})
    yield dg.Output(None)


@dg.job(executor_def=dg.in_process_executor)
def a_job() -> None:
    """One op."""
    report_and_print()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def budget() -> Budget:
    return Budget(SYSTEM_CLOCK, 60)


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + days * _DAY


def files_of(instance: dg.DagsterInstance, run_id: str) -> set[str]:
    """Every file of a run's, and every file in a folder of its own."""
    home = Path(instance.root_directory)
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() and run_id in str(path)}


def has_gone(instance: dg.DagsterInstance, run_id: str) -> bool:
    return not instance.has_run(run_id) and not files_of(instance, run_id)


def a_run(instance: dg.DagsterInstance) -> str:
    return a_job.execute_in_process(instance=instance).run_id


def ended(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS) -> str:
    return str(create_run_for_test(instance, status=status).run_id)


def test_an_old_run_goes_with_its_file_its_output_and_its_events_in_the_index(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    run_id = a_run(instance)
    assert len(files_of(instance, run_id)) >= 3
    assert purge_runs(instance, settings, budget(), in_days(8)) == Purged(1)
    assert has_gone(instance, run_id)
    assert instance.fetch_materializations(dg.AssetKey("bets"), limit=1).records == []
    assert a_run(instance) != run_id


@pytest.mark.long
def test_all_old_runs_go_in_one_round(instance: dg.DagsterInstance, settings: Settings) -> None:
    for _ in range(MANY):
        ended(instance)
    assert purge_runs(instance, settings, budget(), in_days(8)) == Purged(MANY)
    assert instance.get_runs_count() == 0


def test_a_round_of_runs_ends_with_its_time_and_reports_what_it_leaves(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    for _ in range(30):
        ended(instance)
    purged = purge_runs(instance, settings, Budget(SteppingClock(), 4.5), in_days(10))
    assert (purged.deleted, purged.left) == (2, 28)
    assert purged.behind_us / 86_400e6 == pytest.approx(3, abs=0.01)


def test_young_live_and_newly_failed_runs_stay(instance: dg.DagsterInstance, settings: Settings) -> None:
    failed = ended(instance, dg.DagsterRunStatus.FAILURE)
    live = ended(instance, dg.DagsterRunStatus.STARTED)
    assert purge_runs(instance, settings, budget(), in_days(6)) == Purged(0)
    cancelled = ended(instance, dg.DagsterRunStatus.CANCELED)
    assert purge_runs(instance, settings, budget(), in_days(29)) == Purged(1)
    assert not instance.has_run(cancelled)
    assert purge_runs(instance, settings, budget(), in_days(31)) == Purged(1)
    assert not instance.has_run(failed)
    assert instance.has_run(live)


@pytest.mark.long
def test_files_that_earlier_releases_left_of_deleted_runs_go(instance: dg.DagsterInstance) -> None:
    gone, kept, recent = a_run(instance), a_run(instance), a_run(instance)
    for run_id in (gone, recent):
        instance.delete_run(run_id)
        assert files_of(instance, run_id)
    long_ago = (datetime.now(UTC) - _DAY).timestamp()
    for run_id in (gone, kept):
        for name in files_of(instance, run_id):
            os.utime(Path(instance.root_directory) / name, (long_ago, long_ago))
    assert purge_strays(instance, budget()) == 1
    assert files_of(instance, gone) == set()
    assert files_of(instance, kept)
    assert files_of(instance, recent)
    assert instance.all_logs(kept)


@pytest.mark.long
def test_the_space_of_deleted_runs_is_given_back(instance: dg.DagsterInstance, settings: Settings) -> None:
    storage = instance.event_log_storage
    assert isinstance(storage, SqliteEventLogStorage)
    index = Path(storage.path_for_shard("index"))
    runs = [a_run(instance) for _ in range(4)]
    before = sum(path.stat().st_size for path in index.parent.iterdir())
    purge_runs(instance, settings, budget(), in_days(8))
    assert give_space_back(instance, budget()) > 0
    after = sum(path.stat().st_size for path in index.parent.iterdir())
    assert after < before / 3
    again = a_run(instance)
    assert instance.all_logs(again)
    assert not any(instance.has_run(run_id) for run_id in runs)


def test_old_events_without_a_run_go_and_the_newest_evaluation_of_each_check_stays(
    instance: dg.DagsterInstance,
) -> None:
    for number in range(3):
        for name in ("money_conserved", "lake_agrees"):
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    check_name=name, asset_key=dg.AssetKey("bets"), passed=True, metadata={"n": number}
                )
            )
    assert purge_runless(instance, timedelta(days=1), budget()) == 0
    assert purge_runless(instance, timedelta(days=-1), budget()) == 6 + 6 + 4
    keys = [dg.AssetCheckKey(dg.AssetKey("bets"), name) for name in ("money_conserved", "lake_agrees")]
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert set(newest) == set(keys)
    assert purge_runless(instance, timedelta(days=-1), budget()) == 0
