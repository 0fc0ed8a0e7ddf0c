"""Jobs that keep the stores and Dagster's own storage small. What is deleted after how long is
exchange_platform/operations/purges.py's; Dagster's runs are dagster_storage.py's.
"""

from datetime import timedelta

import dagster as dg

from exchange_platform.operations.purges import Purge, purge_database, purge_lake_orphans
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.process.memory import without_data_frames
from exchange_platform.stores.operational.purge_rounds import Budget, Purged, PurgeRounds
from resources.platform import PlatformResource
from resources.run_priorities import LAKE_WRITERS, whenever
from resources.run_sizes import SMALL_RUN


# On PostgreSQL a step may meet a commit of the consumers; it is begun again, which does no harm.
@dg.op(retry_policy=dg.RetryPolicy(max_retries=3, delay=10), pool=LAKE_WRITERS)
def tidy_lake(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Move inlined rows to Parquet, merge small files, drop old snapshots."""
    with without_data_frames(), platform.lake(read_only=False) as lake:
        lake.maintain(keep_snapshots=f"{platform.settings.lake_snapshots_kept_hours * 3600:.0f} seconds")
        context.log.info(f"lake tidied: {lake.counts()}")


@dg.op
def purge_dagster(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Delete old runs with their events, files and output."""
    # Dagster's storages bring Alembic, 10 MB that no other run needs.
    from ops.dagster_storage import give_space_back, purge_runless, purge_runs, purge_strays

    settings = platform.settings

    def work() -> Purged:
        purged = purge_runs(context.instance, settings, Budget(SYSTEM_CLOCK, settings.purge_budget_s))
        budget = Budget(SYSTEM_CLOCK, settings.purge_budget_s)
        strays = purge_strays(context.instance, budget)
        runless = purge_runless(context.instance, timedelta(days=settings.runs_kept_days), budget)
        given_back = give_space_back(context.instance, budget)
        context.add_output_metadata(
            {
                "runs": purged.deleted,
                "left": purged.left,
                "files_without_a_run": strays,
                "old_events": runless,
                "bytes_given_back": given_back,
            }
        )
        return purged

    purged = PurgeRounds(platform.database, SYSTEM_CLOCK).run(Purge.RUNS.value, work)
    context.log.info(f"{purged.deleted} runs deleted, {purged.left} left")


@dg.op
def purge_operational_database(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Delete what is old of the operational database."""
    done = purge_database(platform.settings, platform.database, SYSTEM_CLOCK)
    for purge, purged in done.items():
        context.add_output_metadata({purge.value: purged.deleted, f"{purge.value}_left": purged.left})
    context.log.info(
        "; ".join(f"{purge.value}: {one.deleted} deleted, {one.left} left" for purge, one in done.items())
    )


@dg.op
def purge_lake(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Delete files that killed writers left in the lake."""
    with without_data_frames(), platform.lake(read_only=False) as lake:
        purged = purge_lake_orphans(platform.settings, platform.database, lake, SYSTEM_CLOCK)
    context.add_output_metadata({"files": purged.deleted})
    context.log.info(f"{purged.deleted} orphaned files deleted")


@dg.job(
    executor_def=dg.in_process_executor,
    tags=whenever("maintain_lake"),
    description="Keep the lake small and fast.",
)
def maintain_lake() -> None:
    """One op."""
    tidy_lake()


@dg.job(
    executor_def=dg.in_process_executor,
    tags=SMALL_RUN | whenever("purge"),
    description="Delete what is old: runs and their events, delivered changes, mails and orders, unconfirmed accounts, files of killed writers.",
)
def purge() -> None:
    """One op a store: none waits for another's success."""
    purge_operational_database()
    purge_dagster()
    purge_lake()


schedules = [
    dg.ScheduleDefinition(
        job=maintain_lake, cron_schedule="*/10 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    ),
    dg.ScheduleDefinition(
        job=purge, cron_schedule="17 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    ),
]
