"""The reading side of a consumer: every shard at the pace its service allows, in order, decoded. One
thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from exchange_platform.domain.records import UndecodableRecord
from exchange_platform.process.clock import Clock
from exchange_platform.streams.engine.meters import Reading
from exchange_platform.streams.engine.owner import ReaderOwner
from exchange_platform.streams.engine.pace import ListingPace, ShardPaces
from exchange_platform.streams.engine.sharing import WHOLE, Share
from exchange_platform.streams.engine.source import (
    SHARD_END,
    PositionRefused,
    Read,
    Shard,
    ShardBatch,
    ShardsChanged,
    Source,
    SourceUnavailable,
    Throttled,
)

log = logging.getLogger(__name__)

DECODE = "decode"
"""The stage of dead letters that could not be decoded."""

_WAITING_INTERVAL_S = 0.5
"""How often it is looked in the database whether another consumer has read a shard's parent to its end."""
_LONG_PAUSE_S = 1.0
"""After so long without a read the stream may be another one of the same name: no emulator is restarted
sooner.
"""
_LONGEST_WAIT_S = 0.2


class ShardReader:
    """Reads a source's shards and hands batches on.

    Of the shards it reads those of its `share`. A shard's children are begun when it has been read to its
    end; of parents that are another's, its owner says which are `finished`. Each shard is read every
    `poll_interval_s` at most (Kinesis allows 5 reads a second); one that is throttled, or whose position is
    refused, waits by itself. While its owner has no room nothing is read. Records that can't be decoded stay
    in their batch, marked dead.
    """

    def __init__(
        self,
        source: Source,
        owner: ReaderOwner,
        *,
        clock: Clock,
        poll_interval_s: float,
        progress: Reading,
        decode: Callable[[bytes], object],
        share: Share = WHOLE,
    ) -> None:
        """`decode` makes a record of bytes, or raises `UndecodableRecord`."""
        self.records = 0
        self.shard_records: dict[str, int] = {}
        self.read_to: dict[str, str | None] = {}
        self._source = source
        self._clock = clock
        self._progress = progress
        self._decode = decode
        self._owner = owner
        self._stopping = threading.Event()
        self._share = share
        self._started_s = clock.monotonic_s()
        self._listed: Sequence[Shard] = ()
        self._nothing_to_read = False
        self._waited_for: set[str] = set()
        """Parents of own shards that another consumer has not finished."""
        self._elsewhere: set[str] = set()
        self._refused: set[str] = set()
        """Own shards whose position the source refuses."""
        self._error = self._listing_error = ""
        self._seek_all = True
        self._paused_s: float | None = None
        self._ask_at_s = float("inf")
        self._listing = ListingPace()
        self._paces = ShardPaces(poll_interval_s)
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    @property
    def at_tip(self) -> bool:
        """Whether the newest read of every shard found its tip. Where all open shards are others', there is
        nothing to be read.
        """
        if self.last_error or self._waited_for or self._listing.is_asked_for or self._paused_s is not None:
            return False
        return max(self.behind_ms.values()) == 0 if self.behind_ms else self._nothing_to_read

    @property
    def last_error(self) -> str:
        """What can't be read now, and why; empty while everything can."""
        texts = (self._error, self._listing_error, *list(self._paces.errors.values()))
        return "; ".join(text for text in texts if text)

    @property
    def behind_ms(self) -> dict[str, float]:
        """How far the reading of each open shard is behind its tip, or may be while it can't be read."""
        return self._paces.behind_ms

    @property
    def listed(self) -> Mapping[str, str | None]:
        """The shards that the source has, and up to where each was read."""
        return {shard.name: self.read_to[shard.name] for shard in self._listed if shard.name in self.read_to}

    @property
    def parents(self) -> Mapping[str, tuple[str, ...]]:
        """Which shards continue which."""
        return {shard.name: shard.parents for shard in self._listed}

    def lag_ms(self) -> float:
        """How far reading lies behind the stream's tip: by the stream's own account, and longer for as long
        as nothing is read.
        """
        now_s = self._clock.monotonic_s()
        if not self.behind_ms and not self._nothing_to_read:
            return (now_s - self._started_s) * 1000  # nothing was read yet
        return self._paces.lag_ms(now_s)

    def start(self) -> None:
        """Begin to read."""
        self._started_s = self._clock.monotonic_s()
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
            self._owner.fail(error)

    def _round(self) -> None:
        """Read every shard that is due, then wait for the next."""
        now_s = self._clock.monotonic_s()
        if not self._owner.has_room():
            self._paused_s = now_s if self._paused_s is None else self._paused_s
            self._clock.wait(self._stopping, 0.02)
            return
        if self._paused_s is not None:
            if now_s - self._paused_s >= _LONG_PAUSE_S:  # the stream may be another one of the same name
                self._listing.ask_after_a_pause(now_s)
            self._paused_s = None
        try:
            self._list_if_due(now_s)
            self._read_due()
            self._reread_due()
        except SourceUnavailable as error:
            self._source_is_away(error)
            return
        due_s = [self._listing.due_s, self._ask_at_s]
        if not self._seek_all:
            due_s += [self._paces.due_s(shard) for shard in self._open_shards()]
        self._clock.wait(self._stopping, min(min(due_s) - self._clock.monotonic_s(), _LONGEST_WAIT_S))

    def _read_due(self) -> None:
        """Read each open shard that is due. Raises `SourceUnavailable` where none can be read."""
        if self._seek_all:
            return  # it is not known which stream this is
        open_shards = self._open_shards()
        if not open_shards:
            self._error = ""
        before = self.records
        for shard in open_shards:
            is_due = self._paces.due_s(shard) <= self._clock.monotonic_s()
            # One read may bring 10 MB: what the shards before this one brought may have filled the room.
            has_room = self.records == before or self._owner.has_room()
            if is_due and has_room and not self._stopping.is_set():
                self._read_in_turn(shard)
        if open_shards == self._open_shards() and self.at_tip:
            # Not every shard was due in this round: the oldest of their newest reads counts.
            read_at_us = self._paces.all_read_since_us(open_shards)
            if read_at_us is not None or not open_shards:
                self._progress.at_tip(self._clock.now_us() if read_at_us is None else read_at_us)

    def _reread_due(self) -> None:
        """Read once more what others than the first sink missed; the shards that were read wait a little
        longer for their next turn.
        """
        if self._seek_all:
            return
        for shard, records in self._owner.reread(self.listed).items():
            self.records += records
            self._paces.take_turn(shard)

    def _read_in_turn(self, shard: str) -> None:
        """Read the shard; what keeps it from being read keeps no other."""
        paces, began_at_us = self._paces, self._clock.now_us()
        paces.begins(shard, self._clock.monotonic_s())
        try:
            if shard in self._refused:
                self._seek_again(shard)
            read = self._source.read(shard)
        except (Throttled, PositionRefused) as error:
            if isinstance(error, PositionRefused):
                self._refused.add(shard)
            now_s = self._clock.monotonic_s()
            if paces.failed(shard, str(error), now_s=now_s, retry_after_s=error.retry_after_s):
                log.warning("%s", error)
        except ShardsChanged as change:
            log.info("%s", change)
            now_s = self._clock.monotonic_s()
            paces.changed(shard, str(change), now_s)
            self._listing.ask(now_s)
        else:
            self._error = ""
            self._refused.discard(shard)
            self._take(shard, read)
            now_s = self._clock.monotonic_s()
            if read.ended:
                paces.ended(shard)
                self._listing.ask(now_s)
            else:
                paces.succeeded(shard, now_s=now_s, began_at_us=began_at_us, behind_ms=read.behind_ms)

    def _seek_again(self, shard: str) -> None:
        """Ask the sinks once more from where to read a shard whose position was refused: somebody may have
        set it back.
        """
        if self._progress.outstanding():
            return  # what was read of it is not committed
        position = self._owner.claim([shard])[shard]
        if position != self.read_to[shard]:
            log.warning("shard %s is read on from %s instead of %s", shard, position, self.read_to[shard])
        self.read_to[shard] = position
        self._source.seek(shard, position)

    def _source_is_away(self, error: SourceUnavailable) -> None:
        """Wait. Then it is looked which shards there are: another stream of the same name may have come in
        its place.
        """
        now_s = self._clock.monotonic_s()
        if self._error != str(error):
            log.warning("%s", error)
        self._error = str(error)
        self._seek_all = True
        self._paces.fall_behind(self._open_shards(), now_s)
        self._listing.failed(now_s, error.retry_after_s)
        self._clock.wait(self._stopping, error.retry_after_s)

    def _list_if_due(self, now_s: float) -> None:
        """List the shards when it is time; between, ask for parents that another consumer reads. Raises
        `SourceUnavailable`.

        Where listing is throttled, the shards that are known are read on.
        """
        if now_s >= self._listing.due_s:
            try:
                self._list()
            except Throttled as error:
                if self._listing_error != str(error):
                    log.warning("%s", error)
                self._listing_error = str(error)
                self._listing.failed(now_s, error.retry_after_s)
        elif now_s >= self._ask_at_s:
            self._wait_for_parents()

    def _list(self) -> None:
        listed = self._source.shards()
        self._listing_error = ""
        self._listed = [shard for shard in listed if self._share.has(shard)]
        names = [shard.name for shard in self._listed]
        unclaimed = [name for name in names if name not in self.read_to]
        if unclaimed:
            self._owner.shards_listed([shard.name for shard in listed])
            self.read_to.update(self._owner.claim(unclaimed))
        self._nothing_to_read = bool(listed) and all(self.read_to[name] == SHARD_END for name in names)
        self._paces.keep(names)
        for name in names if self._seek_all else unclaimed:
            self._source.seek(name, self.read_to[name])
        self._seek_all = False
        self._elsewhere = {shard.name for shard in listed} - set(names)
        self._wait_for_parents()
        self._listing.listed(self._clock.monotonic_s())

    def _wait_for_parents(self) -> None:
        """Look which parents of own shards another consumer has not finished."""
        parents = {
            parent
            for shard in self._listed
            if self.read_to[shard.name] != SHARD_END
            for parent in shard.parents
            if parent in self._elsewhere
        }
        self._waited_for = parents - self._owner.finished(sorted(parents)) if parents else parents
        self._ask_at_s = self._clock.monotonic_s() + _WAITING_INTERVAL_S if self._waited_for else float("inf")

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

    def _take(self, shard: str, read: Read) -> None:
        """Decode what was read and dispatch it."""
        if read.unread is not None:
            self._owner.unread(shard, read.unread)
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
        if batches:
            self._progress.read += len(batches)
            self._owner.forward(batches)
