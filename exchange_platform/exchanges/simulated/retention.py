"""What the exchange's journal may forget: when batches were published last, and up to where the platform has
committed them.

A batch is *acknowledged* once every consumer of the stream has committed it, and *settled* once it is
acknowledged and some time has passed since it was last published. A stream that was lost and made again gets
every batch that is not settled. A settled batch is kept longer, for the exchange's report and for whoever
asks for its records again. The journal's other tables live in journal.py.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from exchange_platform.exchanges.committed import are_committed
from exchange_platform.process.decoders import json_decoder, msgpack_decoder

log = logging.getLogger(__name__)

Pairs = list[tuple[str, bytes]]
"""(partition key, encoded record) pairs, as the publisher takes them."""

_batch_encoder = msgspec.msgpack.Encoder()
_positions = json_decoder(dict[str, str])
_batch_decoder = msgpack_decoder(Pairs)

RETAINED_S = 600.0
RECORDS_KEPT_S = 2 * 3600.0
MAX_BYTES = 2_000_000_000
NOTE_EVERY_US = 1_000_000
"""How often the progress of publishing is noted: a crash publishes so much again."""
_LOOKED_AT_ONCE = 1000

RETENTION_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    sequence INTEGER PRIMARY KEY, committed_at_us INTEGER NOT NULL, records INTEGER NOT NULL, batch BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS outbox_by_time ON outbox (committed_at_us);
CREATE TABLE IF NOT EXISTS publications (
    sequence INTEGER PRIMARY KEY, noted_at_us INTEGER NOT NULL, positions TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the journal keeps what was published."""

    retained_s: float = RETAINED_S
    """No batch is settled earlier after it was last published."""
    records_kept_s: float = RECORDS_KEPT_S
    """Settled batches are kept until they are so old, for reports and requests."""
    max_bytes: int = MAX_BYTES
    """Above this the oldest published batches go, whatever else is true. What was lost so is counted and
    reported.
    """


USUAL = Retention()


@dataclass(frozen=True, slots=True)
class RetentionProgress:
    """How far publishing has come: all batches up to `sequence` are in the stream that was created at that
    time.

    `positions` are the last ones that the batches got there, by shard; a shard that got none is missing.
    """

    sequence: int = 0
    stream_created_at: int | None = None
    positions: Mapping[str, str] = field(default_factory=dict)


def packed(pairs: Pairs) -> bytes:
    """A batch's records as they lie in `outbox`."""
    return zlib.compress(_batch_encoder.encode(pairs), 1)


def unpacked(batch: bytes) -> Pairs:
    """The records of a row of `outbox`."""
    return _batch_decoder.decode(zlib.decompress(batch))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What one pass forgot. `unacknowledged` records are lost if the stream is lost before the platform has
    read them.
    """

    batches: int = 0
    unacknowledged: int = 0


class Publications:
    """The tables `publications` and `outbox`, as far as forgetting goes. Used by the journal's thread."""

    def __init__(self, db: sqlite3.Connection, retention: Retention) -> None:
        self._db = db
        self._retention = retention
        self._noted_at_us: int | None = None
        self.settled, self.acknowledged, self.bytes = (
            self._number("settled_sequence"),
            self._number("acknowledged_sequence"),
            self._number("outbox_bytes"),
        )
        if not self.bytes:  # a journal of an earlier release
            (self.bytes,) = db.execute("SELECT coalesce(sum(length(batch)), 0) FROM outbox").fetchone()

    def is_due(
        self, progress: RetentionProgress, known: RetentionProgress, now_us: int, *, idle: bool
    ) -> bool:
        """Whether the commit at this time should note the progress, `known` being what was noted last."""
        if progress.stream_created_at != known.stream_created_at:
            return True
        if progress.sequence == known.sequence:
            return False
        return idle or self._noted_at_us is None or not 0 <= now_us - self._noted_at_us < NOTE_EVERY_US

    def write(self, progress: RetentionProgress, known: RetentionProgress, now_us: int) -> None:
        """Note in the caller's transaction that all of this was published by now."""
        if progress.stream_created_at != known.stream_created_at:
            # All that was not settled is in the new stream now, at new positions.
            self._db.execute("DELETE FROM publications")
        self._db.execute(
            "INSERT OR REPLACE INTO publications VALUES (?, ?, ?)",
            (progress.sequence, now_us, msgspec.json.encode(progress.positions).decode()),
        )

    def noted(self, now_us: int) -> None:
        """The transaction of `write` is committed."""
        self._noted_at_us = now_us

    def settle(self, acknowledged: Mapping[str, str], now_us: int) -> None:
        """Move on what is acknowledged and settled, by what the platform says it has committed."""
        before_us = now_us - int(self._retention.retained_s * 1e6)
        acked = settled = self.settled
        for sequence, noted_at_us, positions in self._db.execute(
            "SELECT sequence, noted_at_us, positions FROM publications ORDER BY sequence"
        ):
            if not are_committed(_positions.decode(positions), acknowledged):
                break
            acked = max(acked, sequence)
            if noted_at_us < before_us:
                settled = acked
        if (acked, settled) == (self.acknowledged, self.settled):
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM publications WHERE sequence <= ?", (settled,))
            self._note(acknowledged_sequence=acked, settled_sequence=settled)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self.acknowledged, self.settled = acked, settled

    def forget(self, published: int, now_us: int) -> Forgotten:
        """Delete settled batches that are old, and the oldest of those up to `published` while the journal is
        too large.
        """
        before_us = now_us - int(max(self._retention.records_kept_s, self._retention.retained_s) * 1e6)
        # The index by time finds the old ones; by the sequence alone every batch would be looked at.
        old = "committed_at_us < ? AND +sequence <= ?"
        found = self._delete(old, (before_us, self.settled))
        excess = self.bytes - self._retention.max_bytes
        upto = 0
        rows = self._db.execute(
            "SELECT sequence, length(batch) FROM outbox WHERE sequence <= ? ORDER BY sequence", (published,)
        )
        while excess > 0 and (some := rows.fetchmany(_LOOKED_AT_ONCE)):
            for sequence, size in some:
                upto, excess = sequence, excess - size
                if excess <= 0:
                    break
        rows.close()
        if not upto:
            return Forgotten(found)
        (unread,) = self._db.execute(
            "SELECT coalesce(sum(records), 0) FROM outbox WHERE sequence > ? AND sequence <= ?",
            (self.acknowledged, upto),
        ).fetchone()
        found += self._delete("sequence <= ?", (upto,), unacknowledged=unread)
        if unread:
            log.warning(
                "the journal holds more than %d MB: %d records are forgotten that the platform has not acknowledged",
                self._retention.max_bytes // 1_000_000,
                unread,
            )
        return Forgotten(found, unread)

    def _delete(self, where: str, values: tuple[int, ...], *, unacknowledged: int = 0) -> int:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            size, newest_us = db.execute(
                f"SELECT sum(length(batch)), max(committed_at_us) FROM outbox WHERE {where}", values
            ).fetchone()
            deleted = 0
            if size is not None:
                deleted = db.execute(f"DELETE FROM outbox WHERE {where}", values).rowcount
                self._note(outbox_bytes=self.bytes - size)
            if unacknowledged:
                self._note(
                    dropped_records=self._number("dropped_records") + unacknowledged,
                    dropped_until_us=newest_us,
                )
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        self.bytes -= size or 0
        return deleted

    def _number(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM numbers WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row is not None else 0

    def _note(self, **numbers: int) -> None:
        self._db.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?)", numbers.items())
