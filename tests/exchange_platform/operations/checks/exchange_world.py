"""A simulated exchange in made-up time, its gateway over HTTP, and stores that have taken all that it
published.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exchange_platform.domain.records import Record, decode
from exchange_platform.exchanges.platform_requests import REQUESTS_FILE, PlatformRequests
from exchange_platform.exchanges.simulated.journal import JournalBatch
from exchange_platform.exchanges.simulated.journal_reader import JOURNAL_FILE
from exchange_platform.exchanges.simulated.retention import Pairs, Retention, RetentionProgress
from exchange_platform.exchanges.simulated.serving import Serving
from exchange_platform.operations.checks.exchange import exchange_agrees
from exchange_platform.operations.checks.outcomes import CheckOutcome
from exchange_platform.submission.exchange_asking import ExchangeLookup
from tests.exchange_platform.exchanges.simulated.running import START_US, MadeUpTime, RunningExchange
from tests.exchange_platform.operations.checks.stores import (
    LAKE_FOLDER,
    SHARD,
    Stores,
    make_stores,
    opened_stores,
)
from tests.exchange_platform.streams.gateway import running_gateway


class _Stream:
    """Takes what is published again, as the stream would."""

    def __init__(self) -> None:
        self.pairs: Pairs = []

    def offer(self, batch: JournalBatch) -> None:
        self.pairs += batch.pairs
        assert batch.done is not None
        batch.done.set()


@dataclass
class World:
    """Everything together; `records` is all that was published, in order."""

    stores: Stores
    running: RunningExchange
    exchange: ExchangeLookup
    requests: PlatformRequests
    records: list[Record]

    def agrees(self, progress: str | None = None) -> CheckOutcome:
        """The check's outcome."""
        return exchange_agrees(
            self.stores.database, self.stores.lake, self.exchange, self.running.clock, progress
        )

    def trade(self, seconds: float, *, acknowledged: bool = True, taken: bool = True) -> list[Record]:
        """Let time pass; the stores take what is published, and say so."""
        told = [decode(data) for _, data in self.running.run(seconds, tick_s=0.5)]
        if taken:
            self.stores.to_both(told)
        position = str(int(self.stores.position or 0) + (0 if taken else 1))
        self.running.exchange.note(
            RetentionProgress(self.running.journal.last_sequence, 1, {SHARD: position})
        )
        if acknowledged:
            self.running.acknowledged = {SHARD: str(self.stores.position)}
        self.running.journal.forget(self.running.clock.us, self.running.acknowledged)
        self.records += told
        return told

    def serve(self) -> list[Record]:
        """Let the exchange publish again what is asked for, and the stores take it; what it was."""
        stream: Any = _Stream()
        serving = Serving(self.running.journal, self.requests, stream, self.running.clock)
        while serving.serve():
            pass
        told = [decode(data) for _, data in stream.pairs]
        self.stores.to_both(told)
        return told


def traded_once(directory: Path, *, retention: Retention) -> None:
    """Leave in a directory what `world_at` goes on from: an exchange that has traded for some minutes, and
    stores that have it all.
    """
    with world_at(directory, retention=retention, now_us=START_US) as world:
        for _ in range(4):
            world.trade(60)


@contextmanager
def world_at(directory: Path, *, retention: Retention, now_us: int) -> Iterator[World]:
    """What lies in the directory, from that instant on; an empty one is filled as needed."""
    data_dir = directory / "exchange"
    clock = MadeUpTime(now_us)
    running = RunningExchange(data_dir / JOURNAL_FILE, clock, rate=4, pace=4, retention=retention)
    stores = opened_stores(directory) if (directory / LAKE_FOLDER).exists() else make_stores(directory)
    requests = PlatformRequests(data_dir / REQUESTS_FILE)
    with running_gateway(data_dir, clock=clock) as url:
        exchange = ExchangeLookup(url)
        running.acknowledged = {SHARD: str(stores.position)}
        held = running.journal.batches(0, running.journal.last_sequence)
        records = [decode(data) for batch in held for _, data in batch.pairs]
        yield World(stores, running, exchange, requests, records)
        exchange.close()
    requests.close()
    running.journal.close()
    stores.close()
