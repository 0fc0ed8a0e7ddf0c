"""Parts for tests of the consumer engine: a hasty clock, stores that outlive consumers, sinks that fail on
demand, consumers in threads.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.domain.records import BetUpdate
from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import Advance, StoreUnavailable, Superseded
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database, metadata
from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.streams.engine.reports import ConsumerReport
from exchange_platform.streams.engine.sink import Sink, SinkCommit
from exchange_platform.streams.engine.source import Read, ShardBatch, StreamRecord
from exchange_platform.streams.sinks.operational import BetsSink
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.support.memory_source import MemorySource
from tests.support.platform_parts import wait_for
from tests.support.prepared import prepare_database
from tests.support.workload import matched_pairs

Place = tuple[str, str, int]
"""Shard, position, part."""


class HastyClock:
    """The machine's clock, on which seconds pass the faster."""

    haste = 20.0

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic() * self.haste

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        return wake.wait(max(0.0, timeout_s) / self.haste)


class Store:
    """What a recording sink keeps: it outlives consumers, and fences them as the contract of
    stores/checkpoints.py asks.
    """

    def __init__(self) -> None:
        self.written: list[tuple[Place, bytes]] = []
        self.positions: dict[str, str | None] = {}
        self.claims: list[tuple[int, tuple[str, ...]]] = []
        self._epochs: dict[str, int] = {}
        self._lock = threading.Lock()

    def places(self) -> list[Place]:
        """Where the written records lay in the stream, in the order of writing."""
        return [place for place, _ in self.written]

    def doubled(self) -> list[Place]:
        """Places that were written more than once."""
        return [place for place, times in Counter(self.places()).items() if times > 1]

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        with self._lock:
            for shard in shards:
                if self._epochs.get(shard, 0) > epoch:
                    raise Superseded(f"epoch {self._epochs[shard]} holds {shard}")
            self._epochs.update(dict.fromkeys(shards, epoch))
            self.claims.append((epoch, tuple(shards)))
            return {shard: self.positions.setdefault(shard, None) for shard in shards}

    def write(self, epoch: int, records: Sequence[tuple[Place, bytes]], advances: Sequence[Advance]) -> None:
        with self._lock:
            for step in advances:
                if (self._epochs[step.shard], self.positions[step.shard]) != (epoch, step.expected):
                    raise Superseded(
                        f"{step.shard}: epoch {epoch} at {step.expected},"
                        f" held: {self._epochs[step.shard]} at {self.positions[step.shard]}"
                    )
            self.written.extend(records)
            for step in advances:
                self.positions[step.shard] = step.position


class RecordingSink:
    """A follower that notes what it is given, after asking `before` whether anything goes wrong."""

    enough_records = 1

    def __init__(
        self, name: str = "follower", *, interval_s: float = 0.0, store: Store | None = None
    ) -> None:
        self.name = name
        self.interval_s = interval_s
        self.store = store or Store()
        self.before: Callable[[Sequence[StreamRecord]], None] = lambda records: None
        self.commits = 0
        self.closed = False

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        return self.store.claim(epoch, shards)

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        alive = [
            (batch.shard, record)
            for batch in batches
            for record in batch.records
            if record.record is not None
        ]
        self.before([record for _, record in alive])
        self.store.write(
            epoch,
            [((shard, record.position, record.part), record.data) for shard, record in alive],
            advances,
        )
        self.commits += 1
        return SinkCommit(len(alive))

    def tick(self, epoch: int) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class FailingOperationalSink(BetsSink):
    """The real one, which asks `before` whether anything goes wrong, and notes what it committed."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self.before: Callable[[Sequence[StreamRecord]], None] = lambda records: None
        self.before_burying: Callable[[], None] = lambda: None
        self.committed: list[Place] = []

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        self.before([record for batch in batches for record in batch.records if record.record is not None])
        done = super().commit(epoch, batches, advances)
        self.committed += [
            (batch.shard, record.position, record.part) for batch in batches for record in batch.records
        ]
        return done

    def bury(self, shard: str, records: Sequence[StreamRecord]) -> None:
        self.before_burying()
        super().bury(shard, records)


def poisoned_by(*data: bytes) -> Callable[[Sequence[StreamRecord]], None]:
    """Fails while one of these records is to be written."""

    def before(records: Sequence[StreamRecord]) -> None:
        for record in records:
            if record.data in data:
                raise ValueError("this can not be written")

    return before


class Gate:
    """Lets nothing through until it is opened: the store is unavailable meanwhile."""

    def __init__(self) -> None:
        self.is_open = False
        self.refused = 0

    def __call__(self, records: Sequence[StreamRecord] = ()) -> None:
        if not self.is_open:
            self.refused += 1
            raise StoreUnavailable("the gate is shut")


def unavailable_in_a_row(times: int) -> Callable[..., None]:
    """A store that can't be reached so many times, and can from then on."""
    tries = 0

    def before(records: object = ()) -> None:
        nonlocal tries
        tries += 1
        if tries <= times:
            raise StoreUnavailable(f"try {tries}")

    return before


