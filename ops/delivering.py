"""What the ops of long-lived delivery runs have in common: configuration, reports as materialisations. Not
here: the ops, or delivering (exchange_platform/mail/).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from exchange_platform.delivery.delivery import DeliveryRun


class DeliveryConfig(dg.Config):
    """How a delivery run is started from the launchpad."""

    duration_s: float | None = None
    """How long to deliver; the platform's run_duration_s unless given."""


def delivered(context: dg.OpExecutionContext, run: DeliveryRun, asset: str) -> Iterator[Any]:
    """Run it to its end, yielding its figures as materialisations of `asset`, every few seconds and at the
    end.
    """
    for report in run.run():
        metadata: dict[str, Any] = {
            f"{name} {figure}" if len(report.channels) > 1 else figure: value
            for name, figures in report.channels.items()
            for figure, value in figures.items()
            if value is not None
        }
        metadata["epoch"] = report.epoch
        if report.last_errors:
            metadata["trouble"] = "; ".join(report.last_errors)
        yield dg.AssetMaterialization(asset, metadata=metadata)
        if report.final:
            why = "a newer run has taken over" if run.superseded else "its time was over"
            context.log.info(f"{report.source}: epoch {report.epoch} ended: {why}")
    yield dg.Output(None)
