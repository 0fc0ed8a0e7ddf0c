"""Dead letters: records that could not be decoded or applied, with their bytes and the reason. Not here:
replaying them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from exchange_platform.stores.operational.database import Database, dead_letters
from exchange_platform.stores.operational.upsert import chunks, insert

UNDELIVERED = frozenset({"mail", "topic"})
"""The shards of what could not be delivered; all others are streams' or feeds', and hold records."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead record. `position` and `part` say where in the shard it was; `replayed_at_us` when it was
    applied after all.
    """

    dead_letter_id: int
    source: str
    shard: str
    position: str
    part: int
    stage: str
    reason: str
    data: bytes
    partition_key: str
    arrived_at_us: int
    dead_at_us: int
    replayed_at_us: int | None


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    """How many wait to be looked at, and how many were replayed."""

    waiting: int
    replayed: int


_insert = insert(dead_letters, ignore_known=True, leave_out=["dead_letter_id", "replayed_at_us"])


def bury(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write dead letters inside the caller's transaction, keeping those that are there already."""
    for some in chunks(rows, 100):  # some are megabytes long
        _insert.execute(connection, some)


def bury_again(connection: sa.Connection, row: dict[str, Any]) -> None:
    """Write a dead letter inside the caller's transaction; one that was replayed and died again waits again,
    with its newest reason.
    """
    bury(connection, [row])
    place = (dead_letters.c[name] == row[name] for name in ("source", "shard", "position", "part"))
    connection.execute(
        sa.update(dead_letters)
        .where(*place)
        .values(stage=row["stage"], reason=row["reason"], dead_at_us=row["dead_at_us"], replayed_at_us=None)
    )


Place = tuple[str, str, str, int]
"""Source, shard, position, part: where a record was."""


def restage(connection: sa.Connection, place: Place, stage: str, to: str) -> None:
    """Give the dead letter of a place another stage, if it is at that one, inside the caller's
    transaction.
    """
    connection.execute(sa.update(dead_letters).where(*_at(place, stage)).values(stage=to))


def take_back(connection: sa.Connection, place: Place, stage: str) -> None:
    """Delete the dead letter of a place, if it is at that stage, inside the caller's transaction."""
    connection.execute(sa.delete(dead_letters).where(*_at(place, stage)))


def _at(place: Place, stage: str) -> tuple[sa.ColumnElement[bool], ...]:
    source, shard, position, part = place
    return (
        dead_letters.c.source == source,
        dead_letters.c.shard == shard,
        dead_letters.c.position == position,
        dead_letters.c.part == part,
        dead_letters.c.stage == stage,
    )


class DeadLetters:
    """The dead letters as operators see them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self) -> DeadLetterCount:
        """How many there are."""
        with self._database.read() as connection:
            waiting, total = connection.execute(
                sa.select(
                    sa.func.coalesce(
                        sa.func.sum(sa.case((dead_letters.c.replayed_at_us.is_(None), 1), else_=0)), 0
                    ),
                    sa.func.count(),
                )
            ).one()
        return DeadLetterCount(int(waiting), int(total) - int(waiting))

    def list(
        self, limit: int = 100, *, source: str | None = None, waiting_only: bool = False
    ) -> Sequence[DeadLetter]:
        """The newest dead letters, newest first."""
        statement = sa.select(dead_letters).order_by(dead_letters.c.dead_letter_id.desc()).limit(limit)
        if source is not None:
            statement = statement.where(dead_letters.c.source == source)
        if waiting_only:
            statement = statement.where(dead_letters.c.replayed_at_us.is_(None))
        with self._database.read() as connection:
            return [DeadLetter(**row._mapping) for row in connection.execute(statement)]

    def show(self, dead_letter_id: int) -> DeadLetter | None:
        """One dead letter, or None."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(dead_letters).where(dead_letters.c.dead_letter_id == dead_letter_id)
            ).one_or_none()
        return DeadLetter(**row._mapping) if row is not None else None

    def waiting_ids(self) -> Sequence[int]:
        """The ids of all that were not replayed, oldest first."""
        with self._database.read() as connection:
            return list(
                connection.execute(
                    sa.select(dead_letters.c.dead_letter_id)
                    .where(dead_letters.c.replayed_at_us.is_(None))
                    .order_by(dead_letters.c.dead_letter_id)
                ).scalars()
            )

    def newest_places(self, source: str, shard: str, stage: str) -> Iterable[tuple[str, int]]:
        """(position, part) of the shard's dead letters of one stage, newest first; stop reading when you have
        enough.
        """
        oldest: int | None = None
        while True:
            statement = (
                sa.select(dead_letters.c.dead_letter_id, dead_letters.c.position, dead_letters.c.part)
                .where(
                    dead_letters.c.source == source,
                    dead_letters.c.shard == shard,
                    dead_letters.c.stage == stage,
                )
                .order_by(dead_letters.c.dead_letter_id.desc())
                .limit(1000)
            )
            if oldest is not None:
                statement = statement.where(dead_letters.c.dead_letter_id < oldest)
            with self._database.read() as connection:
                rows = connection.execute(statement).all()
            for row in rows:
                yield row.position, row.part
            if len(rows) < 1000:
                return
            oldest = rows[-1].dead_letter_id
