"""What the assets of every long-lived consumer run have in common: owners, freshness, configuration, figures.
Not here: the assets.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.streams.engine.reports import ConsumerReport

OWNERS = ["team:exchange-data"]


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
        "epoch": report.epoch,
        "position": dg.MetadataValue.json(report.positions),
    }
    if report.last_errors:
        shown["last_error"] = "; ".join(report.last_errors)
    if report.open_windows is not None:
        shown["open_windows"] = report.open_windows
    if report.watermark is not None:
        shown["watermark"] = dg.MetadataValue.timestamp(report.watermark)
    return shown


def materialised(
    context: dg.AssetExecutionContext, consumer: Consumer, report: ConsumerReport, sinks: Mapping[str, str]
) -> Iterator[Any]:
    """A report as events of the selected assets, each with the figures of its sink (`sinks`: asset -> sink);
    the last one ends them.
    """
    selected = [name for name in sinks if dg.AssetKey(name) in context.selected_asset_keys]
    if report.final:
        ending = "a newer run has taken over" if consumer.superseded else "its time was over"
        context.log.info(
            f"epoch {report.epoch} ended: {ending}; {report.records_total} records in all, every sink committed"
        )
        for name in selected:
            yield dg.MaterializeResult(asset_key=name, metadata=figures(report, sinks[name]))
    else:
        for name in selected:
            yield dg.AssetMaterialization(name, metadata=figures(report, sinks[name]))
