"""Kinesis: reading a stream's shards, publishing to it, making it. Not here: what becomes of the records
(consumer.py).
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.process.errors import Unavailable
from exchange_platform.settings.aws import THROTTLED, error_code, is_transient
from exchange_platform.streams.engine.source import (
    SHARD_END,
    PositionRefused,
    Read,
    Shard,
    ShardsChanged,
    SourceUnavailable,
    StreamRecord,
    Throttled,
    Unread,
)
from exchange_platform.streams.sources.aggregation import aggregate, disaggregate

READ_LIMIT = 10_000
"""Records a GetRecords call asks for: the API's most. It returns 10 MB at most."""
PUT_LIMIT = 500
PUT_BYTES = 4 * 1024 * 1024
"""A PutRecords call takes 500 records and 5 MB; this leaves room for keys and encoding."""
_THROTTLED_READS = BackOff(first_s=0.4, max_s=5.0)
_THROTTLED_LISTS = BackOff(first_s=1.0, max_s=30.0)
_AWAY = BackOff(first_s=0.4, max_s=2.0)
_REFUSED = frozenset({"InvalidArgumentException", "ValidationException"})
_REFUSED_POSITION_S = 5.0
"""How often a position that was refused is tried again: somebody may have set it back."""
_PUTS = BackOff(first_s=0.1, max_s=2.0)


class StreamUnavailable(Unavailable):
    """The stream took nothing for longer than the publisher waits. What was not acknowledged may be published
    again.
    """


