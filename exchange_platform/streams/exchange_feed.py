"""The consumer of the exchange's feed: its events go to the operational database, and from there to the event
index.

Not here: how consuming works (consumer.py), how the feed is read (feed.py), what an index is
(event_index/index.py).
"""

from __future__ import annotations

from exchange_platform.domain.events import decode_update
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.streams.engine.source import Source
from exchange_platform.streams.sinks.event_index import EventIndexSink
from exchange_platform.streams.sinks.operational import EventsSink
from exchange_platform.streams.sources.feed import FeedSource
from exchange_platform.streams.sources.names import EXCHANGE_FEED


def build_consumer(
    settings: Settings,
    *,
    run_id: str,
    clock: Clock = SYSTEM_CLOCK,
    duration_s: float | None = None,
    requested_at_us: int | None = None,
    source: Source | None = None,
    report_interval_s: float | None = None,
) -> Consumer:
    """Put the consumer of the exchange's feed together; `run` it once. It closes what it opened.

    `duration_s` defaults to `settings.run_duration_s`, `source` to the feed at `settings.exchange_url`. Each
    read waits at the feed for as long as a pause between reads would be.
    """
    database = Database(settings.operational_database_url)
    return Consumer(
        source=source
        or FeedSource(
            settings.exchange_url,
            name=EXCHANGE_FEED,
            keys=settings.exchange_keys,
            wait_s=settings.poll_interval_s,
            clock=clock,
        ),
        first=EventsSink(database, clock),
        others=[
            EventIndexSink(
                database,
                open_event_index(settings, writable=True, clock=clock),
                settings.event_index_interval_s,
                clock,
            )
        ],
        rows=ConsumerRows(database),
        run_id=run_id,
        duration_s=settings.run_duration_s if duration_s is None else duration_s,
        report_interval_s=settings.report_interval_s if report_interval_s is None else report_interval_s,
        poll_interval_s=settings.poll_interval_s,
        max_buffered_records=settings.max_buffered_records,
        max_buffered_bytes=settings.max_buffered_bytes,
        degraded_limit_s=settings.degraded_limit_s,
        decode=decode_update,
        requested_at_us=requested_at_us,
        on_close=database.dispose,
        clock=clock,
    )
