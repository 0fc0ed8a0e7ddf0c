"""One consumer run of `benchmarks.scale`, a process of its own, configured by environment: `python -m
benchmarks.scale_run SHARE STORE`.

It says that it is ready, begins when a line comes in, ends when terminated, and then says what it did. STORE
is `real` (the sinks of `exchange-bets`) or a number: a store across a network, of which a round trip takes so
many milliseconds.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.domain.records import BetUpdate, Execution, decode
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings, load_settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.streams.engine.sharing import Share, shares
from exchange_platform.streams.engine.sink import SinkCommit
from exchange_platform.streams.engine.source import ShardBatch
from exchange_platform.streams.exchange_bets import build_consumer
from exchange_platform.streams.sinks.operational import OperationalSink
from exchange_platform.streams.sources.kinesis import KinesisSource
from exchange_platform.streams.sources.names import EXCHANGE_BETS

REAL = "real"
ROWS = 50
"""Records that the store across a network takes in one round trip."""

_DURATION_S = 600.0
_LOOK_INTERVAL_S = 0.05


class RunFigures(msgspec.Struct):
    """What one run did. Times are `time.monotonic()`, which all processes of a machine share."""

    records: int = 0
    last_commit_at: float = 0.0
    """When its last commit was noticed, 0.05 s late at most."""
    commit_s: dict[str, float] = msgspec.field(default_factory=dict)
    """Sink -> time spent in commits."""
    lock_waited_s: float = 0.0
    lock_held_s: float = 0.0
    """SQLite's write lock in the operational database."""
    seen: dict[str, list[str]] = msgspec.field(default_factory=dict)
    """Shard -> identity of every record committed from it, in order; not known of the real sinks."""


class NetworkStore(OperationalSink):
    """A sink that stands for a store across a network: it waits, off the CPU, a round trip for each `ROWS`
    records.

    Other runs' round trips go on beside its own, as in a store that has room. Its checkpoints, fencing and
    ends of shards are the operational database's, in one short transaction a batch.
    """

    def __init__(self, database: Database, round_trip_s: float) -> None:
        super().__init__(database, SYSTEM_CLOCK, source=EXCHANGE_BETS, kinds=(), apply=lambda *_: ())
        self.seen: dict[str, list[str]] = defaultdict(list)
        self._round_trip_s = round_trip_s

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        """Wait as long as the round trips take, then advance the checkpoints and note the records."""
        records = sum(len(batch.records) for batch in batches)
        for _ in range(0, records, ROWS):
            time.sleep(self._round_trip_s)
        done = super().commit(epoch, batches, advances)
        for batch in batches:
            self.seen[batch.shard].extend(identity(record.record) for record in batch.records)
        return done


class WriteLock:
    """How long this process waits for SQLite's write lock, and holds it: told by SQLAlchemy's events."""

    def __init__(self) -> None:
        self._sums = threading.Lock()
        self.clear()
        sa.event.listen(sa.Engine, "before_cursor_execute", self._before)
        sa.event.listen(sa.Engine, "after_cursor_execute", self._after)
        sa.event.listen(sa.Pool, "checkin", self._committed)

    def clear(self) -> None:
        """Count again."""
        self.waited_s = self.held_s = 0.0

    def _before(self, connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement == "BEGIN IMMEDIATE":
            connection.info["asked_at"] = time.monotonic()

    def _after(self, connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement == "BEGIN IMMEDIATE":
            connection.info["locked_at"] = now = time.monotonic()
            with self._sums:
                self.waited_s += now - connection.info.pop("asked_at")

    def _committed(self, _connection: Any, record: Any) -> None:
        if (locked_at := record.info.pop("locked_at", None)) is not None:
            with self._sums:
                self.held_s += time.monotonic() - locked_at


def identity(record: object) -> str:
    """What tells one record of the workload from every other."""
    if isinstance(record, BetUpdate):
        return f"{record.bet_id}/{record.version}"
    return record.execution_id if isinstance(record, Execution) else repr(record)


def main() -> None:
    """Consume one share until terminated."""
    logging.basicConfig(level=logging.WARNING)
    settings = load_settings()
    share = shares(settings, EXCHANGE_BETS)[int(sys.argv[1])]
    figures = RunFigures()
    lock = WriteLock()
    if sys.argv[2] == REAL:
        store = None
        consumer = build_consumer(
            settings,
            run_id=f"pid-{os.getpid()}",
            duration_s=_DURATION_S,
            report_interval_s=_LOOK_INTERVAL_S,
            share=share,
        )
    else:
        store = NetworkStore(Database(settings.operational_database_url), float(sys.argv[2]) / 1000)
        consumer = _consumer_of(store, settings, share)
    signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
    print("ready", flush=True)
    sys.stdin.readline()
    lock.clear()
    for report in consumer.run():
        figures.records = report.records_total
        for name, sink in report.sinks.items():
            if sink.batches:
                figures.last_commit_at = time.monotonic()
                figures.commit_s[name] = (
                    figures.commit_s.get(name, 0.0) + sink.batches * sink.commit_ms / 1000
                )
    figures.lock_waited_s, figures.lock_held_s = lock.waited_s, lock.held_s
    figures.seen = store.seen if store is not None else {}
    sys.stdout.buffer.write(msgspec.json.encode(figures))
    sys.exit(3 if consumer.superseded else 0)


def _consumer_of(store: NetworkStore, settings: Settings, share: Share) -> Consumer:
    database = Database(settings.operational_database_url)
    return Consumer(
        source=KinesisSource(aws_client(settings, "kinesis"), settings.bets_stream, name=EXCHANGE_BETS),
        first=store,
        others=[],
        rows=ConsumerRows(database),
        run_id=f"pid-{os.getpid()}",
        duration_s=_DURATION_S,
        report_interval_s=_LOOK_INTERVAL_S,
        poll_interval_s=settings.poll_interval_s,
        max_buffered_records=settings.max_buffered_records,
        decode=decode,
        share=share,
        on_close=database.dispose,
    )


if __name__ == "__main__":
    main()
