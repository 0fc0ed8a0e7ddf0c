"""Runs of Dagster that failed lately: for a check and a metric. What to do about one is in
docs/operations.md.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from exchange_platform.operations.checks import CheckOutcome

LATELY = timedelta(minutes=10)
_MAX_NAMED = 3
_MAX_COUNTED = 1000


def failed_runs(instance: dg.DagsterInstance, *, now: datetime | None = None) -> list[dg.DagsterRun]:
    """The runs that failed in the last ten minutes, newest first, a thousand at most."""
    since = (now or datetime.now(UTC)) - LATELY
    filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    records = instance.get_run_records(filters, limit=_MAX_COUNTED)
    return [record.dagster_run for record in records if (record.end_time or 0) >= since.timestamp()]


def no_failed_runs(instance: dg.DagsterInstance) -> CheckOutcome:
    """No run failed in the last ten minutes."""
    failed = failed_runs(instance)
    figures: dict[str, int | float | str] = {"failed_runs": len(failed)}
    if not failed:
        return CheckOutcome(True, "no run failed in ten minutes", figures)
    named = ", ".join(f"{run.run_id[:8]} of {run.job_name}" for run in failed[:_MAX_NAMED])
    more = f" and {len(failed) - _MAX_NAMED} more" if len(failed) > _MAX_NAMED else ""
    return CheckOutcome(False, f"{len(failed)} runs failed in ten minutes: {named}{more}", figures)
