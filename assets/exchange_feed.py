"""The assets that the exchange's event feed feeds, materialised by a long-lived consumer run. Not here:
consuming itself.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.consumer_runs import OWNERS, ConsumerConfig, materialised
from exchange_platform.process.memory import without_data_frames
from exchange_platform.streams.sinks.event_index import EVENT_INDEX
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from exchange_platform.streams.sources.names import EXCHANGE_FEED
from resources.freshness import LIVE
from resources.platform import PlatformResource
from resources.run_priorities import LONG_LIVED
from resources.run_requests import requested_at_us

exchange_feed = dg.AssetSpec(
    "exchange_feed",
    description="The exchange's event feed over HTTP: every event and market as it changes (docs/exchange.md).",
    group_name="streams",
    kinds={"http"},
    owners=OWNERS,
)

SINKS = {"events": OPERATIONAL_DATABASE, "event_index": EVENT_INDEX}


def _spec(name: str, kinds: set[str], description: str, deps: list[str]) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=deps,
        description=description,
        group_name="events",
        kinds=kinds,
        owners=OWNERS,
        tags={"real_time": "", "source": EXCHANGE_FEED},
        metadata={"sink": SINKS[name]},
        skippable=True,
        # The feed may be silent all night: it is the live run that reports every ten seconds, with or without
        # updates.
        freshness_policy=LIVE,
    )


@dg.multi_asset(
    name="exchange_feed_consumer",
    can_subset=True,
    specs=[
        _spec(
            "events",
            {"mysql"},
            "Each event with its score, its markets and their selections, newest version: what bets may be placed on.",
            ["exchange_feed"],
        ),
        _spec(
            "event_index",
            {"elasticsearch"},
            "The events as type-ahead finds them (on one machine: an index on disk).",
            ["events"],
        ),
    ],
)
def exchange_feed_consumer(
    context: dg.AssetExecutionContext, config: ConsumerConfig, platform: PlatformResource
) -> Iterator[Any]:
    """Consume the feed until its time is over or a newer run takes over; report every ten seconds."""
    consumer = platform.feed_consumer(
        context.run.run_id,
        config.duration_s,
        requested_at_us=requested_at_us(context.instance, context.run.run_id),
    )
    with without_data_frames():
        for report in consumer.run():
            yield from materialised(context, consumer, report, SINKS)


consume_exchange_feed = dg.define_asset_job(
    "consume_exchange_feed",
    selection=dg.AssetSelection.assets(*SINKS).without_checks(),
    description="A consumer run of the exchange's event feed: lives a quarter of an hour, then hands over to its successor.",
    executor_def=dg.in_process_executor,
    tags={"source": EXCHANGE_FEED, **LONG_LIVED},
)
