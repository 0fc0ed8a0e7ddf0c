"""The Kinesis Producer Library's aggregated record: several user records of one partition key in one Kinesis
record.

The format is the library's own protobuf message (`aws_kinesis_agg.messages_pb2`): magic bytes, the message,
its MD5. The library's iterator is not used: it prints and drops the rest of a record that it can't take
apart, and nothing may be lost here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import aws_kinesis_agg
from aws_kinesis_agg import deaggregator  # its messages can only be imported through it
from google.protobuf.message import DecodeError

AggregatedRecord = deaggregator.messages_pb2.AggregatedRecord
MAGIC: bytes = aws_kinesis_agg.MAGIC
DIGEST_SIZE: int = aws_kinesis_agg.DIGEST_SIZE
MAX_BYTES = 200_000
"""An aggregated record stays well below Kinesis's 1 MB, so that readers get small batches."""


def aggregate(records: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Pack (partition key, data) pairs into Kinesis records, one partition key each, order per key kept.

    A key's records stay on its shard whatever resharding does, as the packed record has the same key.
    """
    by_key: dict[str, list[bytes]] = {}
    for key, data in records:
        by_key.setdefault(key, []).append(data)
    packed: list[tuple[str, bytes]] = []
    for key, many in by_key.items():
        group: list[bytes] = []
        size = 0
        for data in many:
            if group and size + len(data) > MAX_BYTES:
                packed.append((key, _pack(key, group)))
                group, size = [], 0
            group.append(data)
            size += len(data) + 8
        packed.append((key, _pack(key, group)))
    return packed


def disaggregate(partition_key: str, data: bytes) -> list[tuple[str, bytes]]:
    """Take a Kinesis record apart into its (partition key, data) pairs; one that is not aggregated is its own
    only pair.

    A record with the magic bytes but a wrong digest is, as the format's description says, taken as not
    aggregated.
    """
    if not data.startswith(MAGIC) or len(data) <= len(MAGIC) + DIGEST_SIZE:
        return [(partition_key, data)]
    message, digest = data[len(MAGIC) : -DIGEST_SIZE], data[-DIGEST_SIZE:]
    if hashlib.md5(message, usedforsecurity=False).digest() != digest:
        return [(partition_key, data)]
    packed = AggregatedRecord()
    try:
        packed.ParseFromString(message)
        keys = packed.partition_key_table
        pairs = [(str(keys[record.partition_key_index]), bytes(record.data)) for record in packed.records]
    except (DecodeError, IndexError, ValueError):
        return [(partition_key, data)]
    return pairs or [(partition_key, data)]


def _pack(partition_key: str, many: list[bytes]) -> bytes:
    if len(many) == 1 and not many[0].startswith(MAGIC):
        return many[0]
    packed = AggregatedRecord()
    packed.partition_key_table.append(partition_key)
    for data in many:
        packed.records.add(partition_key_index=0, data=data)
    message: bytes = packed.SerializeToString()
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()
