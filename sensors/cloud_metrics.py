"""Publishes the platform's figures to CloudWatch each minute. Not here: which
(exchange_platform/operations/cloud_metrics.py).
"""

from datetime import timedelta

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from assets.checks import ALL
from exchange_platform.operations.cloud_metrics import (
    MetricsUnpublished,
    platform_metrics,
    publish,
    source_metrics,
)
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.checkpoints import StoreUnavailable
from resources.failed_runs import failed_runs
from resources.platform import PlatformResource

EVALUATED_WITHIN = timedelta(minutes=10)
"""A check is evaluated each minute; the verdict of one that is not says nothing any more."""


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Publishes heartbeats, lags, rates, dead letters, waiting mail, stuck orders and failed checks to CloudWatch.",
)
def cloud_metrics_sensor(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SkipReason:
    """Read the figures and publish them. What can't be read is missing in CloudWatch, and an alarm
    says so.
    """
    settings = platform.settings
    if settings.metrics_namespace is None:
        return dg.SkipReason("no namespace is configured (EXCHANGE_PLATFORM_METRICS_NAMESPACE)")
    try:
        failed = failed_checks(context.instance)
        metrics = [
            *source_metrics(platform.database, settings, SYSTEM_CLOCK),
            *platform_metrics(
                platform.database,
                settings,
                SYSTEM_CLOCK,
                failed_checks=failed,
                failed_runs=len(failed_runs(context.instance)),
            ),
        ]
        publish(settings, metrics)
    except (StoreUnavailable, MetricsUnpublished) as error:
        context.log.error(f"no figures this time: {error}")
        return dg.SkipReason(f"TROUBLE: {error}")
    said = ", ".join(f"{metric['MetricName']} {metric['Value']:g}" for metric in metrics[-4:])
    return dg.SkipReason(f"{len(metrics)} figures published to {settings.metrics_namespace}: {said}")


def failed_checks(instance: dg.DagsterInstance, *, now_s: float | None = None) -> int:
    """How many asset checks do not count as passed: they failed, or nobody has evaluated them for ten
    minutes.
    """
    keys = [dg.AssetCheckKey(dg.AssetKey(check.asset), check.name) for check in ALL]
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    since_s = (SYSTEM_CLOCK.now_us() / 1e6 if now_s is None else now_s) - EVALUATED_WITHIN.total_seconds()
    passed = (
        record.status is AssetCheckExecutionRecordStatus.SUCCEEDED
        and record.event is not None
        and record.event.timestamp >= since_s
        for record in newest.values()
    )
    return len(keys) - sum(passed)
