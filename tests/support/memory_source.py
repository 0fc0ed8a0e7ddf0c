"""A source in memory, as the engine's contract asks (engine/source.py): for tests of the engine and for
benchmarks.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from exchange_platform.domain.records import Record, encode
from exchange_platform.streams.engine.source import SHARD_END, Read, Shard, SourceUnavailable, StreamRecord


class MemorySource:
    """Shards that are lists of bytes; positions are their indices from 1."""

    def __init__(self, name: str = "exchange-bets", *, shards: int = 1, read_limit: int = 10_000) -> None:
        self.name = name
        self.read_limit = read_limit
        self.lists: dict[str, list[tuple[bytes, int]]] = {f"shard-{n}": [] for n in range(shards)}
        self.parents: dict[str, tuple[str, ...]] = {}
        self.closed: set[str] = set()
        self.unavailable = False
        self._at: dict[str, int] = {}
        self._lock = threading.Lock()

    def put(self, data: bytes | Record, *, shard: str = "shard-0", arrived_at_us: int = 0) -> None:
        """Append one record."""
        with self._lock:
            self.lists[shard].append((data if isinstance(data, bytes) else encode(data), arrived_at_us))

    def reshard(self, shard: str, children: Sequence[str]) -> None:
        """Close a shard and open its children."""
        with self._lock:
            self.closed.add(shard)
            for child in children:
                self.lists[child] = []
                self.parents[child] = (*self.parents.get(child, ()), shard)

    def shards(self) -> Sequence[Shard]:
        if self.unavailable:
            raise SourceUnavailable("the memory is away", retry_after_s=0.01)
        return [Shard(name, self.parents.get(name, ())) for name in self.lists]

    def at(self, shard: str) -> int:
        """Where the next read of the shard begins."""
        return self._at[shard]

    def seek(self, shard: str, position: str | None) -> None:
        self._at[shard] = len(self.lists[shard]) if position == SHARD_END else int(position or 0)

    def read(self, shard: str) -> Read:
        if self.unavailable:
            raise SourceUnavailable("the memory is away", retry_after_s=0.01)
        with self._lock:
            start = self._at[shard]
            entries = self.lists[shard][start : start + self.read_limit]
            self._at[shard] = start + len(entries)
            rest = len(self.lists[shard]) - self._at[shard]
            ended = shard in self.closed and not rest
        return Read(
            [
                StreamRecord(str(start + place + 1), 0, "", data, arrived)
                for place, (data, arrived) in enumerate(entries)
            ],
            float(rest),
            ended,
        )

    def is_after(self, position: str, other: str | None) -> bool:
        if other is None:
            return True
        if other == SHARD_END:
            return False
        return position == SHARD_END or int(position) > int(other)

    def close(self) -> None:
        pass
