"""The assets that the stream `exchange-bets` feeds, materialised by a long-lived consumer run. Not here:
consuming itself.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.consumer_runs import OWNERS, ConsumerConfig, materialised
from exchange_platform.process.memory import without_data_frames
from exchange_platform.streams.engine.reports import ClosedWindows, ConsumerReport
from exchange_platform.streams.sinks.lake import LAKE
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from exchange_platform.streams.sinks.profile_view import PROFILE_VIEW
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from resources.freshness import LIVE
from resources.platform import PlatformResource
from resources.run_priorities import LONG_LIVED
from resources.run_requests import requested_at_us


class BetsConsumerConfig(ConsumerConfig):
    """How a consumer run of `exchange-bets` is started from the launchpad."""

    share: int = 1
    """Which share of the stream's shards to consume, from 1, of as many as the platform's bets_consumers."""


exchange_bets_stream = dg.AssetSpec(
    "exchange_bets_stream",
    description="The Kinesis stream `exchange-bets`: every execution on the exchange and every change of a bet.",
    group_name="streams",
    kinds={"kinesis"},
    owners=OWNERS,
)


def _spec(
    name: str, sink: str, kinds: set[str], group: str, description: str, deps: list[str]
) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=deps,
        description=description,
        group_name=group,
        kinds=kinds,
        owners=OWNERS,
        tags={"real_time": "", "source": EXCHANGE_BETS},
        metadata={"sink": sink},
        skippable=True,
        freshness_policy=LIVE,
    )


SINKS = {
    "bets": OPERATIONAL_DATABASE,
    "profiles": OPERATIONAL_DATABASE,
    "profile_view": PROFILE_VIEW,
    "executions": LAKE,
    "bet_history": LAKE,
}


@dg.multi_asset(
    name="exchange_bets_consumer",
    can_subset=True,
    specs=[
        _spec(
            "bets",
            OPERATIONAL_DATABASE,
            {"mysql"},
            "betting",
            "Each bet's state, newest version, with the outbox row of each change.",
            ["exchange_bets_stream"],
        ),
        _spec(
            "profiles",
            OPERATIONAL_DATABASE,
            {"mysql"},
            "betting",
            "Each user's balance, exposure, profit and counts: the sums of the ledger.",
            ["exchange_bets_stream"],
        ),
        _spec(
            "profile_view",
            PROFILE_VIEW,
            {"dynamodb"},
            "betting",
            "The profiles with their newest bets as applications read them, by user.",
            ["profiles"],
        ),
        _spec(
            "executions",
            LAKE,
            {"ducklake", "parquet"},
            "odds",
            "Every match of a back against a lay, once.",
            ["exchange_bets_stream"],
        ),
        _spec(
            "bet_history",
            LAKE,
            {"ducklake", "parquet"},
            "odds",
            "Every version of every bet.",
            ["exchange_bets_stream"],
        ),
    ],
)
def exchange_bets_consumer(
    context: dg.AssetExecutionContext, config: BetsConsumerConfig, platform: PlatformResource
) -> Iterator[Any]:
    """Consume `exchange-bets` until its time is over or a newer run takes over; report every ten seconds."""
    consumer = platform.bets_consumer(
        context.run.run_id,
        config.duration_s,
        requested_at_us=requested_at_us(context.instance, context.run.run_id),
        share=config.share,
    )
    with without_data_frames():
        for report in consumer.run():
            yield from _windows(report)
            yield from materialised(context, consumer, report, SINKS)


def _windows(report: ConsumerReport) -> Iterator[dg.AssetMaterialization]:
    """What was closed, by day. Where nothing was, today's day says so: the asset is fresh as long as somebody
    closes what passes.
    """
    today = datetime.now(UTC).date()
    for day in report.closed_windows or (ClosedWindows(today, 0, 0),):
        yield dg.AssetMaterialization(
            "odds_windows",
            partition=day.day.isoformat(),
            description=f"{day.closed} windows closed, {day.reopened} again",
            metadata={"closed": day.closed, "reopened": day.reopened},
        )


consume_bets = dg.define_asset_job(
    "consume_bets",
    selection=dg.AssetSelection.assets(*SINKS).without_checks(),
    description="A consumer run of `exchange-bets`: lives a quarter of an hour, then hands over to its successor.",
    executor_def=dg.in_process_executor,
    tags={"source": EXCHANGE_BETS, **LONG_LIVED},
)
