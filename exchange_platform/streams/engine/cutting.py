"""Cutting batches into smaller ones without losing a place. Pure. When they are cut is worker.py's and
followers.py's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exchange_platform.streams.engine.source import ShardBatch


def bytes_of(batch: ShardBatch) -> int:
    """The bytes of the batch's records as they arrived."""
    return sum(len(record.data) for record in batch.records)


def halves(batches: Sequence[ShardBatch]) -> Iterable[list[ShardBatch]]:
    """The batches in two halves by records, in order. A half that ends inside an aggregated record does not
    advance past it.
    """
    total = sum(len(batch.records) for batch in batches)
    left: list[ShardBatch] = []
    right: list[ShardBatch] = []
    room = total // 2
    for batch in batches:
        if right or room == 0:
            right.append(batch)
        elif len(batch.records) <= room:
            left.append(batch)
            room -= len(batch.records)
        else:
            first, second = _split(batch, room)
            left.append(first)
            right.append(second)
            room = 0
    return [half for half in (left, right) if half]


def split_whole(batch: ShardBatch, records: int, max_bytes: int) -> tuple[ShardBatch, ShardBatch | None]:
    """The first so many records, or fewer that have no more than the bytes, and those behind them (None:
    there are none).

    It cuts between whole records of the source alone, so that reading could begin at either place: the first
    piece holds at least one such record, however many records are aggregated in it, and however large it is.
    """
    cut = held = 0
    for at, record in enumerate(batch.records):
        if at and record.position != batch.records[at - 1].position:
            if at > records or held > max_bytes:
                return _split(batch, cut or at)
            cut = at
        held += len(record.data)
    if cut and (len(batch.records) > records or held > max_bytes):
        return _split(batch, cut)
    return batch, None


def _split(batch: ShardBatch, size: int) -> tuple[ShardBatch, ShardBatch]:
    first, second = batch.records[:size], batch.records[size:]
    reached = batch.previous
    following = second[0].position
    for record in reversed(first):
        if record.position != following:
            reached = record.position
            break
    return (
        ShardBatch(batch.shard, batch.previous, reached, first),
        ShardBatch(batch.shard, reached, batch.position, second),
    )
