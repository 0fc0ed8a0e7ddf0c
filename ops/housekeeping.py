"""Jobs that keep the stores and Dagster's own storage small. Not here: what small means for the lake (stores/lake.py), or which account is old (stores/accounts.py)."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from exchange_platform.clock import SYSTEM_CLOCK
from exchange_platform.memory import without_data_frames
from exchange_platform.stores.accounts import purge_unconfirmed
from exchange_platform.stores.consumers import ConsumerRows
from exchange_platform.stores.limits import forget_idle
from exchange_platform.stores.order_outbox import forget_published
from exchange_platform.stores.purging import purge_delivered
from resources.platform import PlatformResource
from resources.run_sizes import SMALL_RUN

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED]
_MOST_RUNS = 200


class Retention(dg.Config):
    """How long finished runs, with their events and logs, are kept."""

    days: float = 7.0
    failed_days: float = 30.0


# On PostgreSQL a step may meet a commit of the consumers; it is begun again, which does no harm.
@dg.op(retry_policy=dg.RetryPolicy(max_retries=3, delay=10))
def tidy_lake(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Move inlined rows to Parquet, merge small files, drop old snapshots."""
    with without_data_frames(), platform.lake(read_only=False) as lake:
        lake.maintain()
        context.log.info(f"lake tidied: {lake.counts()}")


@dg.op
def purge_runs(context: dg.OpExecutionContext, config: Retention, platform: PlatformResource) -> None:
    """Delete old runs: Dagster itself keeps every event for ever (dagster #33785)."""
    now = datetime.now(UTC)
    deleted = 0
    for statuses, days in ((_FINISHED, config.days), ([dg.DagsterRunStatus.FAILURE], config.failed_days)):
        old = dg.RunsFilter(statuses=statuses, updated_before=now - timedelta(days=days))
        for run_id in context.instance.get_run_ids(old, limit=_MOST_RUNS):
            context.instance.delete_run(run_id)
            deleted += 1
    rows = ConsumerRows(platform.database)
    before_us = SYSTEM_CLOCK.now_us() - int(config.days * 86_400e6)
    forgotten = sum(rows.forget(source, before_us=before_us) for source in rows.sources())
    orders = forget_published(platform.database, before_us=before_us)
    context.log.info(f"{deleted} runs deleted, {forgotten} consumers and {orders} published orders forgotten")


@dg.op
def purge_accounts(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Delete accounts that nobody has confirmed for days, and what the limits on calls need not remember."""
    now_us = SYSTEM_CLOCK.now_us()
    before_us = now_us - int(platform.settings.pending_account_days * 86_400e6)
    purged = purge_unconfirmed(platform.database, before_us=before_us)
    forgotten = forget_idle(platform.database, now_us)
    context.add_output_metadata({"accounts": purged, "limits": forgotten})
    context.log.info(f"{purged} unconfirmed accounts deleted, {forgotten} limits forgotten")


@dg.op
def purge_notifications(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Delete changes and mails that were delivered long ago."""
    kept_us = int(platform.settings.notifications_kept_days * 86_400e6)
    changes, mails = purge_delivered(platform.database, before_us=SYSTEM_CLOCK.now_us() - kept_us)
    context.add_output_metadata({"changes": changes, "mails": mails})
    context.log.info(f"{changes} changes and {mails} mails deleted")


@dg.job(executor_def=dg.in_process_executor, description="Keep the lake small and fast.")
def maintain_lake() -> None:
    """One op."""
    tidy_lake()


@dg.job(
    executor_def=dg.in_process_executor, tags=SMALL_RUN, description="Delete old runs and what they logged."
)
def purge_old_runs() -> None:
    """One op."""
    purge_runs()


@dg.job(
    executor_def=dg.in_process_executor,
    tags=SMALL_RUN,
    description="Delete accounts that nobody has confirmed, and limits that say nothing any more.",
)
def tidy_accounts() -> None:
    """One op."""
    purge_accounts()


@dg.job(
    executor_def=dg.in_process_executor,
    tags=SMALL_RUN,
    description="Delete changes and mails that were delivered long ago.",
)
def tidy_notifications() -> None:
    """One op."""
    purge_notifications()


schedules = [
    dg.ScheduleDefinition(
        job=maintain_lake, cron_schedule="*/10 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    ),
    dg.ScheduleDefinition(
        job=purge_old_runs, cron_schedule="17 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    ),
    dg.ScheduleDefinition(
        job=tidy_accounts, cron_schedule="37 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    ),
    dg.ScheduleDefinition(
        job=tidy_notifications, cron_schedule="47 2 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    ),
]
