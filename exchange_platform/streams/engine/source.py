"""What the consumer engine asks of a source. Implementations: sources/kinesis.py; tests and benchmarks bring
one in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from exchange_platform.process.errors import Unavailable

SHARD_END = "SHARD_END"
"""The position of a shard that was closed and read to its end; its children may be read."""


class StreamRecord(msgspec.Struct, gc=False):
    """One record as it arrived, and what became of it.

    `position` is the source's own; records aggregated into one share it and differ in `part`. `record` is
    None, with a `reason`, once the record is known to be dead.
    """

    position: str
    part: int
    partition_key: str
    data: bytes
    arrived_at_us: int
    record: object | None = None
    stage: str = ""
    reason: str = ""

    def bury(self, stage: str, reason: str) -> None:
        """Mark the record dead: it goes to the dead letters and to no sink after this."""
        self.record, self.stage, self.reason = None, stage, reason


class ShardBatch(msgspec.Struct):
    """What one read of one shard brought: whole records from just after `previous` up to and including
    `position`.

    Only a part of a batch that was split inside an aggregated record has a `position` short of its last
    record.
    """

    shard: str
    previous: str | None
    position: str | None
    records: list[StreamRecord]


HASHES = 2**128
"""So many hashes a partition key may have (Kinesis: MD5)."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as the source lists it. `parents` are the shards that it continues, `hashes` the first and last
    that it takes.
    """

    name: str
    parents: tuple[str, ...] = ()
    hashes: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """A hole before what a read brought: the source holds no record after `after` (None: the beginning) and
    before `before` (None: to the end).

    `certain`: records were there. Otherwise it is not known whether any were.
    """

    after: str | None
    before: str | None
    records: int | None = None
    """How many, where the source's positions say that."""
    until_us: int | None = None
    """When the first record that it holds arrived."""
    certain: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """The outcome of one read."""

    records: Sequence[StreamRecord] = field(default_factory=tuple)
    behind_ms: float = 0.0
    """How far this read ended behind the tip; 0 at the tip."""
    ended: bool = False
    """The shard is closed and this was the last of it."""
    unread: Unread | None = None
    """What lay before these records and is gone."""


class SourceUnavailable(Unavailable):
    """The source can't be read now: wait `retry_after_s` and try again. Nothing was skipped."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Throttled(SourceUnavailable):
    """The service asks for fewer calls of one kind: this shard's reads, or the listing, wait `retry_after_s`.
    Whatever else goes on.
    """


class PositionRefused(SourceUnavailable):
    """The source never gave this position out, so it is not known where reading should go on: this shard
    stands still until somebody decides.
    """


class ShardsChanged(Exception):
    """The shards are not those that were listed (a reshard, a recreated stream): list them again."""


class Source(Protocol):
    """A stream of records in shards, each ordered, that can be read again from any position it still
    holds.
    """

    name: str

    def shards(self) -> Sequence[Shard]:
        """Every shard that can still be read, parents before children. Raises `SourceUnavailable`, or
        `Throttled`: what was listed before holds.
        """
        ...

    def seek(self, shard: str, position: str | None) -> None:
        """Let the next read of the shard begin just after `position`; None is its beginning."""
        ...

    def read(self, shard: str) -> Read:
        """Read on in the shard. Raises `SourceUnavailable` (no shard can be read), `Throttled` or
        `PositionRefused` (this one can't), or `ShardsChanged`.

        Then nothing was passed over.
        """
        ...

    def is_after(self, position: str, other: str | None) -> bool:
        """Whether `position` lies after `other` in a shard; everything lies after None and before
        `SHARD_END`.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