class Unavailable:
    """A store that is away at first and, until it was so often enough, before each second commit."""

    def __init__(self, times: int = 0) -> None:
        self.times = times
        self.refused = 0
        self._again = False

    def __call__(self, records: Sequence[StreamRecord] = ()) -> None:
        self._again = not self._again
        if self.refused < self.times and self._again:
            self.refused += 1
            raise StoreUnavailable(f"for the {self.refused}. time")


class AggregatingSource(MemorySource):
    """Groups of records share a position and differ in part, as the producer library's aggregated
    records do.
    """

    def __init__(self, *, group: int) -> None:
        super().__init__(EXCHANGE_BETS)
        self.group = group
        self.read_limit = 100 * group

    def seek(self, shard: str, position: str | None) -> None:
        super().seek(shard, str(int(position or 0) * self.group))

    def read(self, shard: str) -> Read:
        read = super().read(shard)
        for record in read.records:
            place = int(record.position) - 1
            record.position, record.part = str(place // self.group + 1), place % self.group
        return read


class Platform:
    """A database that outlives consumers, and what consumers need beside it."""

    def __init__(self, directory: Path) -> None:
        self.database = Database(f"sqlite:///{directory / 'operational.db'}")
        prepare_database(self.database)
        self.clock = HastyClock()
        self.rows = ConsumerRows(self.database)

    def first(self) -> FailingOperationalSink:
        return FailingOperationalSink(self.database, self.clock)

    def consumer(
        self,
        source: MemorySource,
        others: Sequence[Sink] = (),
        *,
        first: BetsSink | None = None,
        duration_s: float = 10_000.0,
        max_buffered_records: int = 40_000,
        on_close: Callable[[], None] = lambda: None,
    ) -> Consumer:
        return Consumer(
            source=source,
            first=first or self.first(),
            others=others,
            rows=self.rows,
            run_id="test",
            duration_s=duration_s,
            report_interval_s=2.0,
            max_buffered_records=max_buffered_records,
            on_close=on_close,
            clock=self.clock,
        )

    def table(self, name: str) -> list[dict[str, Any]]:
        """Every row of a table."""
        with self.database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(sa.select(metadata.tables[name]))]

    def drop(self, name: str) -> None:
        """Drop a table."""
        metadata.tables[name].drop(self.database.engine)

    def heartbeats(self, source: str) -> int:
        """When the source's newest consumer last said something; 0 before its first heartbeat."""
        newest = self.rows.newest(source)
        if newest is None or newest.heartbeat_at_us == newest.started_at_us:
            return 0
        return newest.heartbeat_at_us

    def is_caught_up(self, since_us: int) -> bool:
        """Whether the newest consumer's sinks all held, after this instant, what the source had."""
        newest = self.rows.newest(EXCHANGE_BETS)
        return newest is not None and (newest.caught_up_at_us or 0) > since_us

    def consume_all(self, consumer: Consumer) -> list[ConsumerReport]:
        """Run a consumer until it has caught up with all that the source holds now, then stop it."""
        since_us = self.clock.now_us()
        running = Running(consumer)
        running.until(lambda: self.is_caught_up(since_us), "caught up")
        return running.stop()


@contextmanager
def new_platform(directory: Path) -> Iterator[Platform]:
    platform = Platform(directory)
    yield platform
    platform.database.dispose()


class Running:
    """A consumer that runs in a thread of its own."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.reports: list[ConsumerReport] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.reports.extend(self.consumer.run())
        except BaseException as error:
            self.error = error

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def until(self, condition: Callable[[], object], what: str = "") -> Running:
        """Wait for a condition; an error of the consumer's ends the wait."""
        wait_for(lambda: self.error is not None or condition(), timeout_s=30, what=what)
        if self.error is not None:
            raise self.error
        return self

    def join(self) -> list[ConsumerReport]:
        """Wait for its end; raises what it raised."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the consumer does not end"
        if self.error is not None:
            raise self.error
        return self.reports

    def stop(self) -> list[ConsumerReport]:
        self.consumer.stop()
        return self.join()


def bet_updates(pairs: int, **choices: Any) -> list[BetUpdate]:
    return [record for record in matched_pairs(pairs, **choices) if isinstance(record, BetUpdate)]


def of_a_user(number: int, **changes: Any) -> BetUpdate:
    """One open bet of a user of its own."""
    bet = bet_updates(1, settle=False)[0]
    return msgspec.structs.replace(bet, bet_id=f"bet-{number}", user_id=f"user-{number}", **changes)
