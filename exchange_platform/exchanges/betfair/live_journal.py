"""What following Betfair live must not lose: where the stream was, the volume known then, what is yet to be
published, and what was and may have to be again. One SQLite file.

Not here: what follows from a message (live_book.py), publishing (live_publishing.py).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import msgspec

from exchange_platform.domain.events import FeedUpdate, encode_update
from exchange_platform.domain.records import encode
from exchange_platform.exchanges.betfair.messages import (
    MarketChange,
    MarketDefinition,
    Message,
    RunnerChange,
)
from exchange_platform.exchanges.betfair.volumes import Derived, handicap_of
from exchange_platform.exchanges.committed import are_committed
from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.operational.bets.restatements import Restatement

LIVE_FILE = "betfair-live.sqlite"
"""The journal's name in the data directory."""

EXECUTION, UPDATE, RESTATEMENT = "execution", "update", "restatement"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (
    one INTEGER PRIMARY KEY CHECK (one = 1), criteria TEXT NOT NULL, initial_clk TEXT, clk TEXT, messages INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS markets (market_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, definition BLOB);
CREATE TABLE IF NOT EXISTS volumes (
    market_id TEXT, selection_id INTEGER, handicap TEXT, price TEXT, size TEXT NOT NULL,
    PRIMARY KEY (market_id, selection_id, handicap, price)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS kept (sequence INTEGER PRIMARY KEY, key TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS publications (sequence INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, positions TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS target (one INTEGER PRIMARY KEY CHECK (one = 1), created_at INTEGER NOT NULL);
"""
_encoder = msgspec.json.Encoder()
_definition = json_decoder(MarketDefinition)
_restatement = json_decoder(Restatement)
_positions = json_decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """Something that is yet to be published."""

    sequence: int
    kind: str
    key: str
    data: bytes


class LiveJournal:
    """A message's effects go in whole, in one transaction with the place in the stream after it: nothing is
    lost or derived twice.

    Any thread may call; one process has the file.
    """

    def __init__(self, path: Path, criteria: str) -> None:
        """Open or make the journal. What was known by other `criteria` is forgotten: a stream resumes only as
        it was subscribed to.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        with self._writing() as db:
            known = db.execute("SELECT criteria, messages FROM stream").fetchone()
            if known is None:
                db.execute("INSERT INTO stream VALUES (1, ?, NULL, NULL, 0)", (criteria,))
            elif known[0] != criteria:
                db.execute("DELETE FROM markets")
                db.execute("DELETE FROM volumes")
                db.execute("UPDATE stream SET criteria = ?, initial_clk = NULL, clk = NULL", (criteria,))
            row = db.execute("SELECT initial_clk, clk, messages FROM stream").fetchone()
        self.initial_clk: str | None = row[0]
        self.clk: str | None = row[1]
        self.messages: int = row[2]
        """Messages taken by all processes ever."""

    def markets(self) -> list[Message]:
        """Every market as an image of itself, as of the newest message that was taken."""
        with self._lock:
            volumes: dict[str, dict[tuple[int, str], list[tuple[Decimal, Decimal]]]] = {}
            for market_id, selection_id, handicap, price, size in self._db.execute(
                "SELECT * FROM volumes ORDER BY market_id, selection_id, handicap"
            ):
                ladder = volumes.setdefault(market_id, {}).setdefault((selection_id, handicap), [])
                ladder.append((Decimal(price), Decimal(size)))
            rows = self._db.execute("SELECT market_id, at_ms, definition FROM markets").fetchall()
        return [
            Message(
                op="mcm",
                pt=at_ms,
                mc=[
                    MarketChange(
                        id=market_id,
                        img=True,
                        definition=_definition.decode(definition) if definition is not None else None,
                        rc=[
                            RunnerChange(id=selection_id, hc=Decimal(handicap), trd=ladder)
                            for (selection_id, handicap), ladder in volumes.get(market_id, {}).items()
                        ],
                    )
                ],
            )
            for market_id, at_ms, definition in rows
        ]

    def take(
        self,
        message: Message,
        tokens: tuple[str | None, str | None] | None,
        derived: Derived,
        updates: Sequence[FeedUpdate],
    ) -> None:
        """Keep a message's effects and, with `tokens`, that all up to it was taken."""
        waiting = [
            *((EXECUTION, execution.market_id, encode(execution)) for execution in derived.executions),
            *((UPDATE, update.event_id, encode_update(update)) for update in updates),
            *((RESTATEMENT, one.market_id, _encoder.encode(one)) for one in derived.restatements),
        ]
        initial_clk, clk = tokens if tokens is not None else (self.initial_clk, self.clk)
        with self._writing() as db:
            for change in message.mc or ():
                self._keep(db, change, message.pt or 0)
            db.executemany("INSERT INTO outbox (kind, key, data) VALUES (?, ?, ?)", waiting)
            db.execute(
                "UPDATE stream SET initial_clk = ?, clk = ?, messages = messages + 1", (initial_clk, clk)
            )
        self.initial_clk, self.clk = initial_clk, clk
        self.messages += 1

    def begin_anew(self) -> None:
        """Forget where the stream was."""
        with self._writing() as db:
            db.execute("UPDATE stream SET initial_clk = NULL, clk = NULL")
        self.initial_clk = self.clk = None

    def forget(self, market_ids: Iterable[str]) -> None:
        """Forget markets of which no more will come."""
        ids = [(market_id,) for market_id in market_ids]
        with self._writing() as db:
            db.executemany("DELETE FROM volumes WHERE market_id = ?", ids)
            db.executemany("DELETE FROM markets WHERE market_id = ?", ids)

    def waiting(self, limit: int = 500) -> list[WaitingLine]:
        """The first that are yet to be published, in their order."""
        with self._lock:
            rows = self._db.execute("SELECT * FROM outbox ORDER BY sequence LIMIT ?", (limit,)).fetchall()
        return [WaitingLine(*row) for row in rows]

    def published(self, upto: int, positions: Mapping[str, str], *, now_us: int) -> None:
        """Everything up to this one is published, its executions up to these positions of the shards. They
        are kept until `settle`.
        """
        with self._writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO kept SELECT sequence, key, data FROM outbox WHERE sequence <= ? AND kind = ?",
                (upto, EXECUTION),
            )
            db.execute("DELETE FROM outbox WHERE sequence <= ?", (upto,))
            if positions:
                self._note(db, upto, positions, now_us)

    def published_to(self) -> int | None:
        """When the stream was created that holds what is kept; None before anything was published."""
        with self._lock:
            row = self._db.execute("SELECT created_at FROM target").fetchone()
        return int(row[0]) if row is not None else None

    def publishes_to(self, created_at: int) -> None:
        """From now on it is another stream: where what is kept lies in it is not known yet."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO target VALUES (1, ?)", (created_at,))
            db.execute("DELETE FROM publications")

    def kept(self, after: int = 0, limit: int = 500) -> list[WaitingLine]:
        """The first executions after a sequence that were published and are kept, in their order."""
        with self._lock:
            rows = self._db.execute(
                "SELECT sequence, ?, key, data FROM kept WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (EXECUTION, after, limit),
            ).fetchall()
        return [WaitingLine(*row) for row in rows]

    def published_again(self, upto: int, positions: Mapping[str, str], *, now_us: int) -> None:
        """All that is kept up to this one is published again, up to these positions."""
        with self._writing() as db:
            self._note(db, upto, positions, now_us)

    def settle(self, committed: Mapping[str, str], *, before_us: int, max_kept: int) -> int:
        """Forget executions that every store has committed and that were last published before then; and
        above `max_kept` the oldest, whatever is true of them: returns how many of those were not settled.
        """
        with self._writing() as db:
            settled = 0
            for sequence, at_us, positions in db.execute(
                "SELECT sequence, at_us, positions FROM publications ORDER BY sequence"
            ).fetchall():
                if at_us >= before_us or not are_committed(_positions.decode(positions), committed):
                    break
                settled = sequence
            db.execute("DELETE FROM kept WHERE sequence <= ?", (settled,))
            db.execute("DELETE FROM publications WHERE sequence <= ?", (settled,))
            (count,) = db.execute("SELECT count(*) FROM kept").fetchone()
            excess = max(0, int(count) - max_kept)
            db.execute(
                "DELETE FROM kept WHERE sequence IN (SELECT sequence FROM kept ORDER BY sequence LIMIT ?)",
                (excess,),
            )
        return excess

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @staticmethod
    def _note(db: sqlite3.Connection, sequence: int, positions: Mapping[str, str], now_us: int) -> None:
        db.execute(
            "INSERT OR REPLACE INTO publications VALUES (?, ?, ?)",
            (sequence, now_us, _encoder.encode(positions).decode()),
        )

    @staticmethod
    def _keep(db: sqlite3.Connection, change: MarketChange, at_ms: int) -> None:
        definition = _encoder.encode(change.definition) if change.definition is not None else None
        db.execute(
            "INSERT INTO markets VALUES (?, ?, ?) ON CONFLICT (market_id) DO UPDATE SET"
            " at_ms = excluded.at_ms, definition = coalesce(excluded.definition, definition)",
            (change.id, at_ms, definition),
        )
        if change.img:
            db.execute("DELETE FROM volumes WHERE market_id = ?", (change.id,))
        sizes = {
            (change.id, runner.id, _text(handicap_of(runner.hc)), _text(price)): size
            for runner in change.rc or ()
            for price, size in runner.trd or ()
        }
        db.executemany(
            "DELETE FROM volumes WHERE market_id = ? AND selection_id = ? AND handicap = ? AND price = ?",
            [place for place, size in sizes.items() if not size],
        )
        db.executemany(
            "INSERT OR REPLACE INTO volumes VALUES (?, ?, ?, ?, ?)",
            [(*place, str(size)) for place, size in sizes.items() if size],
        )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise


def decode_restatement(data: bytes) -> Restatement:
    """The restatement that waits to be stored."""
    return _restatement.decode(data)


def _text(number: Decimal) -> str:
    """One text for one number."""
    return f"{number.normalize():f}" if number else "0"
