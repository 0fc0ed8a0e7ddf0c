"""A platform that follows a feed: its stores, its consumers, and what it knows by then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exchange_platform.domain.events import EventStatus
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.search.documents import EventQuery
from exchange_platform.settings import Settings
from exchange_platform.stores.event_index.index import EventIndex
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow, ConsumerRows
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetter, DeadLetters
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.reader import EventReader
from exchange_platform.streams.exchange_feed import build_consumer
from exchange_platform.streams.sources.feed import FeedSource
from exchange_platform.streams.sources.names import EXCHANGE_FEED
from tests.exchange_platform.streams.engine_parts import HastyClock, Running
from tests.support.platform_parts import wait_for
from tests.support.prepared import prepare_database


class FeedPlatform:
    """Stores in a directory of their own, and consumers of the feed at a URL."""

    def __init__(self, directory: Path, url: str) -> None:
        self.settings = Settings(data_dir=directory, exchange_url=url)
        self.database = Database(self.settings.operational_database_url)
        prepare_database(self.database)
        self.reader = EventReader(self.database)
        self.rows = ConsumerRows(self.database)
        self.index: EventIndex = open_event_index(self.settings)

    def consume(self, *, clock: Clock = SYSTEM_CLOCK, silent_after_s: float = 3.0) -> Running:
        source = FeedSource(
            self.settings.exchange_url,
            name=EXCHANGE_FEED,
            wait_s=self.settings.poll_interval_s,
            silent_after_s=silent_after_s,
            clock=clock,
        )
        consumer = build_consumer(self.settings, run_id="test", clock=clock, duration_s=10_000, source=source)
        return Running(consumer)

    def consume_hastily(self) -> Running:
        """On a clock whose seconds pass the faster, for what waits long; the feed may still take its time."""
        return self.consume(clock=HastyClock(), silent_after_s=3.0 * HastyClock.haste)

    def consume_all(self) -> None:
        """Run a consumer until it has caught up with the feed, then stop it."""
        since_us = SYSTEM_CLOCK.now_us()
        running = self.consume()
        wait_for(lambda: running.error or self.is_caught_up(since_us), timeout_s=200, what="caught up")
        running.stop()

    def is_caught_up(self, since_us: int) -> bool:
        newest = self.newest
        return newest is not None and (newest.caught_up_at_us or 0) > since_us

    @property
    def newest(self) -> ConsumerRow | None:
        """What the newest consumer last said of itself."""
        return self.rows.newest(EXCHANGE_FEED)

    @property
    def trouble(self) -> str:
        newest = self.newest
        return "; ".join(newest.statistics.trouble) if newest is not None else ""

    @property
    def position(self) -> str:
        """Where the newest consumer is in the feed's one shard, as it last said."""
        newest = self.newest
        shards = newest.statistics.shards if newest is not None else {}
        return "; ".join(f"{shard} {told.position}" for shard, told in shards.items())

    @property
    def dead(self) -> list[DeadLetter]:
        return list(DeadLetters(self.database).list(100_000))

    def status(self, event_id: str = "e1") -> EventStatus | None:
        stored = self.reader.get(event_id)
        return stored.event.status if stored is not None else None

    def found(self, text: str, *, open_only: bool = False) -> list[tuple[str, EventStatus]]:
        """Ids and states of the events that type-ahead finds."""
        hits = self.index.search(EventQuery(text=text, open_only=open_only))
        return [(hit.document.event_id, hit.document.status) for hit in hits]

    def index_agrees(self) -> bool:
        """Whether the index holds every event at the version that the database has."""
        wanted = {
            stored.event.event_id: stored.index_version for page in self.reader.pages() for stored in page
        }
        return self.index.versions() == wanted

    def close(self) -> None:
        self.index.close()
        self.database.dispose()


@contextmanager
def feed_platform(directory: Path, url: str) -> Iterator[FeedPlatform]:
    platform = FeedPlatform(directory, url)
    try:
        yield platform
    finally:
        platform.close()
