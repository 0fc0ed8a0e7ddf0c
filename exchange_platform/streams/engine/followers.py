"""The sinks behind the first: what it accepted reaches each of them, at that sink's own pace, exactly once in
effect.

A follower that keeps up is handed each batch as soon as the first sink has committed it. One that does not is
*left behind*: what no longer fits into the buffer is not kept for it. It goes on with what it has, and what
it missed is read again from the source, from where it was handed the last batch, up to where the first sink
has come; then it is handed batches directly again. So memory is bounded, the first sink never waits for a
slow one, and no record is left out or handed over twice in a run. The same brings a follower up to date that
starts behind the first sink, or whose store was away when the run began. What is read again is decoded again;
what the first sink, or the follower itself, has among its dead letters is passed over.

A follower whose backlog fills the buffer is waited for a little before it is left behind, as reading again
costs more than a short pause: `PATIENCE_S`, or `GRACE_S` while its store is away. It is waited for once, not
again before it has worked its backlog off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from exchange_platform.domain.records import UndecodableRecord
from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.streams.engine.backlog import Size
from exchange_platform.streams.engine.cutting import split_whole
from exchange_platform.streams.engine.owner import FollowersOwner
from exchange_platform.streams.engine.reader import DECODE
from exchange_platform.streams.engine.source import (
    SHARD_END,
    PositionRefused,
    Read,
    ShardBatch,
    ShardsChanged,
    Source,
    StreamRecord,
    Throttled,
)
from exchange_platform.streams.engine.worker import SinkWorker

log = logging.getLogger(__name__)

PATIENCE_S, GRACE_S = 2.0, 10.0
REREAD_EVERY_S = 1.0
"""Of a shard for the sake of a follower: the reads for the first sink share the shard's allowance of 5 reads,
and 5 iterators, a second.
"""


@dataclass(slots=True)
class _Lane:
    """How far a follower has been handed a shard."""

    shard: str
    handed: str | None
    direct: bool = False
    """Whether it is handed what the first sink accepts as soon as that is so."""
    joining: list[ShardBatch] | None = None
    """What the first sink accepted while the shard is being read again."""
    missed_at_us: int | None = None
    """When the first record that it was not handed arrived in the stream."""
    not_before_s: float = 0.0
    error: str = ""
    """Why it can't be read again now."""
    is_gone: bool = False
    """Whether the source has the shard no more, so that what was missed of it can't be read again."""

    @property
    def is_behind(self) -> bool:
        return not self.direct and not self.is_gone


class _Follower:
    def __init__(self, worker: SinkWorker) -> None:
        self.worker = worker
        self.lanes: dict[str, _Lane] = {}
        self.in_the_way_since_s: float | None = None
        """Since when its backlog has been full, without having become small meanwhile."""

    @property
    def is_direct(self) -> bool:
        return any(lane.direct for lane in list(self.lanes.values()))

    def give(self, lane: _Lane, batch: ShardBatch) -> None:
        self.worker.put([batch])
        lane.handed = batch.position

    def miss(self, lane: _Lane, batches: Sequence[ShardBatch]) -> None:
        lane.direct = False
        arrived = [batch.records[0].arrived_at_us for batch in batches if batch.records]
        if arrived and lane.missed_at_us is None:
            lane.missed_at_us = min(arrived)


def _patience_s(worker: SinkWorker) -> float:
    return PATIENCE_S if worker.condition.away_for_s is None else GRACE_S


