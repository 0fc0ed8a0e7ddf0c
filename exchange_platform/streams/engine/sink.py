"""What the consumer engine asks of a sink. Implementations: exchange_bets.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.operational.consumers.lost_spans import Loss
from exchange_platform.streams.engine.source import ShardBatch, StreamRecord

_SUSPECTED = "suspected:"


def suspected(sink: str) -> str:
    """The stage of a dead letter while it is not known yet whether the record or the sink is at fault."""
    return f"{_SUSPECTED}{sink}"


def decided(stage: str) -> str:
    """The stage of the same dead letter once it is: the sink."""
    return stage.removeprefix(_SUSPECTED)


@dataclass(frozen=True, slots=True)
class SinkCommit:
    """What one commit did."""

    records: int
    """Records written."""
    repeats: int = 0
    """Records that the sink had already."""
    dead: int = 0
    """Records refused for good, written as dead letters."""


class Sink(Protocol):
    """Somewhere that batches are written, with a checkpoint of its own beside the data.

    Called from one thread at a time, not always the same one.
    """

    name: str
    interval_s: float
    """How long batches may gather before they are written; 0 writes each at once."""
    enough_records: int
    """So many gathered records are written before the interval is over."""

    def claim(self, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Fence out every older consumer of these shards; returns up to where the sink holds each.

        Raises `Superseded` (a newer consumer holds one) or `StoreUnavailable`; then none is claimed.
        """
        ...

    def commit(self, epoch: int, batches: Sequence[ShardBatch], advances: Sequence[Advance]) -> SinkCommit:
        """Write the batches' records and advance the checkpoints, all or nothing, durable on return.

        A record that the sink refuses for good is marked dead (`StreamRecord.bury`) and the rest is written.
        Raises `Superseded` (stop), `StoreUnavailable` (the same call again later), or any other error when
        one of the records can't be written: the engine then finds it and buries it. Nothing was written in
        each case, or writing it again does no harm.
        """
        ...

    def tick(self, epoch: int) -> None:
        """Do what is due by time alone. Called about once a second between commits. Errors as `commit`."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class FirstSink(Sink, Protocol):
    """The sink whose verdict counts: the others get only records that it did not refuse. It keeps the dead
    letters.
    """

    def dead_places(self, shard: str, stage: str) -> Iterable[tuple[str, int]]:
        """(position, part) of the shard's dead letters of one stage, newest first; it need not be read to its
        end.

        Each stage takes the records in order, so within one the newest dead letters are also the last in the
        shard. Across stages they are not: a sink that lags behind buries late.
        """
        ...

    def bury(self, shard: str, records: Sequence[StreamRecord]) -> None:
        """Write dead letters for records that another sink refused. Idempotent, durable on return."""
        ...

    def lose(self, loss: Loss) -> bool:
        """Keep that records were gone before they were read; says whether that is news. Idempotent, durable
        on return. Raises `StoreUnavailable`.
        """
        ...

    def positions(self) -> dict[str, str | None]:
        """Every shard that was ever claimed, and up to where this sink holds it. Raises
        `StoreUnavailable`.
        """
        ...

    def convict(self, shard: str, records: Sequence[StreamRecord]) -> None:
        """Let the suspected dead letters of these records (`suspected`) stay, as their sink's. Idempotent,
        durable on return.
        """
        ...

    def acquit(self, shard: str, records: Sequence[StreamRecord]) -> None:
        """Take back the dead letters of these records, as far as they are still suspected. Idempotent,
        durable on return.
        """
        ...

    def decide_suspects(self, shard: str, sink: str, is_passed: Callable[[str], bool]) -> None:
        """Decide about what an older consumer left suspected by a sink: what its checkpoint has passed stays,
        the others are taken back.
        """
        ...

    def holder(self, shards: Sequence[str]) -> int:
        """The highest epoch that claimed any of these shards."""
        ...

    def finished(self, shards: Sequence[str]) -> set[str]:
        """Which of these shards were read to their end and committed, by whichever consumer. Raises
        `StoreUnavailable`.
        """
        ...
