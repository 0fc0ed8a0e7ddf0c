"""The platform's figures in CloudWatch, for the alarms and the dashboard that Terraform makes. Not here: when
they are published (sensors/).

Every metric, with its unit and dimensions, stands in `source_metrics` and `platform_metrics`; Terraform's
module `observability` names the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.confirmation.mail_requests import CONFIRMATIONS
from exchange_platform.operations.checks import orders_answered, orders_published
from exchange_platform.operations.checks.stream import NEW_DEAD_LETTERS
from exchange_platform.process.clock import Clock
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database, dead_letters
from exchange_platform.stores.operational.mails.figures import notification_figures
from exchange_platform.stores.operational.mails.mails import MAIL
from exchange_platform.streams.engine.sharing import consumer_names
from exchange_platform.streams.sources.names import EXCHANGE_BETS, EXCHANGE_FEED

SOURCES = (EXCHANGE_BETS, EXCHANGE_FEED, NOTIFICATIONS, CONFIRMATIONS)
NEVER_S = timedelta(days=1).total_seconds()
"""The heartbeat's age where there never was one."""

Metric = dict[str, Any]
"""As CloudWatch's PutMetricData takes it."""


class MetricsUnpublished(Exception):
    """CloudWatch did not take the figures; the next ones will be tried again."""


def source_metrics(database: Database, settings: Settings, clock: Clock) -> list[Metric]:
    """Of each source: HeartbeatAge (s, its most silent consumer's), Lag (ms, the worst), Rate (records/s, of
    all), DeadLetters (new ones).

    Dimensions: Environment, Source. Raises `StoreUnavailable`.
    """
    now_us = clock.now_us()
    rows, dead = ConsumerRows(database), _new_dead_letters(database, now_us)
    metrics: list[Metric] = []
    for source in SOURCES:
        newest = [rows.newest(name) for name in consumer_names(settings, source)]
        known = [row for row in newest if row is not None]
        alive = [row for row in known if row.state == "running"]
        silent_s = max(
            (abs(now_us - row.heartbeat_at_us) / 1e6 if row is not None else NEVER_S) for row in newest
        )
        where = {"Environment": settings.environment, "Source": source}
        metrics += [
            _metric("HeartbeatAge", silent_s, "Seconds", where),
            _metric("Lag", max((row.lag_ms for row in known), default=0.0), "Milliseconds", where),
            _metric("Rate", sum(row.rate for row in alive), "Count/Second", where),
            _metric("DeadLetters", dead.get(source, 0), "Count", where),
        ]
    return metrics


def platform_metrics(
    database: Database, settings: Settings, clock: Clock, *, failed_checks: int, failed_runs: int
) -> list[Metric]:
    """OldestMailWaiting (s), StuckOrders (unpublished or unanswered for too long), FailedChecks, FailedRuns.
    Dimension: Environment.

    FailedChecks counts those that failed, and those that were not evaluated lately; FailedRuns the runs of
    the last ten minutes.

    Raises `StoreUnavailable`.
    """
    mails = notification_figures(database, now_us=clock.now_us())
    published, answered = (
        orders_published(database, clock),
        orders_answered(database, settings, clock),
    )
    stuck = int(answered.figures["unknown_bets"])
    if not published.passed:
        stuck += int(published.figures["unpublished_orders"])
    where = {"Environment": settings.environment}
    return [
        _metric("OldestMailWaiting", mails.oldest_waiting_s, "Seconds", where),
        _metric("StuckOrders", stuck, "Count", where),
        _metric("FailedChecks", failed_checks, "Count", where),
        _metric("FailedRuns", failed_runs, "Count", where),
    ]


def publish(settings: Settings, metrics: Sequence[Metric]) -> None:
    """Publish to the settings' namespace. Raises `MetricsUnpublished`."""
    client = aws_client(settings, "cloudwatch", read_timeout_s=5)
    try:
        client.put_metric_data(Namespace=settings.metrics_namespace, MetricData=list(metrics))
    except (ClientError, BotoCoreError) as error:
        raise MetricsUnpublished(f"CloudWatch: {error}") from error
    finally:
        client.close()


def _new_dead_letters(database: Database, now_us: int) -> dict[str, int]:
    """By source, what died in the last minutes and was not replayed; mails that an address refuses are an
    everyday matter.
    """
    since_us = now_us - int(NEW_DEAD_LETTERS.total_seconds() * 1e6)
    with database.read() as connection:
        rows = connection.execute(
            sa.select(dead_letters.c.source, sa.func.count())
            .where(
                dead_letters.c.replayed_at_us.is_(None),
                dead_letters.c.dead_at_us >= since_us,
                dead_letters.c.shard != MAIL,
            )
            .group_by(dead_letters.c.source)
        ).all()
    return {str(source): int(count) for source, count in rows}


def _metric(name: str, value: float, unit: str, dimensions: dict[str, str]) -> Metric:
    return {
        "MetricName": name,
        "Value": float(value),
        "Unit": unit,
        "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()],
    }
