"""The journal of the exchange's feed: what exchanges append to and the gateway serves from. One SQLite file.

Updates are bytes here, each one JSON object; what they mean is events.py's. Not here: serving them
(gateway/), and who appends (the simulated exchange, `replay`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock

from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.process.decoders import json_decoder

FEED_FILE = "exchange-feed.sqlite"
"""The journal's name in the data directory."""

REPLACED_KEPT_S = 2 * 3600
FINAL_KEPT_S = 7 * 24 * 3600
UNREAD_KEPT_S = 30 * 24 * 3600
"""So long is the end of an event or market kept that the platform has not committed."""
LOOK_EVERY_S = 0.02
MAX_UPDATE_BYTES = 1_000_000
MAX_PAGE_BYTES = 4_000_000
_BUSY_S = 30.0
_COMPACTED_AT_ONCE = 2000
_FINAL = frozenset({"FINISHED", "ABANDONED", "CLOSED"})

_SCHEMA = """
CREATE TABLE IF NOT EXISTS feed (
    one INTEGER PRIMARY KEY CHECK (one = 1), feed_id TEXT NOT NULL, newest INTEGER NOT NULL, complete_from INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS feed_ended (one INTEGER PRIMARY KEY CHECK (one = 1), ended_from INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS updates (
    cursor INTEGER PRIMARY KEY, entity TEXT NOT NULL, final INTEGER NOT NULL, appended_at_us INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS updates_by_entity ON updates (entity, cursor);
"""


_REPLACED = "EXISTS (SELECT 1 FROM updates newer WHERE newer.entity = updates.entity AND newer.cursor > updates.cursor)"