class Followers:
    """Hands on what the first sink accepted. `accepted` is called by the first sink's thread, `claimed` by
    each follower's, the others by the reader's.
    """

    def __init__(
        self,
        workers: Iterable[SinkWorker],
        owner: FollowersOwner,
        *,
        source: Source,
        clock: Clock,
        decode: Callable[[bytes], object],
        limit: Size,
    ) -> None:
        self._followers = {worker.sink.name: _Follower(worker) for worker in workers}
        self._owner = owner
        self._source = source
        self._clock = clock
        self._decode = decode
        self._limit = limit
        self._lock = threading.Lock()
        self._accepted: dict[str, str | None] = {}
        """Up to where the first sink holds each shard, as far as its batches were handed on."""
        self._parents: dict[str, tuple[str, ...]] = {}
        self._began: dict[str, str | None] = {}
        """Where reading for the first sink began in each shard."""
        self._counted: dict[str, str | None] = {}

    def release(self, shards: Iterable[str]) -> None:
        """These shards will be claimed again: they may have been set back."""
        with self._lock:
            for shard in shards:
                for follower in self._followers.values():
                    follower.lanes.pop(shard, None)

    def begin(self, held: Mapping[str, str | None]) -> None:
        """The first sink has claimed these shards, and holds them up to there."""
        with self._lock:
            for shard, position in held.items():
                self._accepted[shard] = self._began[shard] = position
                for follower in self._followers.values():
                    self._look(follower, shard)

    def descend(self, parents: Mapping[str, tuple[str, ...]]) -> None:
        """Which shards continue which."""
        self._parents = {shard: its for shard, its in parents.items() if its}

    def claimed(self, sink: str, held: Mapping[str, str | None]) -> None:
        """A follower has claimed these shards, and holds them up to there."""
        follower = self._followers[sink]
        with self._lock:
            for shard, position in held.items():
                follower.lanes[shard] = _Lane(shard, position)
                self._look(follower, shard)

    def accepted(self, batches: Sequence[ShardBatch]) -> None:
        """The first sink has committed these."""
        with self._lock:
            for batch in batches:
                self._accepted[batch.shard] = batch.position
                for follower in self._followers.values():
                    lane = follower.lanes.get(batch.shard)
                    if lane is None:
                        continue  # it begins at its own checkpoint, once it has claimed the shard
                    if lane.joining is not None:
                        lane.joining.append(batch)
                    elif lane.direct and self._may_go_on(follower, batch.shard):
                        follower.give(lane, batch)
                    else:
                        follower.miss(lane, [batch])

    def has_room(self, first: Size) -> bool:
        """Whether more may be read, with so much waiting for the first sink: leaves followers behind that are
        in the way for too long.
        """
        now_s = self._clock.monotonic_s()
        is_waited_for = False
        for follower in self._followers.values():
            size = follower.worker.backlog.size
            if size.fits(self._limit.part(4)):
                follower.in_the_way_since_s = None
            if (first + size).fits(self._limit) or size.fits(self._limit.part(2)):
                continue  # there is room, or it is not this one that fills it
            if follower.in_the_way_since_s is None:
                follower.in_the_way_since_s = now_s
            if follower.is_direct and now_s - follower.in_the_way_since_s < _patience_s(follower.worker):
                is_waited_for = True
            else:
                self._leave_behind(follower)
        if is_waited_for:
            return False
        together = (first + follower.worker.backlog.size for follower in self._followers.values())
        return all(size.fits(self._limit) for size in (first, *together)) or first.fits(self._limit.part(2))

    def reread(self, read_to: Mapping[str, str | None]) -> dict[str, int]:
        """Read once again for each follower that was left behind and has room.

        Returns which shards were read, and how many records that nobody else read in this run.

        `read_to`: the shards that the source has, and where reading for the first sink is in each. Errors as
        `Source.read`.
        """
        reads: dict[str, int] = {}
        for follower in self._followers.values():
            if not follower.worker.backlog.size.fits(self._limit.part(4)):
                continue
            lane = self._next_behind(follower, read_to)
            if lane is not None:
                lane.not_before_s = self._clock.monotonic_s() + REREAD_EVERY_S
                try:
                    records = self._reread(follower, lane, read_to[lane.shard])
                    lane.error = ""
                except (Throttled, PositionRefused) as error:
                    lane.error = str(error)
                    lane.not_before_s = self._clock.monotonic_s() + error.retry_after_s
                    continue
                except ShardsChanged as change:
                    lane.error = str(change)
                    continue
                reads[lane.shard] = reads.get(lane.shard, 0) + records
        return reads

    def is_behind(self, sink: str) -> bool:
        """Whether the sink is being brought up to date from the source."""
        with self._lock:
            return any(lane.is_behind for lane in self._followers[sink].lanes.values())

    def last_errors(self) -> list[str]:
        """What keeps followers from being brought up to date, and what they missed and can't be handed any
        more.
        """
        with self._lock:
            return [
                f"{name} is behind: {lane.error}"
                if lane.error and not lane.is_gone
                else f"{name} missed what came after {lane.handed} in {lane.shard}, which the stream holds no more"
                for name, follower in self._followers.items()
                for lane in follower.lanes.values()
                if lane.is_gone or (lane.error and not lane.direct)
            ]

    def missed_at_us(self, sink: str) -> int | None:
        """When the oldest record arrived that the sink was not handed; None where that is none, or
        not known.
        """
        with self._lock:
            lanes = self._followers[sink].lanes.values()
            return min((lane.missed_at_us for lane in lanes if lane.missed_at_us is not None), default=None)

    def _look(self, follower: _Follower, shard: str) -> None:
        """Hand the follower the shard's batches directly if it holds all that the first sink does."""
        lane = follower.lanes.get(shard)
        if lane is None or shard not in self._accepted or lane.joining is not None:
            return
        if self._is_level(lane) and self._may_go_on(follower, shard):
            lane.direct, lane.missed_at_us = True, None

    def _is_level(self, lane: _Lane) -> bool:
        accepted = self._accepted[lane.shard]
        return accepted is None or not self._source.is_after(accepted, lane.handed)

    def _may_go_on(self, follower: _Follower, shard: str) -> bool:
        """Whether the follower was handed all of the shards that this one continues."""
        return all(
            parent not in follower.lanes or follower.lanes[parent].handed == SHARD_END
            for parent in self._parents.get(shard, ())
        )

    def _leave_behind(self, follower: _Follower) -> None:
        """Keep only so much for the follower that the first sink has half of the room to itself."""
        with self._lock:
            for batch in follower.worker.backlog.drop_newest(self._limit.part(2)):
                lane = follower.lanes[batch.shard]
                lane.handed = batch.previous
                lane.missed_at_us = None
                follower.miss(lane, [batch])
            for lane in follower.lanes.values():
                if lane.joining is None:
                    lane.direct = False

    def _next_behind(self, follower: _Follower, read_to: Mapping[str, str | None]) -> _Lane | None:
        """The lane to read again now, if there is one: parents before children."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            for lane in follower.lanes.values():
                if not lane.is_behind or lane.shard not in self._accepted:
                    continue
                self._look(follower, lane.shard)
                if lane.direct:
                    continue
                if lane.shard not in read_to:
                    lane.is_gone, lane.missed_at_us = True, None
                    log.error("%s can't be read again: the stream has it no more", lane.shard)
                elif lane.not_before_s <= now_s and self._may_go_on(follower, lane.shard):
                    return lane
        return None

    def _reread(self, follower: _Follower, lane: _Lane, read_to: str | None) -> int:
        with self._lock:
            target = self._accepted[lane.shard]
            lane.joining = []
        batch: ShardBatch | None = None
        try:
            self._source.seek(lane.shard, lane.handed)
            try:
                read = self._source.read(lane.shard)
            finally:
                self._source.seek(lane.shard, read_to)
            if read.unread is not None:
                self._owner.unread(lane.shard, read.unread)
            batch = self._again(follower, lane, read, target)
        except StoreUnavailable as error:
            log.debug("%s: not read again for now: %s", lane.shard, error)
        finally:
            with self._lock:
                joining, lane.joining = lane.joining or [], None
                if batch is not None:
                    follower.give(lane, batch)
                    if batch.records:
                        lane.missed_at_us = batch.records[-1].arrived_at_us
                if target is None or not self._source.is_after(target, lane.handed):
                    lane.direct, lane.missed_at_us = True, None
                    for accepted in joining:
                        follower.give(lane, accepted)
                else:
                    follower.miss(lane, joining)
        return self._count(batch) if batch is not None else 0

    def _count(self, batch: ShardBatch) -> int:
        """How many of the batch's records lie before those read for the first sink, and were not counted for
        another follower.
        """
        began, counted = self._began.get(batch.shard), self._counted.get(batch.shard)
        if began is None or not batch.records or self._source.is_after(batch.records[0].position, began):
            return 0
        new = [
            record
            for record in batch.records
            if not self._source.is_after(record.position, began)
            and self._source.is_after(record.position, counted)
        ]
        if new:
            self._counted[batch.shard] = new[-1].position
        return len(new)

    def _again(self, follower: _Follower, lane: _Lane, read: Read, target: str | None) -> ShardBatch | None:
        """What was read, up to the target and as far as there is room for it; what is dead is marked."""
        records = list(read.records)
        reached = [
            record
            for record in records
            if target is not None and not self._source.is_after(record.position, target)
        ]
        position = reached[-1].position if reached else lane.handed
        if len(reached) < len(records) or (read.ended and target == SHARD_END):
            position = target  # whatever lies between is no more, or there is nothing
        if position == lane.handed:
            return None
        batch: ShardBatch = ShardBatch(lane.shard, lane.handed, position, reached)
        room = self._limit.part(4)
        if not batch.records:
            return batch
        whole, _ = split_whole(batch, room.records, room.bytes)
        self._mark_dead(follower, lane, whole.records)
        return whole

    def _mark_dead(self, follower: _Follower, lane: _Lane, records: Sequence[StreamRecord]) -> None:
        dead = self._owner.dead_after(lane.shard, lane.handed, follower.worker.sink.name)
        for record in records:
            if (record.position, record.part) in dead:
                record.bury("", "dead already")
                continue
            try:
                record.record = self._decode(record.data)
            except UndecodableRecord as error:
                record.bury(DECODE, str(error))
