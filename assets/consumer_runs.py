"""What the assets of every long-lived consumer run have in common: owners, freshness, configuration, figures. Not here: the assets."""

from datetime import timedelta
from typing import Any

import dagster as dg

from exchange_platform.streams.reports import ConsumerReport

OWNERS = ["team:exchange-data"]
FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(minutes=2), warn_window=timedelta(seconds=60)
)


class ConsumerConfig(dg.Config):
    """How a consumer run is started from the launchpad."""

    duration_s: float | None = None
    """How long to consume; the platform's run_duration_s unless given."""


def figures(report: ConsumerReport, sink: str) -> dict[str, Any]:
    """A report's figures of one sink, as metadata that the UI draws over time."""
    work = report.sinks[sink]
    shown: dict[str, Any] = {
        "records": work.records,
        "rate": round(report.rate, 1),
        "lag_p50_ms": round(work.lag_p50_ms, 1),
        "lag_p99_ms": round(work.lag_p99_ms, 1),
        "batches": work.batches,
        "commit_ms": round(work.commit_ms, 1),
        "repeats": work.repeats,
        "retries": work.retries,
        "dead_letters": report.dead_letters,
        "open_windows": report.open_windows,
        "epoch": report.epoch,
        "position": dg.MetadataValue.json(report.positions),
    }
    if report.watermark is not None:
        shown["watermark"] = dg.MetadataValue.timestamp(report.watermark)
    return shown
