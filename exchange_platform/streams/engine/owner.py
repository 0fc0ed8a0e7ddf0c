"""What a consumer's parts ask of it: the reader, sinks' workers, followers. The consumer is all three.

    source          reader              first sink's worker      followers     another sink's worker
       |               | has_room -------------- | -------------------- |               |
       |<--- read -----|                         |                      |               |
       |---- Read ---->| decode                  |                      |               |
       |               | forward: batches ------>| commit               |               |
       |               |                         | done --------------->| accepted      |
       |               |                         |                      |---- put ----->| commit
       |               |                         |                      |               | done

A record that a sink refuses: bury (suspected), then convict or acquit. A sink that was left behind: reread,
up to where the first sink is. New shards: claim, in every sink; a follower says claimed when it has them.

Everything is called from the part's own thread. What a method raises ends the part, and by `fail` the
consumer, but for what its own text says.
"""

# ruff: noqa: ARG002 - what an owner need not answer has an answer here, which asks for nothing

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from exchange_platform.streams.engine.source import ShardBatch, StreamRecord, Unread

log = logging.getLogger(__name__)


class ReaderOwner(Protocol):
    """Whom a `ShardReader` reads for. Whoever has no more than one sink needs only the first four."""

    def has_room(self) -> bool:
        """Whether more may be read now. Asked before each round and, once a shard brought records, before the
        next shard.
        """
        ...

    def claim(self, shards: Sequence[str]) -> dict[str, str | None]:
        """Make the shards its own; returns from where to read each, None for its beginning. Raises
        `StoreUnavailable` at the end only.
        """
        ...

    def forward(self, batches: Sequence[ShardBatch]) -> None:
        """Take what was read of one shard, in order; undecodable records are marked dead."""
        ...

    def fail(self, error: BaseException) -> None:
        """The reader has ended for this error."""
        ...

    def finished(self, shards: Sequence[str]) -> set[str]:
        """Which of these shards, all another consumer's, were read to their end and committed."""
        return set()

    def unread(self, shard: str, hole: Unread) -> None:
        """The source went on behind a hole. Called before what lies after it is forwarded: durable on return,
        where it is a loss.
        """
        log.error("%s: records after %s and before %s are gone unread", shard, hole.after, hole.before)

    def shards_listed(self, shards: Sequence[str]) -> None:
        """These are all shards that the source has. Called before new ones are claimed."""
        return

    def reread(self, read_to: Mapping[str, str | None]) -> Mapping[str, int]:
        """Read once more what sinks missed; returns how many records of each shard nobody had counted. Errors
        as `Source.read`.
        """
        return {}


class WorkerOwner(Protocol):
    """Whom a `SinkWorker` commits for. `sink` is the worker's sink, by name."""

    def bury(self, shard: str, record: StreamRecord, sink: str, reason: str) -> None:
        """Mark a record dead that the sink refuses, and keep a suspected dead letter of it; durable on
        return.
        """
        ...

    def convict(self, sink: str, shard: str, record: StreamRecord) -> None:
        """The record is at fault: the dead letter that `bury` wrote stays."""
        return

    def acquit(self, sink: str, shard: str, record: StreamRecord) -> None:
        """The sink was at fault: the dead letter that `bury` wrote is taken back."""
        return

    def done(self, sink: str, batches: Sequence[ShardBatch]) -> None:
        """The sink holds these, or their dead letters are written."""
        ...

    def claimed(self, sink: str, held: Mapping[str, str | None]) -> None:
        """The worker's own thread has claimed these shards, which the sink holds up to there."""
        return

    def is_at_tip(self, sink: str) -> bool:
        """Whether nothing is on its way to the sink."""
        return True

    def fail(self, error: BaseException) -> None:
        """The worker has ended for this error."""
        ...


class FollowersOwner(Protocol):
    """Whose sinks `Followers` bring up to date."""

    def dead_after(self, shard: str, position: str | None, sink: str) -> set[tuple[str, int]]:
        """(position, part) of the dead letters behind a position that the sink is not to be handed: the first
        sink's, and its own.
        """
        ...

    def unread(self, shard: str, hole: Unread) -> None:
        """As `ReaderOwner.unread`."""
        ...