class NotAnUpdate(ValueError):
    """These bytes can't be in a feed: they are no JSON object, or too many. Nothing was appended."""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One update and its place in the feed."""

    cursor: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FeedPage:
    """What one read found. Every update from `oldest` on is held; of the older ones only each entity's newest
    still is.

    Of those that ended before `ended_from` not even that.
    """

    feed_id: str
    oldest: int
    ended_from: int
    newest: int
    updates: list[FeedEntry]


class _Head(msgspec.Struct):
    """What identifies an update's entity; whatever is missing or strange is for the feed's readers to
    refuse.
    """

    kind: Any = None
    event_id: Any = None
    market_id: Any = None
    status: Any = None


_head = json_decoder(_Head)


class FeedJournal:
    """An append-only feed with cursors that grow by 1 from 1. Any number of processes and threads may append
    and read.

    An update is an entity's whole state, so one that a newer update of the same entity replaced may go after
    a while (`compact`): whoever reads on from any cursor still ends with the newest state of everything.
    """

    def __init__(self, path: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Open the journal at `path`, and make it if it is not there: then it is a new feed, with a `feed_id`
        of its own.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._lock = threading.Lock()
        with FileLock(path.with_suffix(".lock")):  # two that make it at once would be in each other's way
            self._db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            # A cursor that was given out must never be another update's, even when the power fails.
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            self._db.execute("INSERT OR IGNORE INTO feed VALUES (1, ?, 0, 1)", (uuid.uuid4().hex,))
            # A file of an older release does not say what it dropped: nothing before `complete_from` is
            # promised then.
            self._db.execute("INSERT OR IGNORE INTO feed_ended SELECT 1, complete_from FROM feed")
        self.feed_id = str(self._db.execute("SELECT feed_id FROM feed").fetchone()[0])

    def append(self, updates: Sequence[bytes]) -> int:
        """Append updates, in order and all or none; they are durable on return. Returns the newest cursor.

        Raises `NotAnUpdate` for bytes that are no JSON object in UTF-8, or more than a million.
        """
        heads = [_read_head(data) for data in updates]
        with self._writing() as db:
            (newest,) = db.execute("SELECT newest FROM feed").fetchone()
            if not updates:
                return int(newest)
            now_us = self._clock.now_us()
            db.executemany(
                "INSERT INTO updates VALUES (?, ?, ?, ?, ?)",
                (
                    (newest + place, entity, final, now_us, data)
                    for place, ((entity, final), data) in enumerate(zip(heads, updates, strict=True), start=1)
                ),
            )
            db.execute("UPDATE feed SET newest = ?", (newest + len(updates),))
            return int(newest) + len(updates)

    def read(self, after: int, limit: int = 500) -> FeedPage:
        """Read up to `limit` updates, or some 4 MB, from just after the cursor `after` (0: from the
        beginning).
        """
        with self._reading() as db:
            newest, complete_from, ended_from = db.execute(
                "SELECT newest, complete_from, ended_from FROM feed JOIN feed_ended USING (one)"
            ).fetchone()
            found: list[FeedEntry] = []
            size = 0
            rows = db.execute(
                "SELECT cursor, data FROM updates WHERE cursor > ? ORDER BY cursor LIMIT ?", (after, limit)
            )
            for cursor, data in rows:
                size += len(data)
                if found and size > MAX_PAGE_BYTES:
                    break
                found.append(FeedEntry(int(cursor), bytes(data)))
            return FeedPage(self.feed_id, int(complete_from), int(ended_from), int(newest), found)

    def newest(self) -> int:
        """The newest cursor that was ever given, 0 in an empty feed; some microseconds."""
        with self._reading() as db:
            return int(db.execute("SELECT newest FROM feed").fetchone()[0])

    def wait(self, after: int, timeout_s: float, stopping: threading.Event | None = None) -> bool:
        """Wait until there is an update after the cursor, whoever appends it; whether there is one. Looks 50
        times a second.
        """
        stopping = stopping or threading.Event()
        until = self._clock.monotonic_s() + timeout_s
        while self.newest() <= after:
            left = until - self._clock.monotonic_s()
            if left <= 0 or self._clock.wait(stopping, min(LOOK_EVERY_S, left)):
                return False
        return True

    def compact(
        self,
        *,
        committed: int = 0,
        replaced_kept_s: float = REPLACED_KEPT_S,
        final_kept_s: float = FINAL_KEPT_S,
    ) -> int:
        """Drop updates that are older than `replaced_kept_s` and replaced, and what ended longer than
        `final_kept_s` ago; how many.

        An end behind the cursor up to which the platform has `committed` the feed is kept for 30 days:
        nothing after it would say so again. Works in small transactions, so that nobody who appends waits for
        long. From any thread or process.
        """
        now_us = self._clock.now_us()
        replaced_before_us = now_us - int(replaced_kept_s * 1e6)
        final_before_us = now_us - int(final_kept_s * 1e6)
        unread_before_us = now_us - int(max(final_kept_s, UNREAD_KEPT_S) * 1e6)
        ended_before = (committed, final_before_us, unread_before_us)
        dropped = cursor = 0
        while True:
            with self._writing() as db:
                rows = db.execute(
                    "SELECT cursor FROM updates WHERE cursor > ? AND appended_at_us < ? ORDER BY cursor LIMIT ?",
                    (cursor, replaced_before_us, _COMPACTED_AT_ONCE),
                ).fetchall()
                if not rows:
                    return dropped
                first, cursor = cursor + 1, int(rows[-1][0])
                db.execute(
                    "UPDATE feed_ended SET ended_from = max(ended_from, coalesce((SELECT max(cursor) + 1 FROM updates"
                    f" WHERE cursor BETWEEN ? AND ? AND final AND appended_at_us < iif(cursor <= ?, ?, ?) AND NOT {_REPLACED}), 1))",
                    (first, cursor, *ended_before),
                )
                dropped += db.execute(
                    "DELETE FROM updates WHERE cursor BETWEEN ? AND ? AND appended_at_us < ? AND ("
                    f" {_REPLACED} OR (final AND appended_at_us < iif(cursor <= ?, ?, ?)))",
                    (first, cursor, replaced_before_us, *ended_before),
                ).rowcount
                db.execute("UPDATE feed SET complete_from = max(complete_from, ?)", (cursor + 1,))

    def close(self) -> None:
        """Close the file. Nothing depends on it: what was appended stays."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                self._db.execute("ROLLBACK")


def _read_head(data: bytes) -> tuple[str, bool]:
    """The update's entity, and whether this is the end of it."""
    if len(data) > MAX_UPDATE_BYTES:
        raise NotAnUpdate(f"an update of {len(data)} bytes; at most {MAX_UPDATE_BYTES} are allowed")
    try:
        data.decode()
        head = _head.decode(data)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise NotAnUpdate(f"an update is a JSON object in UTF-8; this is not: {error}") from error
    named = head.market_id if head.kind == "market" else head.event_id
    return f"{head.kind}/{named}"[:200], isinstance(head.status, str) and head.status in _FINAL
