"""The consumer of `exchange-bets`: which sinks its records go to. Not here: how consuming works
(engine/consumer.py), the sinks (sinks/).
"""

from __future__ import annotations

from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.profile_view import ProfileView
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.streams.engine.sharing import WHOLE, Share
from exchange_platform.streams.engine.source import Source
from exchange_platform.streams.sinks.lake import LakeSink, Windows
from exchange_platform.streams.sinks.operational import BetsSink
from exchange_platform.streams.sinks.profile_view import ProfileViewSink
from exchange_platform.streams.sources.kinesis import KinesisSource
from exchange_platform.streams.sources.names import EXCHANGE_BETS

# A consumer lives long beside everything else on its machine. Merging its small files needs more than 48.
_LAKE_MEMORY_MB = 80


def build_consumer(
    settings: Settings,
    *,
    run_id: str,
    clock: Clock = SYSTEM_CLOCK,
    duration_s: float | None = None,
    requested_at_us: int | None = None,
    source: Source | None = None,
    report_interval_s: float | None = None,
    share: Share = WHOLE,
) -> Consumer:
    """Put the consumer of `exchange-bets` together; `run` it once. It closes what it opened.

    `duration_s` defaults to `settings.run_duration_s`, `source` to the stream, of whose shards those of the
    `share` are read.
    """
    database = Database(settings.operational_database_url)
    windows = Windows(settings)
    return Consumer(
        source=source
        or KinesisSource(aws_client(settings, "kinesis"), settings.bets_stream, name=EXCHANGE_BETS),
        first=BetsSink(database, clock),
        others=[
            LakeSink(
                Lake.from_settings(settings, memory_mb=_LAKE_MEMORY_MB, shared=share != WHOLE),
                windows,
                settings.lake_interval_s,
                clock,
                shared=share != WHOLE,
            ),
            ProfileViewSink(
                database,
                ProfileView(aws_client(settings, "dynamodb"), settings.profiles_table),
                settings,
                clock,
            ),
        ],
        rows=ConsumerRows(database),
        run_id=run_id,
        duration_s=settings.run_duration_s if duration_s is None else duration_s,
        report_interval_s=settings.report_interval_s if report_interval_s is None else report_interval_s,
        poll_interval_s=settings.poll_interval_s,
        max_buffered_records=settings.max_buffered_records,
        max_buffered_bytes=settings.max_buffered_bytes,
        degraded_limit_s=settings.degraded_limit_s,
        share=share,
        windows=windows,
        requested_at_us=requested_at_us,
        on_close=database.dispose,
        clock=clock,
    )