class KinesisSource:
    """All shards of one stream, each read from where it is asked to.

    A shard's name is its id and the stream's creation time (`shardId-000000000000@1763948000123`), so
    positions of a stream that was deleted and recreated are never mistaken for the new one's. Reads are not
    repeated here: each raises what its caller should do. The caller keeps to 5 reads a second a shard.
    """

    def __init__(
        self, client: Any, stream: str, *, name: str | None = None, rng: random.Random | None = None
    ) -> None:
        self.name = name or stream
        self._client = client
        self._stream = stream
        self._rng = rng or random.Random()
        self._created_at = 0
        self._iterators: dict[str, str] = {}
        self._positions: dict[str, str | None] = {}
        self._throttled: dict[str, int] = {}
        self._sought: set[str] = set()
        """Shards whose records at their position are still to be seen."""
        self._throttled_lists = 0
        self._away = 0

    def shards(self) -> Sequence[Shard]:
        """Every shard that the stream still holds, parents first."""
        try:
            created_at = stream_created_at(self._client, self._stream)
            listed = list(self._list_shards())
        except (ClientError, BotoCoreError) as error:
            if error_code(error) in THROTTLED:
                self._throttled_lists += 1
                raise Throttled(
                    f"listing the shards of {self._stream} throttled ({error_code(error)})",
                    retry_after_s=_THROTTLED_LISTS.jittered_s(self._throttled_lists, self._rng),
                ) from error
            raise self._unavailable(error) from error
        self._throttled_lists = self._away = 0
        if created_at != self._created_at:
            self._iterators.clear()
            self._positions.clear()
            self._created_at = created_at
        names = {shard["ShardId"] for shard in listed}
        parents = ("ParentShardId", "AdjacentParentShardId")
        return [
            Shard(
                self._named(shard["ShardId"]),
                tuple(self._named(shard[key]) for key in parents if shard.get(key) in names),
                (int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"])),
            )
            for shard in sorted(listed, key=lambda shard: str(shard["ShardId"]))
        ]

    def seek(self, shard: str, position: str | None) -> None:
        """Let the next read of the shard begin just after `position`."""
        self._positions[shard] = position
        self._iterators.pop(shard, None)

    def read(self, shard: str) -> Read:
        """One GetRecords call, aggregated records taken apart. A shard has ended when no iterator follows,
        and by no other sign.
        """
        shard_id = self._id_of(shard)
        iterator = self._iterators.pop(shard, None)
        try:
            answer = self._client.get_records(
                ShardIterator=iterator or self._new_iterator(shard, shard_id), Limit=READ_LIMIT
            )
        except (ClientError, BotoCoreError) as error:
            return self._failed_read(shard, shard_id, iterator, error)
        self._throttled.pop(shard, None)
        self._away = 0
        following = answer.get("NextShardIterator")
        entries, unread = self._after_position(shard, answer["Records"], ended=following is None)
        records: list[StreamRecord] = []
        for entry in entries:
            position = entry["SequenceNumber"]
            arrived_at_us = int(entry["ApproximateArrivalTimestamp"].timestamp() * 1_000_000)
            for part, (partition_key, data) in enumerate(disaggregate(entry["PartitionKey"], entry["Data"])):
                records.append(StreamRecord(position, part, partition_key, data, arrived_at_us))
            self._positions[shard] = position
        if following is not None:
            self._iterators[shard] = following
        return Read(
            records, float(answer.get("MillisBehindLatest") or 0), ended=following is None, unread=unread
        )

    def _after_position(
        self, shard: str, entries: Sequence[dict[str, Any]], *, ended: bool
    ) -> tuple[Sequence[dict[str, Any]], Unread | None]:
        """The records after the shard's position, and the hole before them if there is one.

        The first read at a position asks for the record *at* it: where another comes first, the stream has
        dropped that one, and perhaps others.
        """
        position = self._positions.get(shard)
        if shard not in self._sought:
            return entries, _hole(position, entries[0]) if entries and _counts(entries[0]) else None
        if not entries and not ended:
            return entries, None  # an empty page says nothing
        self._sought.discard(shard)
        fresh = [
            entry for entry in entries if position is None or int(entry["SequenceNumber"]) > int(position)
        ]
        if len(fresh) < len(entries):
            return fresh, None
        return fresh, _hole(position, fresh[0]) if fresh else Unread(position, None)

    def _failed_read(self, shard: str, shard_id: str, iterator: str | None, error: Exception) -> Read:
        """Say what the reader should do. Without an iterator the read began by asking for one at the shard's
        position.
        """
        code = error_code(error)
        if code in THROTTLED:
            if iterator is not None:
                self._iterators[shard] = (
                    iterator  # it stays good, and asking for another is a call of its own
                )
            tries = self._throttled[shard] = self._throttled.get(shard, 0) + 1
            raise Throttled(
                f"shard {shard_id} of {self._stream} throttled ({code})",
                retry_after_s=_THROTTLED_READS.jittered_s(tries, self._rng),
            ) from error
        if code in ("ExpiredIteratorException", "ExpiredNextTokenException"):
            return Read(behind_ms=1.0)  # the next read asks for a new iterator at the same position
        position = self._positions.get(shard)
        if code in _REFUSED and iterator is None and position is not None:
            raise PositionRefused(
                f"shard {shard_id} of {self._stream} refuses position {position} ({error})",
                retry_after_s=_REFUSED_POSITION_S,
            ) from error
        if code == "ResourceNotFoundException" or code in _REFUSED:
            raise ShardsChanged(f"shard {shard_id} of {self._stream}: {code}") from error
        raise self._unavailable(error) from error

    def is_after(self, position: str, other: str | None) -> bool:
        """Sequence numbers are ordered as numbers."""
        if other is None:
            return True
        if other == SHARD_END:
            return False
        return position == SHARD_END or int(position) > int(other)

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def _list_shards(self) -> Iterator[dict[str, Any]]:
        answer = self._client.list_shards(StreamName=self._stream)
        yield from answer["Shards"]
        while token := answer.get("NextToken"):
            answer = self._client.list_shards(NextToken=token)
            yield from answer["Shards"]

    def _new_iterator(self, shard: str, shard_id: str) -> str:
        position = self._positions.get(shard)
        where = (
            {"ShardIteratorType": "TRIM_HORIZON"}
            if position is None
            else {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": position}
        )
        self._sought.add(shard)
        answer = self._client.get_shard_iterator(StreamName=self._stream, ShardId=shard_id, **where)
        return str(answer["ShardIterator"])

    def _named(self, shard_id: str) -> str:
        return shard_name(shard_id, self._created_at)

    def _id_of(self, shard: str) -> str:
        shard_id, _, created_at = shard.partition("@")
        if created_at != str(self._created_at):
            raise ShardsChanged(
                f"{shard} is a shard of an earlier stream; this one was created at {self._created_at}"
            )
        return shard_id

    def _unavailable(self, error: BaseException) -> Exception:
        # A stream that answers again may not be the one that fell silent: its iterators are not trusted
        # across it.
        self._iterators.clear()
        self._created_at = 0
        if is_transient(error) or error_code(error) == "ResourceNotFoundException":
            self._away += 1
            return SourceUnavailable(
                f"stream {self._stream}: {error}", retry_after_s=_AWAY.jittered_s(self._away, self._rng)
            )
        return error if isinstance(error, Exception) else RuntimeError(str(error))


class Publisher:
    """Publishes records, durably and in order per partition key, repeating what was not acknowledged.

    A repeat can put a record into the stream twice (its acknowledgement was lost); readers drop it by its id
    or version. With `aggregate`, neighbouring records of one partition key travel in the Kinesis Producer
    Library's format: fewer calls, cheaper shards.
    """

    def __init__(
        self,
        client: Any,
        stream: str,
        *,
        aggregate: bool = False,
        give_up_after_s: float = 30.0,
        clock: Clock = SYSTEM_CLOCK,
        stopping: threading.Event | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._aggregate = aggregate
        self._give_up_after_s = give_up_after_s
        self._clock = clock
        self._stopping = stopping or threading.Event()
        self._rng = rng or random.Random()
        self.positions: dict[str, str] = {}
        """By shard id, the highest sequence number that anything published by this object got."""

    def publish(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Publish (partition key, data) pairs; when it returns all are in the stream.

        Raises `StreamUnavailable` when the stream took nothing for `give_up_after_s`, or `stopping` was set
        meanwhile; any of the records may then be in the stream, and publishing them all again is right.
        """
        entries = aggregate(records) if self._aggregate else records
        for group in _groups(entries):
            self._put(group)

    def created_at(self) -> int:
        """When the stream was created, in milliseconds since 1970 UTC: which stream of its name it is. Raises
        `StreamUnavailable`.
        """
        try:
            return stream_created_at(self._client, self._stream)
        except (ClientError, BotoCoreError) as error:
            if is_transient(error) or error_code(error) == "ResourceNotFoundException":
                raise StreamUnavailable(f"stream {self._stream}: {error}") from error
            raise

    def _put(self, group: list[tuple[str, bytes]]) -> None:
        waiting = group
        tries = 0
        began = self._clock.monotonic_s()
        while waiting:
            reason = ""
            try:
                answer = self._client.put_records(
                    StreamName=self._stream,
                    Records=[{"PartitionKey": key, "Data": data} for key, data in waiting],
                )
                results = answer["Records"]
                self._note_positions(results)
                failed = [place for place, result in enumerate(results) if result.get("ErrorCode")]
                if failed:
                    reason = str(results[failed[0]]["ErrorCode"])
                    # Everything of a failed record's key from it on goes again, so that a key's order
                    # survives.
                    first: dict[str, int] = {}
                    for place in failed:
                        first.setdefault(waiting[place][0], place)
                    taken = len(waiting)
                    waiting = [
                        pair for place, pair in enumerate(waiting) if place >= first.get(pair[0], taken)
                    ]
                else:
                    waiting = []
            except (ClientError, BotoCoreError) as error:
                if not is_transient(error) and error_code(error) != "ResourceNotFoundException":
                    raise
                reason = f"{error_code(error)}: {error}"
            if waiting:
                tries += 1
                if self._clock.monotonic_s() - began > self._give_up_after_s:
                    raise StreamUnavailable(
                        f"stream {self._stream} took nothing for {self._give_up_after_s:g} s ({reason})"
                    )
                if self._clock.wait(self._stopping, _PUTS.jittered_s(tries, self._rng)):
                    raise StreamUnavailable(f"stopped while stream {self._stream} was unavailable ({reason})")

    def _note_positions(self, results: Sequence[dict[str, Any]]) -> None:
        for result in results:
            shard, position = result.get("ShardId"), result.get("SequenceNumber")
            if shard and position and int(position) > int(self.positions.get(shard, "0")):
                self.positions[shard] = position


def shard_name(shard_id: str, created_at: int) -> str:
    """A shard's name in checkpoints: its id and when its stream was created, in milliseconds since
    1970 UTC.
    """
    return f"{shard_id}@{created_at}"


def _counts(entry: dict[str, Any]) -> bool:
    """Whether the sequence number is the record's number in its shard: an emulator's are, those of Kinesis
    have 56 digits and gaps.
    """
    return len(entry["SequenceNumber"]) < 19


def _hole(position: str | None, entry: dict[str, Any]) -> Unread | None:
    """What the stream does not hold between the position and the first record that it does."""
    first = entry["SequenceNumber"]
    until_us = int(entry["ApproximateArrivalTimestamp"].timestamp() * 1_000_000)
    if not _counts(entry):
        return Unread(position, first, until_us=until_us)
    count = int(first) - int(position or 0) - 1
    return Unread(position, first, count, until_us, certain=True) if count > 0 else None


def ensure_stream(client: Any, stream: str, *, shards: int = 1, timeout_s: float = 60.0) -> None:
    """Create the stream unless it exists, and wait until it is active."""
    with contextlib.suppress(client.exceptions.ResourceInUseException):
        client.create_stream(StreamName=stream, ShardCount=shards)
    client.get_waiter("stream_exists").wait(
        StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": max(1, int(timeout_s))}
    )


def stream_created_at(client: Any, stream: str) -> int:
    """When the stream was created, in milliseconds since 1970 UTC: which stream of that name it is."""
    summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    return int(summary["StreamCreationTimestamp"].timestamp() * 1000)


def _groups(entries: Sequence[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    group: list[tuple[str, bytes]] = []
    size = 0
    for key, data in entries:
        if group and (len(group) == PUT_LIMIT or size + len(data) + len(key) > PUT_BYTES):
            yield group
            group, size = [], 0
        group.append((key, data))
        size += len(data) + len(key)
    if group:
        yield group
