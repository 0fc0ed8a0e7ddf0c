"""Logs failed runs. The check `no_failed_runs` and the metric FailedRuns report them, too
(resources/failed_runs.py).
"""

import dagster as dg


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Logs each failed run with its reason, in one line.",
)
def run_failures(context: dg.RunFailureSensorContext) -> None:
    """Log the failure where the sensor's ticks show it."""
    run = context.dagster_run
    reason = context.failure_event.message or "no reason given"
    context.log.error(f"run {run.run_id[:8]} of {run.job_name} failed: {reason}")
