"""Makes moto's Kinesis fit for streams that flow for hours. Not here: the emulator's process (server.py).

moto (5.2) counts a shard's records again at each put, walks all of them at each read, loses records when two
producers put at once, moves a split shard's records to its children but goes on putting into the closed
shard, never says that a closed shard has been read to its end, takes any position, and never forgets a
record. These are the same methods as Kinesis has them: constant-time puts and reads, a lock, closed shards
that keep what they hold, take no more and end, and a limit on what is held.
"""

from __future__ import annotations

import threading
from base64 import b64decode
from collections import OrderedDict
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import md5
from typing import Any

import moto.kinesis.models

models: Any = moto.kinesis.models  # its methods are replaced, which no type allows

MAX_BYTES = 1024**3
"""What a shard holds before it forgets its oldest records, in bytes of base64."""

_routing = threading.RLock()
"""Held while a put finds its shard and goes there, and while a shard is closed: neither happens amid the
other.
"""


class _Record:
    __slots__ = ("created_at", "data", "explicit_hash_key", "partition_key", "sequence_number")

    def __init__(self, partition_key: str, data: str, sequence_number: int, explicit_hash_key: str) -> None:
        self.partition_key = partition_key
        self.data = data
        self.sequence_number = sequence_number
        self.explicit_hash_key = explicit_hash_key
        self.created_at = datetime.now(UTC).timestamp()

    def to_json(self) -> dict[str, Any]:
        return {
            "Data": b64decode(self.data),
            "PartitionKey": self.partition_key,
            "SequenceNumber": str(self.sequence_number),
            "ApproximateArrivalTimestamp": datetime.fromtimestamp(self.created_at, UTC),
        }


class _Shard(models.Shard):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lock = threading.Lock()
        self._newest = 0
        self._bytes = 0

    def put_record(self, partition_key: str, data: str, explicit_hash_key: str) -> str:
        with self.lock:
            self._newest += 1
            self.records[self._newest] = _Record(partition_key, data, self._newest, explicit_hash_key)
            self._bytes += len(data)
            while self._bytes > MAX_BYTES:
                _, oldest = self.records.popitem(last=False)
                self._bytes -= len(oldest.data)
            return str(self._newest)

    def get_records(self, last_sequence_id: str, limit: int | None) -> tuple[list[Any], int, int]:
        with self.lock:
            last = int(last_sequence_id)
            if not self.records:
                return [], last, 0
            first = max(last + 1, next(iter(self.records)))
            end = min(self._newest, first + (limit or 10_000) - 1)
            found = [self.records[number] for number in range(first, end + 1)]
            if not found:
                return [], last, 0
            behind_s = self.records[self._newest].created_at - found[-1].created_at
            # A read that left records behind is behind, however little time lies between them.
            behind_ms = max(1, int(behind_s * 1000)) if end < self._newest else 0
            return found, end, behind_ms

    def get_min_sequence_number(self) -> int:
        with self.lock:
            return next(iter(self.records), 0)

    def get_max_sequence_number(self) -> int:
        return self._newest


def _keeping_records(change: Any) -> Any:
    """Let a split or merge close its shards without moving what they hold."""

    def changed(stream: Any, first: str, second: str) -> None:
        with _routing, ExitStack() as locks:
            shards = [stream.shards[name] for name in {first, second} if name in stream.shards]
            held = [shard.records for shard in shards]
            for shard in shards:
                locks.enter_context(shard.lock)
                shard.records = OrderedDict()
            try:
                change(stream, first, second)
            finally:
                for shard, records in zip(shards, held, strict=True):
                    shard.records = records

    return changed


def _routed(put: Any) -> Any:
    """Let a put reach the shard that it found while that is still open."""

    def routed(stream: Any, partition_key: str, explicit_hash_key: str, data: str) -> Any:
        with _routing:
            return put(stream, partition_key, explicit_hash_key, data)

    return routed


def _get_records(
    backend: Any, stream_arn: str | None, shard_iterator: str, limit: int | None
) -> tuple[str | None, list[Any], int]:
    """Read on; no iterator follows where a closed shard has nothing more."""
    stream_name, shard_id, last_read = models.decompose_shard_iterator(shard_iterator)
    shard = backend.describe_stream(stream_arn=stream_arn, stream_name=stream_name).get_shard(shard_id)
    was_open = shard.is_open  # before the read: one that was closed by then took nothing since
    records, last, behind_ms = shard.get_records(last_read, limit)
    following = models.compose_shard_iterator(stream_name, shard, last) if was_open or behind_ms else None
    return following, records, behind_ms


def _get_shard_iterator(get: Any) -> Any:
    """Refuse positions that the shard never gave out."""

    def checked(
        backend: Any,
        stream_arn: str | None,
        stream_name: str | None,
        shard_id: str,
        kind: str,
        position: Any,
        at: Any,
    ) -> str:
        if kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
            stream = backend.describe_stream(stream_arn=stream_arn, stream_name=stream_name)
            shard = stream.shards.get(shard_id)
            if shard is not None and not _was_given_out(shard, str(position)):
                raise models.InvalidArgumentError(
                    f"StartingSequenceNumber {position} used in GetShardIterator on shard {shard_id} in stream"
                    f" {stream.stream_name} is invalid because it did not come from this stream."
                )
        return str(get(backend, stream_arn, stream_name, shard_id, kind, position, at))

    return checked


def _was_given_out(shard: Any, position: str) -> bool:
    return position.isdecimal() and int(position) <= shard.get_max_sequence_number()


def _open_shard_of(stream: Any, partition_key: str, explicit_hash_key: str) -> Any:
    """The open shard of the key's hash."""
    if not isinstance(partition_key, str) or not 1 <= len(partition_key) <= 256:
        raise models.InvalidArgumentError("partition_key")
    number = int(
        explicit_hash_key or md5(partition_key.encode(), usedforsecurity=False).hexdigest(),
        10 if explicit_hash_key else 16,
    )
    for shard in list(stream.shards.values()):
        if shard.is_open and shard.starting_hash <= number <= shard.ending_hash:
            return shard
    raise models.InvalidArgumentError("explicit_hash_key")


def install() -> None:
    """Put these in moto's place, once, before its server starts."""
    if models.Shard is _Shard:
        return
    models.Shard = _Shard
    models.Stream.split_shard = _keeping_records(models.Stream.split_shard)
    models.Stream.merge_shards = _keeping_records(models.Stream.merge_shards)
    models.Stream.get_shard_for_key = _open_shard_of
    models.Stream.put_record = _routed(models.Stream.put_record)
    models.KinesisBackend.get_records = _get_records
    models.KinesisBackend.get_shard_iterator = _get_shard_iterator(models.KinesisBackend.get_shard_iterator)
    models.KinesisBackend._send_stream_metrics = lambda *_args, **_kwargs: None
