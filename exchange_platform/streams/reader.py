"""The reading side of a consumer: every shard at the pace its service allows, in order, decoded. One thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from exchange_platform.clock import Clock
from exchange_platform.records import UndecodableRecord
from exchange_platform.streams.meters import Progress
from exchange_platform.streams.sharing import WHOLE, Share
from exchange_platform.streams.source import (
    SHARD_END,
    Shard,
    ShardBatch,
    ShardsChanged,
    Source,
    SourceUnavailable,
)

log = logging.getLogger(__name__)

DECODE = "decode"
"""The stage of dead letters that could not be decoded."""

LIST_INTERVAL_S = 5.0
"""How often the shards are listed again, to find a reshard or a stream made anew."""

_WAITING_INTERVAL_S = 0.5
"""And how often while a shard waits for a parent that another consumer reads to its end."""


def _none_finished(_shards: Sequence[str]) -> set[str]:
    return set()


class ShardReader:
    """Reads a source's shards and hands batches on.

    Of the shards it reads those of its `share`. A shard's children are begun when it has been read to its end; of parents that are another's,
    `finished` says which those are, committed. Each shard is read every `poll_interval_s` at the most (Kinesis allows 5
    reads a second); while `room()` is false nothing is read. Records that can't be decoded stay in their batch, marked dead.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Clock,
        poll_interval_s: float,
        progress: Progress,
        decode: Callable[[bytes], object],
        room: Callable[[], bool],
        claim: Callable[[Sequence[str]], dict[str, str | None]],
        hand_on: Callable[[list[ShardBatch]], None],
        on_failure: Callable[[BaseException], None],
        share: Share = WHOLE,
        finished: Callable[[Sequence[str]], set[str]] = _none_finished,
    ) -> None:
        self.trouble = ""
        self.records = 0
        self.shard_records: dict[str, int] = {}
        self.behind_ms: dict[str, float] = {}
        self.read_to: dict[str, str | None] = {}
        self._source = source
        self._clock = clock
        self._poll_interval_s = poll_interval_s
        self._progress = progress
        self._decode = decode
        self._room = room
        self._claim = claim
        self._hand_on = hand_on
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._share = share
        self._finished = finished
        self._listed: Sequence[Shard] = ()
        self._nothing_to_read = False
        self._waited_for: set[str] = set()
        """Parents of own shards that another consumer has not finished."""
        self._list_at = 0.0
        self._read_at: dict[str, float] = {}
        self._began_at_us: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    @property
    def at_tip(self) -> bool:
        """Whether the newest read of every shard found its tip. Where all open shards are others', there is nothing to be read."""
        if self.trouble or self._waited_for:
            return False
        return max(self.behind_ms.values()) == 0 if self.behind_ms else self._nothing_to_read

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Read no more; a read under way is finished."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._round()
        except BaseException as error:
            self._on_failure(error)

    def _round(self) -> None:
        """Read every shard that is due, then wait for the next."""
        now = self._clock.monotonic_s()
        if not self._room():
            # After a pause the stream may be another one of the same name.
            self._list_at = now if self.behind_ms else self._list_at
            self._clock.wait(self._stopping, 0.02)
            return
        try:
            if now >= self._list_at:
                self._list()
            open_shards = self._open_shards()
            for shard in open_shards:
                if self._read_at.get(shard, 0.0) <= self._clock.monotonic_s() and not self._stopping.is_set():
                    self._read_at[shard] = self._clock.monotonic_s() + self._poll_interval_s
                    began_at_us = self._clock.now_us()
                    self._read(shard)
                    self._began_at_us[shard] = began_at_us
            self.trouble = ""
            if (
                open_shards == self._open_shards()
                and self.at_tip
                and all(shard in self._began_at_us for shard in open_shards)
            ):
                # Not every shard was due in this round: the oldest of their newest reads counts.
                read_at_us = [self._began_at_us[shard] for shard in open_shards]
                self._progress.at_tip(min(read_at_us, default=self._clock.now_us()))
        except SourceUnavailable as error:
            if self.trouble != str(error):
                log.warning("%s", error)
            self.trouble = str(error)
            self._list_at = 0.0
            self._clock.wait(self._stopping, error.retry_after_s)
            return
        except ShardsChanged as change:
            log.info("%s", change)
            self._list_at = 0.0
            self._clock.wait(self._stopping, 0.05)
            return
        due = min((self._read_at.get(shard, 0.0) for shard in self._open_shards()), default=now + 0.2)
        self._clock.wait(self._stopping, due - self._clock.monotonic_s())

    def _list(self) -> None:
        listed = self._source.shards()
        self._listed = [shard for shard in listed if self._share.has(shard)]
        names = [shard.name for shard in self._listed]
        unclaimed = [name for name in names if name not in self.read_to]
        if unclaimed:
            self.read_to.update(self._claim(unclaimed))
        self._nothing_to_read = bool(listed) and all(self.read_to[name] == SHARD_END for name in names)
        for gone in [name for name in self.behind_ms if name not in names]:
            del self.behind_ms[gone]
        if self.trouble or self._list_at == 0.0:
            for name in names:
                self._source.seek(name, self.read_to[name])
        else:
            for name in unclaimed:
                self._source.seek(name, self.read_to[name])
        self._waited_for = self._unfinished_elsewhere({shard.name for shard in listed} - set(names))
        interval_s = _WAITING_INTERVAL_S if self._waited_for else LIST_INTERVAL_S
        self._list_at = self._clock.monotonic_s() + interval_s

    def _unfinished_elsewhere(self, others: set[str]) -> set[str]:
        """Those of the others' shards that an own shard continues and that are not finished."""
        parents = {
            parent
            for shard in self._listed
            if self.read_to[shard.name] != SHARD_END
            for parent in shard.parents
            if parent in others
        }
        return parents - self._finished(sorted(parents)) if parents else parents

    def _open_shards(self) -> list[str]:
        """The shards to read now: not at their end, every listed parent at its."""
        names = {shard.name for shard in self._listed}
        return [
            shard.name
            for shard in self._listed
            if self.read_to[shard.name] != SHARD_END
            and all(self.read_to[parent] == SHARD_END for parent in shard.parents if parent in names)
            and self._waited_for.isdisjoint(shard.parents)
        ]

    def _read(self, shard: str) -> None:
        read = self._source.read(shard)
        batches: list[ShardBatch] = []
        if read.records:
            for record in read.records:
                try:
                    record.record = self._decode(record.data)
                except UndecodableRecord as error:
                    record.bury(DECODE, str(error))
            position = read.records[-1].position
            batches.append(ShardBatch(shard, self.read_to[shard], position, list(read.records)))
            self.read_to[shard] = position
            self.records += len(read.records)
            self.shard_records[shard] = self.shard_records.get(shard, 0) + len(read.records)
        if read.ended:
            batches.append(ShardBatch(shard, self.read_to[shard], SHARD_END, []))
            self.read_to[shard] = SHARD_END
            self.behind_ms.pop(shard, None)
            self._list_at = 0.0
        else:
            self.behind_ms[shard] = read.behind_ms
        if batches:
            self._progress.read += len(batches)
            self._hand_on(batches)
