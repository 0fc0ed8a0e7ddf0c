"""What the exchange must not forget: one SQLite file. Publishing lives in process.py, what the markets do in
exchange.py.

A tick is one transaction: events, markets, changed bets, the orders that were taken with the position up to
which they were read, and the records and feed updates that tell of it. Only what is committed is published.
After a crash the unpublished batches go out again, and after the loss of the stream every batch that is not
settled (retention.py), byte for byte as before.

| table | holds | |---|---| | `numbers` | by name: the next ids, starts of the exchange, `published_sequence`,
`acknowledged_sequence`, `settled_sequence`, `stream_created_at` (ms), `outbox_bytes`, `dropped_records` and
`dropped_until_us` (forgotten unacknowledged), `sums_since_us`, `summed_sequence` and `summed_until_us` (what
`market_minutes` covers) | | `outbox` | a batch a tick: `batch` is zlib over msgpack, a list of (partition
key, record as JSON); every record of the batch is younger than the batch before it and not younger than
`committed_at_us` | | `publications` | all batches up to `sequence` were in the stream by `noted_at_us`, up to
these positions by shard | | `market_minutes` | by market and minute, the executions (by `executed_at`) and
bet versions (by `updated_at`) in sums, kept for seven days; written every ten seconds and at the end | |
`bets` | the newest state of every bet of a market that is not done with, as JSON; bets that can't change any
more are deleted | | `taken_bets` | the newest state of every bet that came from `bet-orders`, until seven
days after its last change | | `orders` | which orders were taken, and what came of them | | `order_positions`
| up to where the shards of `bet-orders` are taken | | `markets`, `events` | their states as JSON, while they
live | | `feed_outbox` | feed updates that are not known to be in the feed |
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from exchange_platform.domain import records
from exchange_platform.domain.records import BetUpdate
from exchange_platform.exchanges.simulated.markets.market import FINAL
from exchange_platform.exchanges.simulated.minute_sums import SUMS_SCHEMA, ExchangeMinuteSums
from exchange_platform.exchanges.simulated.retention import (
    RETENTION_SCHEMA,
    USUAL,
    Pairs,
    Publications,
    Retention,
    RetentionProgress,
    packed,
    unpacked,
)
from exchange_platform.exchanges.simulated.states import EventState, MarketState
from exchange_platform.exchanges.simulated.taken_bets import TAKEN_BETS_SCHEMA
from exchange_platform.process.decoders import json_decoder, msgpack_decoder

ORDERS_KEPT_S = 7 * 24 * 3600
"""How long an order is known as a repeat and its bet answered for, from the bet's last change on."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS markets (market_id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bets (
    market_id TEXT NOT NULL, number INTEGER NOT NULL, state BLOB NOT NULL, PRIMARY KEY (market_id, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (event_id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY, bet_id TEXT NOT NULL, taken_at_us INTEGER NOT NULL, outcome TEXT NOT NULL, early BLOB
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS orders_by_age ON orders (taken_at_us);
CREATE INDEX IF NOT EXISTS early_orders ON orders (bet_id) WHERE early IS NOT NULL;
CREATE TABLE IF NOT EXISTS order_positions (shard TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS feed_outbox (sequence INTEGER PRIMARY KEY, updates BLOB NOT NULL);
"""
_NUMBERS = ("next_bet", "next_fixture", "starts")

_T = TypeVar("_T")

_batch_encoder = msgspec.msgpack.Encoder()
_state_encoder = msgspec.json.Encoder()
_state_decoder, _event_decoder = json_decoder(MarketState), json_decoder(EventState)
_updates_decoder = msgpack_decoder(list[bytes])


@dataclass(slots=True)
class Numbers:
    """The numbers that never recur: the next bet's and the next event's or market's. Each start of the
    exchange counts too.
    """

    next_bet: int
    next_fixture: int
    starts: int = 0


@dataclass(frozen=True, slots=True)
class TakenOrder:
    """An order that was read from `bet-orders`, and what came of it. `early` is a cancel that came before its
    bet, as it was sent.
    """

    order_id: str
    bet_id: str
    outcome: str
    early: bytes | None = None


@dataclass(slots=True)
class Tick:
    """What one tick changed: all of it becomes durable, or nothing."""

    numbers: Numbers
    markets: Iterable[MarketState] = ()
    bets: dict[int, tuple[BetUpdate, bytes]] = field(default_factory=dict)
    """The changed bets' newest states, and the same encoded, by the bet's number."""
    finished: Sequence[str] = ()
    pairs: Pairs = field(default_factory=list)
    events: Iterable[EventState] = ()
    """Those that changed."""
    gone_events: Sequence[str] = ()
    updates: Sequence[bytes] = ()
    """What the feed is to be given."""
    orders: Sequence[TakenOrder] = ()
    positions: dict[str, str] = field(default_factory=dict)
    """Up to where the shards of `bet-orders` are taken."""


@dataclass(frozen=True, slots=True)
class JournalBatch:
    """One tick's records in the outbox. With `sequence` 0, records that are published again; `done` is set
    once they are.
    """

    sequence: int
    pairs: Pairs
    done: threading.Event | None = field(default=None, compare=False)


@dataclass(slots=True)
class RestoredExchange:
    """The markets as they were after the last committed tick, with their bets in order of number."""

    numbers: Numbers
    markets: list[tuple[MarketState, list[tuple[int, BetUpdate]]]]
    events: list[EventState]


class Journal:
    """The exchange's memory. Used by one thread, save `batches`, which opens its own connection."""

    def __init__(self, path: Path, retention: Retention = USUAL) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(
            "PRAGMA synchronous = FULL"
        )  # published implies remembered, even when the power fails
        self._db.execute("PRAGMA wal_autocheckpoint = 4000")
        self._db.executescript(_SCHEMA + RETENTION_SCHEMA + SUMS_SCHEMA + TAKEN_BETS_SCHEMA)
        self._publications = Publications(self._db, retention)
        self._numbers = {
            str(name): int(value) for name, value in self._db.execute("SELECT name, value FROM numbers")
        }
        self._states: dict[str, bytes] = {}
        row = self._db.execute("SELECT max(sequence) FROM outbox").fetchone()
        self.last_sequence = max(int(row[0] or 0), self.progress.sequence)
        self._unfed: deque[tuple[int, list[bytes]]] = deque(
            (int(sequence), _updates_decoder.decode(updates))
            for sequence, updates in self._db.execute(
                "SELECT sequence, updates FROM feed_outbox WHERE sequence > ? ORDER BY sequence",
                (self._numbers.get("fed_sequence", 0),),
            )
        )
        self._fed = self._numbers.get("fed_sequence", 0)
        self.sums = ExchangeMinuteSums(self._db)
        """Sums by market and minute: whoever commits a record adds it here first."""
        self._last_us = 0
        self._next_feed = self._unfed[-1][0] + 1 if self._unfed else self._fed + 1

    @property
    def progress(self) -> RetentionProgress:
        """How far publishing had come when it was last noted. What came after goes out again."""
        return RetentionProgress(
            self._numbers.get("published_sequence", 0), self._numbers.get("stream_created_at")
        )

    def restore(self, now_us: int) -> RestoredExchange:
        """Read what is to go on. In an empty journal the numbers begin at the clock, so that a lost file
        repeats no id.
        """
        self.sums.begin(now_us)
        self.sums.catch_up(batch.pairs for batch in self.batches(self.sums.summed, self.last_sequence))
        self._last_us = now_us
        self.write_sums()
        numbers = Numbers(
            next_bet=self._numbers.get("next_bet", now_us),
            next_fixture=self._numbers.get("next_fixture", now_us // 1000),
            starts=self._numbers.get("starts", 0) + 1,
        )
        markets: list[tuple[MarketState, list[tuple[int, BetUpdate]]]] = []
        for market_id, state in self._db.execute("SELECT market_id, state FROM markets ORDER BY market_id"):
            bets: list[tuple[int, BetUpdate]] = []
            stored = self._db.execute(
                "SELECT number, state FROM bets WHERE market_id = ? ORDER BY number", (market_id,)
            )
            for number, data in stored:
                bet = records.decode(data)
                assert isinstance(bet, BetUpdate)
                bets.append((int(number), bet))
            markets.append((_state_decoder.decode(state), bets))
        events = [_event_decoder.decode(state) for (state,) in self._db.execute("SELECT state FROM events")]
        return RestoredExchange(numbers, markets, events)

    def positions(self) -> dict[str, str]:
        """Up to where the shards of `bet-orders` are taken."""
        return {
            str(shard): str(position)
            for shard, position in self._db.execute("SELECT shard, position FROM order_positions")
        }

    def has_order(self, order_id: str) -> bool:
        """Whether this order was taken, as far as is remembered."""
        return self._db.execute("SELECT 1 FROM orders WHERE order_id = ?", (order_id,)).fetchone() is not None

    def taken_bet(self, bet_id: str) -> BetUpdate | None:
        """The newest committed state of a bet that was taken from `bet-orders`."""
        row = self._db.execute("SELECT state FROM taken_bets WHERE bet_id = ?", (bet_id,)).fetchone()
        if row is None:
            return None
        bet = records.decode(row[0])
        assert isinstance(bet, BetUpdate)
        return bet

    def early_orders(self, bet_id: str) -> list[bytes]:
        """The cancels that came before the bet, as they were sent."""
        rows = self._db.execute(
            "SELECT early FROM orders WHERE bet_id = ? AND early IS NOT NULL ORDER BY taken_at_us, order_id",
            (bet_id,),
        )
        return [bytes(early) for (early,) in rows]

    def commit(self, tick: Tick, progress: RetentionProgress, now_us: int) -> JournalBatch | None:
        """Make a tick durable; then its records may be published. The batch of them, None where there are
        none.
        """
        numbers: dict[str, int] = {name: getattr(tick.numbers, name) for name in _NUMBERS}
        numbers["fed_sequence"] = self._fed
        known = self.progress
        noting = self._publications.is_due(progress, known, now_us, idle=not tick.pairs)
        if noting:
            numbers["published_sequence"] = progress.sequence
            if progress.stream_created_at is not None:
                numbers["stream_created_at"] = progress.stream_created_at
        states = {state.market.market_id: _state_encoder.encode(state) for state in tick.markets}
        batch = JournalBatch(self.last_sequence + 1, tick.pairs) if tick.pairs else None
        data = packed(tick.pairs) if batch is not None else b""
        numbers["outbox_bytes"] = self._publications.bytes + len(data)
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?)", _changed(numbers, self._numbers))
            db.executemany("INSERT OR REPLACE INTO markets VALUES (?, ?)", _changed(states, self._states))
            self._write_bets(tick.bets, now_us)
            over = [(market_id,) for market_id in tick.finished]
            db.executemany("DELETE FROM bets WHERE market_id = ?", over)
            db.executemany("DELETE FROM markets WHERE market_id = ?", over)
            self._write_events(tick)
            self._write_orders(tick, now_us)
            if self._fed != self._numbers.get("fed_sequence"):
                db.execute("DELETE FROM feed_outbox WHERE sequence <= ?", (self._fed,))
            if tick.updates:
                db.execute(
                    "INSERT INTO feed_outbox VALUES (?, ?)",
                    (self._next_feed, _batch_encoder.encode(tick.updates)),
                )
            if batch is not None:
                db.execute(
                    "INSERT INTO outbox VALUES (?, ?, ?, ?)",
                    (batch.sequence, now_us, len(batch.pairs), data),
                )
            if noting:
                self._publications.write(progress, known, now_us)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        self._numbers.update(numbers)
        self._publications.bytes = numbers["outbox_bytes"]
        if noting:
            self._publications.noted(now_us)
        self._states = states
        if batch is not None:
            self.last_sequence, self._last_us = batch.sequence, now_us
        if tick.updates:
            self._unfed.append((self._next_feed, list(tick.updates)))
            self._next_feed += 1
        return batch

    @property
    def unfed(self) -> list[bytes]:
        """The committed feed updates that are not known to be in the feed, in order."""
        return [update for _, updates in self._unfed for update in updates]

    def fed(self) -> None:
        """All of `unfed` is in the feed: with the next commit that is remembered. A crash before it feeds the
        same bytes again.
        """
        if self._unfed:
            self._fed = self._unfed[-1][0]
            self._unfed.clear()

    def _write_events(self, tick: Tick) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO events VALUES (?, ?)",
            [(state.event.event_id, _state_encoder.encode(state)) for state in tick.events],
        )
        self._db.executemany("DELETE FROM events WHERE event_id = ?", [(one,) for one in tick.gone_events])

    def _write_orders(self, tick: Tick, now_us: int) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?, ?)",
            [(one.order_id, one.bet_id, now_us, one.outcome, one.early) for one in tick.orders],
        )
        self._db.executemany("INSERT OR REPLACE INTO order_positions VALUES (?, ?)", tick.positions.items())

    def _write_bets(self, bets: dict[int, tuple[BetUpdate, bytes]], now_us: int) -> None:
        gone: list[tuple[str, int]] = []
        kept: list[tuple[str, int, bytes]] = []
        taken: list[tuple[str, int, bytes]] = []
        for number, (bet, data) in bets.items():
            if bet.status not in FINAL:
                kept.append((bet.market_id, number, data))
            elif bet.version > 1:
                gone.append((bet.market_id, number))
            if bet.bet_id != str(number):
                taken.append((bet.bet_id, now_us, data))
        self._db.executemany("INSERT OR REPLACE INTO taken_bets VALUES (?, ?, ?)", taken)
        self._db.executemany("INSERT OR REPLACE INTO bets VALUES (?, ?, ?)", kept)
        self._db.executemany("DELETE FROM bets WHERE market_id = ? AND number = ?", gone)

    def write_sums(self) -> None:
        """Write the sums of what is committed. Not between adding a record to them and its commit."""
        self.sums.write(self.last_sequence, self._last_us)

    @property
    def settled_sequence(self) -> int:
        """Every batch up to this one is committed by the platform, and was published long ago. From any
        thread.
        """
        return self._publications.settled

    def forget(self, now_us: int, acknowledged: Mapping[str, str]) -> None:
        """Drop batches whose time is over (retention.py), and orders and their bets.

        `acknowledged` is up to where the platform has committed each shard of the stream.
        """
        long_ago_us = now_us - ORDERS_KEPT_S * 1_000_000
        self._db.execute("DELETE FROM orders WHERE taken_at_us < ?", (long_ago_us,))
        self._db.execute("DELETE FROM taken_bets WHERE changed_at_us < ?", (long_ago_us,))
        self.write_sums()
        self._publications.settle(acknowledged, now_us)
        self._publications.forget(self.progress.sequence, now_us)
        self._numbers["outbox_bytes"] = self._publications.bytes

    def unpublished_records(self) -> int:
        """How many committed records are not known to be in the stream."""
        row = self._db.execute(
            "SELECT coalesce(sum(records), 0) FROM outbox WHERE sequence > ?", (self.progress.sequence,)
        ).fetchone()
        return int(row[0])

    def batches(self, after: int, up_to: int) -> Iterator[JournalBatch]:
        """The retained batches with `after < sequence <= up_to`, in order. From any thread."""
        with self.reader() as db:
            while after < up_to:
                row = db.execute(
                    "SELECT sequence, batch FROM outbox WHERE sequence > ? AND sequence <= ?"
                    " ORDER BY sequence LIMIT 1",
                    (after, up_to),
                ).fetchone()
                if row is None:
                    return
                after = int(row[0])
                yield JournalBatch(after, unpacked(row[1]))

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """Another connection to the journal, to read from. From any thread."""
        db = sqlite3.connect(self._path, isolation_level=None)
        try:
            yield db
        finally:
            db.close()

    def close(self) -> None:
        """Close the file. Nothing depends on it: what was committed stays."""
        self._db.close()


def _changed(now: dict[str, _T], before: dict[str, _T]) -> list[tuple[str, _T]]:
    return [(name, value) for name, value in now.items() if before.get(name) != value]
