"""What a sink still has to commit: batches that wait, and those in hand. Counted in records and bytes. Not
here: who may add how much (followers.py).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exchange_platform.streams.engine.cutting import bytes_of, split_whole
from exchange_platform.streams.engine.source import ShardBatch


@dataclass(frozen=True, slots=True)
class Size:
    """An amount of records, and of their bytes as they arrived; decoded they take a few times as much."""

    records: int = 0
    bytes: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.records + other.records, self.bytes + other.bytes)

    def __sub__(self, other: Size) -> Size:
        return Size(self.records - other.records, self.bytes - other.bytes)

    def fits(self, limit: Size) -> bool:
        """Whether it is below the limit, by both counts."""
        return self.records < limit.records and self.bytes < limit.bytes

    def part(self, of: int) -> Size:
        """One of so many equal parts, at least 1 of each."""
        return Size(max(1, self.records // of), max(1, self.bytes // of))


def size_of(batch: ShardBatch) -> Size:
    """The batch's size."""
    return Size(len(batch.records), bytes_of(batch))


def _is_within(size: Size, limit: Size) -> bool:
    return size.records <= limit.records and size.bytes <= limit.bytes


class Backlog:
    """Batches in the order in which they came. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[ShardBatch, Size]] = deque()
        self._in_hand: list[tuple[ShardBatch, Size]] = []
        self._waiting_size = Size()
        self._in_hand_size = Size()

    @property
    def size(self) -> Size:
        """All that is not committed."""
        with self._lock:
            return self._waiting_size + self._in_hand_size

    @property
    def waiting(self) -> Size:
        """What is not in hand yet."""
        return self._waiting_size

    @property
    def has_waiting(self) -> bool:
        """Whether any batch is not in hand yet: one that ends a shard has no records."""
        return bool(self._waiting)

    def __bool__(self) -> bool:
        return bool(self._waiting or self._in_hand)

    def put(self, batches: Iterable[ShardBatch]) -> None:
        """Add batches behind all others."""
        sized = [(batch, size_of(batch)) for batch in batches]
        with self._lock:
            for batch, size in sized:
                self._waiting.append((batch, size))
                self._waiting_size += size

    def take(self, limit: Size) -> list[ShardBatch]:
        """The next batches, up to the limit and at least one whole record; they are in hand now. A larger
        batch is split.
        """
        taken: list[ShardBatch] = []
        size = Size()
        with self._lock:
            while self._waiting and size.fits(limit):
                batch, its = self._waiting.popleft()
                self._waiting_size -= its
                if not _is_within(its, limit - size):
                    left = limit - size
                    first, behind = split_whole(batch, left.records, left.bytes)
                    if taken and not _is_within(size_of(first), left):
                        self._waiting.appendleft((batch, its))
                        self._waiting_size += its
                        break
                    batch, its = first, size_of(first)
                    if behind is not None:
                        self._waiting.appendleft((behind, size_of(behind)))
                        self._waiting_size += size_of(behind)
                taken.append(batch)
                self._in_hand.append((batch, its))
                self._in_hand_size += its
                size += its
        return taken

    def settle(self) -> list[ShardBatch]:
        """What is in hand is committed; returns it."""
        with self._lock:
            done = [batch for batch, _ in self._in_hand]
            self._in_hand, self._in_hand_size = [], Size()
        return done

    def put_back(self) -> None:
        """Let what is in hand wait again, before all others."""
        with self._lock:
            self._waiting.extendleft(reversed(self._in_hand))
            self._waiting_size += self._in_hand_size
            self._in_hand, self._in_hand_size = [], Size()

    def drop_newest(self, keep: Size) -> Sequence[ShardBatch]:
        """Drop waiting batches, the newest first, until all that is left fits; returns them in that order."""
        dropped: list[ShardBatch] = []
        with self._lock:
            while self._waiting and not (self._waiting_size + self._in_hand_size).fits(keep):
                batch, its = self._waiting.pop()
                self._waiting_size -= its
                dropped.append(batch)
        return dropped

    def oldest_us(self) -> int | None:
        """When the oldest of the records arrived in the stream; None where there are none."""
        with self._lock:
            return min(
                (
                    batch.records[0].arrived_at_us
                    for batch, _ in (*self._in_hand, *self._waiting)
                    if batch.records
                ),
                default=None,
            )
