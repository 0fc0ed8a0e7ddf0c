"""The platform's settings and stores as a Dagster resource. Not here: anything that would be true without
Dagster.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import dagster as dg

from exchange_platform.delivery.delivery import DeliveryRun
from exchange_platform.settings import Settings, load_settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.profile_view import ProfileView
from exchange_platform.stores.event_index.index import EventIndex
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.submission.exchange_asking import ExchangeLookup, exchange_of


class PlatformResource(dg.ConfigurableResource[Settings]):
    """Hands out settings and stores. Everything else is configured by the environment
    (docs/configuration.md).
    """

    data_dir: str | None = None
    """The embedded platform's directory; the environment's, unless given."""

    @property
    def settings(self) -> Settings:
        """The settings, read once a process."""
        return _settings(self.data_dir)

    @property
    def database(self) -> Database:
        """The operational database, its connections kept for the process: a sensor's tick finds them open."""
        return _database(self.settings.operational_database_url)

    @contextmanager
    def lake(self, *, read_only: bool = True, memory_mb: int | None = None) -> Iterator[Lake]:
        """The lake, attached for a while. `memory_mb` bounds what it holds of memory, where the lake's own
        bound is too much.
        """
        lake = Lake.from_settings(self.settings, read_only=read_only, memory_mb=memory_mb)
        try:
            yield lake
        finally:
            lake.close()

    @contextmanager
    def exchange(self) -> Iterator[ExchangeLookup]:
        """The exchange, to be asked for a while. Raises `ExchangeUnavailable` where it is not configured."""
        exchange = exchange_of(self.settings)
        try:
            yield exchange
        finally:
            exchange.close()

    @contextmanager
    def profile_view(self) -> Iterator[ProfileView]:
        """The profile view, for a while."""
        client = aws_client(self.settings, "dynamodb")
        try:
            yield ProfileView(client, self.settings.profiles_table)
        finally:
            client.close()

    @contextmanager
    def event_index(self) -> Iterator[EventIndex]:
        """The event index, to be searched, compared and rebuilt, open for a while."""
        index = open_event_index(self.settings)
        try:
            yield index
        finally:
            index.close()

    def bets_consumer(
        self,
        run_id: str,
        duration_s: float | None = None,
        *,
        requested_at_us: int | None = None,
        share: int = 1,
    ) -> Consumer:
        """A consumer of `exchange-bets`, of that share of its shards (from 1), to be run once."""
        from exchange_platform.streams.engine.sharing import Share
        from exchange_platform.streams.exchange_bets import build_consumer

        mine = Share(share - 1, self.settings.bets_consumers)
        return build_consumer(
            self.settings,
            run_id=run_id,
            duration_s=duration_s,
            requested_at_us=requested_at_us,
            share=mine,
        )

    def feed_consumer(
        self, run_id: str, duration_s: float | None = None, *, requested_at_us: int | None = None
    ) -> Consumer:
        """A consumer of the exchange's feed, to be run once."""
        from exchange_platform.streams.exchange_feed import build_consumer

        return build_consumer(
            self.settings, run_id=run_id, duration_s=duration_s, requested_at_us=requested_at_us
        )

    def notifier(
        self, run_id: str, duration_s: float | None = None, *, requested_at_us: int | None = None
    ) -> DeliveryRun:
        """A run that delivers the outbox, to be run once."""
        from exchange_platform.notifications.run import build_notifier

        return build_notifier(
            self.settings, run_id=run_id, duration_s=duration_s, requested_at_us=requested_at_us
        )

    def confirmations_run(
        self, run_id: str, duration_s: float | None = None, *, requested_at_us: int | None = None
    ) -> DeliveryRun:
        """A run that mails confirmations, to be run once."""
        from exchange_platform.confirmation.run import build_run

        return build_run(self.settings, run_id=run_id, duration_s=duration_s, requested_at_us=requested_at_us)


@lru_cache(maxsize=8)
def _settings(data_dir: str | None) -> Settings:
    return load_settings(Path(data_dir) if data_dir is not None else None)


@lru_cache(maxsize=8)
def _database(url: str) -> Database:
    return Database(url)
