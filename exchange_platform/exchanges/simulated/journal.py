"""What the exchange must not forget: one SQLite file. Not here: publishing (process.py), what the markets do (exchange.py).

A tick is one transaction: markets, changed bets, the records that tell of it. Only what is committed is published, and
what was published stays here for a while: after a crash the unpublished rest, and after the loss of the stream all
that is retained, goes out again, byte for byte as before.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from exchange_platform import records
from exchange_platform.exchanges.simulated.market import FINAL, MarketState
from exchange_platform.records import BetUpdate

RETAINED_S = 600
"""How long published records are kept, for a stream that is lost and made anew."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS markets (market_id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bets (
    market_id TEXT NOT NULL, number INTEGER NOT NULL, state BLOB NOT NULL, PRIMARY KEY (market_id, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    sequence INTEGER PRIMARY KEY, committed_at_us INTEGER NOT NULL, records INTEGER NOT NULL, batch BLOB NOT NULL
);
"""

_T = TypeVar("_T")

Pairs = list[tuple[str, bytes]]
"""(partition key, encoded record) pairs, as the publisher takes them."""

_batch_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(Pairs)
_state_encoder = msgspec.json.Encoder()
_state_decoder = msgspec.json.Decoder(MarketState)


@dataclass(slots=True)
class Numbers:
    """The numbers that never recur: the next bet's and the next event's or market's. Each start of the exchange counts too."""

    next_bet: int
    next_fixture: int
    starts: int = 0


@dataclass(slots=True)
class Tick:
    """What one tick changed: all of it becomes durable, or nothing."""

    numbers: Numbers
    markets: Iterable[MarketState] = ()
    bets: dict[str, tuple[BetUpdate, bytes]] = field(default_factory=dict)
    """The changed bets' newest states, and the same encoded, by bet id."""
    finished: Sequence[str] = ()
    pairs: Pairs = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far publishing has come: all batches up to `sequence` are in the stream that was created at that time."""

    sequence: int = 0
    stream_created_at: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One tick's records in the outbox."""

    sequence: int
    pairs: Pairs


@dataclass(slots=True)
class Restored:
    """The markets as they were after the last committed tick, with their bets in order of number."""

    numbers: Numbers
    markets: list[tuple[MarketState, list[tuple[int, BetUpdate]]]]


class Journal:
    """The exchange's memory. Used by one thread, save `batches`, which opens its own connection."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(
            "PRAGMA synchronous = FULL"
        )  # published implies remembered, even when the power fails
        self._db.execute("PRAGMA wal_autocheckpoint = 4000")
        self._db.executescript(_SCHEMA)
        self._numbers = {
            str(name): int(value) for name, value in self._db.execute("SELECT name, value FROM numbers")
        }
        self._states: dict[str, bytes] = {}
        row = self._db.execute("SELECT max(sequence) FROM outbox").fetchone()
        self.last_sequence = max(int(row[0] or 0), self.progress.sequence)

    @property
    def progress(self) -> Progress:
        """How far publishing had come by the last commit that was told of it."""
        return Progress(self._numbers.get("published_sequence", 0), self._numbers.get("stream_created_at"))

    def restore(self, now_us: int) -> Restored:
        """Read what is to go on. In an empty journal the numbers begin at the clock, so that a lost file repeats no id."""
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
        return Restored(numbers, markets)

    def commit(self, tick: Tick, progress: Progress, now_us: int) -> Batch | None:
        """Make a tick durable; then its records may be published. The batch of them, None where there are none."""
        numbers = {
            "next_bet": tick.numbers.next_bet,
            "next_fixture": tick.numbers.next_fixture,
            "starts": tick.numbers.starts,
            "published_sequence": progress.sequence,
        }
        if progress.stream_created_at is not None:
            numbers["stream_created_at"] = progress.stream_created_at
        states = {state.market.market_id: _state_encoder.encode(state) for state in tick.markets}
        batch = Batch(self.last_sequence + 1, tick.pairs) if tick.pairs else None
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?)", _changed(numbers, self._numbers))
            db.executemany("INSERT OR REPLACE INTO markets VALUES (?, ?)", _changed(states, self._states))
            self._write_bets(tick.bets.values())
            over = [(market_id,) for market_id in tick.finished]
            db.executemany("DELETE FROM bets WHERE market_id = ?", over)
            db.executemany("DELETE FROM markets WHERE market_id = ?", over)
            if batch is not None:
                packed = zlib.compress(_batch_encoder.encode(batch.pairs), 1)
                db.execute(
                    "INSERT INTO outbox VALUES (?, ?, ?, ?)",
                    (batch.sequence, now_us, len(batch.pairs), packed),
                )
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        self._numbers.update(numbers)
        self._states = states
        if batch is not None:
            self.last_sequence = batch.sequence
        return batch

    def _write_bets(self, bets: Iterable[tuple[BetUpdate, bytes]]) -> None:
        gone: list[tuple[str, int]] = []
        kept: list[tuple[str, int, bytes]] = []
        for bet, data in bets:
            if bet.status not in FINAL:
                kept.append((bet.market_id, int(bet.bet_id), data))
            elif bet.version > 1:
                gone.append((bet.market_id, int(bet.bet_id)))
        self._db.executemany("INSERT OR REPLACE INTO bets VALUES (?, ?, ?)", kept)
        self._db.executemany("DELETE FROM bets WHERE market_id = ? AND number = ?", gone)

    def forget(self, now_us: int, retained_s: float = RETAINED_S) -> None:
        """Drop published batches older than `retained_s`."""
        self._db.execute(
            "DELETE FROM outbox WHERE sequence <= ? AND committed_at_us < ?",
            (self.progress.sequence, now_us - int(retained_s * 1_000_000)),
        )

    def unpublished_records(self) -> int:
        """How many committed records are not known to be in the stream."""
        row = self._db.execute(
            "SELECT coalesce(sum(records), 0) FROM outbox WHERE sequence > ?", (self.progress.sequence,)
        ).fetchone()
        return int(row[0])

    def batches(self, after: int, up_to: int) -> Iterator[Batch]:
        """The retained batches with `after < sequence <= up_to`, in order. From any thread."""
        db = sqlite3.connect(self._path, isolation_level=None)
        try:
            while after < up_to:
                row = db.execute(
                    "SELECT sequence, batch FROM outbox WHERE sequence > ? AND sequence <= ?"
                    " ORDER BY sequence LIMIT 1",
                    (after, up_to),
                ).fetchone()
                if row is None:
                    return
                after = int(row[0])
                yield Batch(after, _batch_decoder.decode(zlib.decompress(row[1])))
        finally:
            db.close()

    def close(self) -> None:
        """Close the file. Nothing depends on it: what was committed stays."""
        self._db.close()


def _changed(now: dict[str, _T], before: dict[str, _T]) -> list[tuple[str, _T]]:
    return [(name, value) for name, value in now.items() if before.get(name) != value]
