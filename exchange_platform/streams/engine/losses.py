"""Whether records of a source were gone before they were read, and keeping that. Sources notice (source.py,
`Unread`); this decides what it means.

Kinesis says nothing when it drops records that are older than its retention: a position that it no longer
holds is read on from the oldest record that it does hold. Whether anything lay between is decided by when the
platform last had read everything.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from exchange_platform.process.clock import Clock
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.lost_spans import Loss
from exchange_platform.streams.engine.sink import FirstSink
from exchange_platform.streams.engine.source import SHARD_END, Unread

log = logging.getLogger(__name__)

KEPT_AT_LEAST_S = 24 * 3600.0
"""Kinesis' shortest retention: what arrived within it is held. A longer one that a stream has today it may
not have had all the time.
"""


class LossWatch:
    """Decides for one source, and keeps what was lost, or may have been, before reading goes on after it."""

    def __init__(self, source: str, first: FirstSink, rows: ConsumerRows, clock: Clock) -> None:
        self._source = source
        self._first = first
        self._rows = rows
        self._clock = clock

    def unread(self, shard: str, unread: Unread) -> None:
        """The source went on after a hole. Durable on return if it is a loss. Raises `StoreUnavailable`."""
        read_all_until = self._rows.caught_up_by_shard(self._source)
        from_us = read_all_until.get(shard)
        if from_us is None and unread.after is None:
            siblings = [name for name in read_all_until if _stream_of(name) == _stream_of(shard)]
            from_us = max((read_all_until[name] for name in siblings), default=None)
            if from_us is None and not unread.certain and not self._has_read(_stream_of(shard)):
                return  # what a stream dropped before anybody here read it
        if not unread.certain and from_us is not None and self._is_held(from_us):
            return
        count = f"{unread.records:,} records were" if unread.records is not None else "Records were"
        if unread.records is None and not unread.certain:
            count = "Records may have been"
        self._keep(shard, unread, from_us, f"{count} dropped by the source before they were read")

    def listed(self, shards: Sequence[str]) -> None:
        """These shards are what the source has now: one that was not read to its end and is not among them is
        gone. Raises `StoreUnavailable`.
        """
        streams = {_stream_of(shard) for shard in shards} - {""}
        for shard, position in self._first.positions().items():
            if shard not in shards and _stream_of(shard) in streams and position != SHARD_END:
                from_us = self._rows.caught_up_by_shard(self._source).get(shard)
                reason = "The shard is gone and had not been read to its end: records may have been in it"
                self._keep(shard, Unread(position, None), from_us, reason)

    def _is_held(self, arrived_at_us: int) -> bool:
        return (self._clock.now_us() - arrived_at_us) / 1e6 < KEPT_AT_LEAST_S

    def _has_read(self, stream: str) -> bool:
        held = self._first.positions()
        return any(position is not None and _stream_of(shard) == stream for shard, position in held.items())

    def _keep(self, shard: str, unread: Unread, from_us: int | None, reason: str) -> None:
        loss = Loss(
            source=self._source,
            shard=shard,
            after=unread.after,
            before=unread.before,
            from_us=from_us,
            until_us=unread.until_us,
            records=unread.records,
            reason=reason,
        )
        if self._first.lose(loss):
            log.error("%s %s, after %s: %s", self._source, shard, unread.after, reason)


def _stream_of(shard: str) -> str:
    """Which stream or feed of its name a shard belongs to; empty for a source whose shards do not say."""
    return shard.partition("@")[2]
