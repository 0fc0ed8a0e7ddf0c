"""One round of a purge: how long it may go on, what it deleted and left, and the table that keeps this for
the check. The purges themselves are in purging.py and beside the tables that they purge.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import Contended
from exchange_platform.stores.operational.database import Database, LongText, Name, metadata
from exchange_platform.stores.operational.upsert import upsert

ROWS_AT_ONCE = 500
"""Rows that one transaction deletes: some 10 ms on SQLite, where other writers wait for its end."""

MAX_COUNTED = 1_000_000
"""What is left is counted up to here, so that counting costs little."""

_AFTER_CONTENTION_S = 1.0

MAX_ERROR = 500
"""Characters of an error that are kept."""

purge_rounds = sa.Table(
    "purge_rounds",
    metadata,
    sa.Column("purge", Name, primary_key=True),
    sa.Column("begun_at_us", sa.BigInteger, nullable=False, comment="when the newest round began"),
    sa.Column("finished_at_us", sa.BigInteger, nullable=True, comment="when a round last finished"),
    sa.Column("deleted", sa.BigInteger, nullable=False, comment="by that round"),
    sa.Column("left_over", sa.BigInteger, nullable=False, comment="what it left that should be gone"),
    sa.Column(
        "behind_us", sa.BigInteger, nullable=False, comment="for how long the oldest of that is overdue"
    ),
    sa.Column("last_error", LongText, nullable=True, comment="why the newest round failed"),
    comment="The newest round of each purge.",
)

_begin = upsert(purge_rounds, replace=["begun_at_us"])
_KEEP = {"finished_at_us": None, "deleted": 0, "left_over": 0, "behind_us": 0, "last_error": None}


@dataclass(frozen=True, slots=True)
class Purged:
    """What a round deleted, what it left that should be gone (counted up to `MAX_COUNTED`), and for how long
    the oldest of that is overdue.
    """

    deleted: int
    left: int = 0
    behind_us: int = 0


@dataclass(frozen=True, slots=True)
class PurgeRound:
    """The newest round of a purge, as it is kept."""

    purge: str
    begun_at_us: int
    finished_at_us: int | None
    deleted: int
    left: int
    behind_us: int
    last_error: str | None


class Budget:
    """How long a round may go on. It works for half of its time at most: the other half is for whoever else
    writes.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._ends_s = clock.monotonic_s() + seconds
        self._never = threading.Event()

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return self._clock.monotonic_s() >= self._ends_s

    def repeat(self, step: Callable[[], int | None]) -> int:
        """Repeat a step, at least once, until it returns None (nothing is left) or the time is over; the sum
        of what the steps returned.

        After each step comes a pause that is as long as the step was.
        """
        total = 0
        while True:
            began_s = self._clock.monotonic_s()
            try:
                done = step()
            except Contended:  # MySQL ended a deadlock with a writer by this transaction
                if self.is_over:
                    raise
                self._clock.wait(self._never, _AFTER_CONTENTION_S)
                continue
            if done is None:
                return total
            total += done
            if self.is_over:
                return total
            self._clock.wait(self._never, self._clock.monotonic_s() - began_s)


class PurgeRounds:
    """The newest round of each purge, in the operational database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def run(self, purge: str, work: Callable[[], Purged]) -> Purged:
        """Do a round and keep what came of it. An error is kept too, and raised."""
        with self._database.write() as connection:
            _begin.execute(connection, [{"purge": purge, "begun_at_us": self._clock.now_us(), **_KEEP}])
        try:
            purged = work()
        except Exception as error:
            self._keep(purge, last_error=f"{type(error).__name__}: {error}"[:MAX_ERROR])
            raise
        self._keep(
            purge,
            finished_at_us=self._clock.now_us(),
            deleted=purged.deleted,
            left_over=purged.left,
            behind_us=purged.behind_us,
            last_error=None,
        )
        return purged

    def read(self) -> list[PurgeRound]:
        """Every purge's newest round. Raises `StoreUnavailable`."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(purge_rounds).order_by(purge_rounds.c.purge)).all()
        return [PurgeRound(*row) for row in rows]

    def _keep(self, purge: str, **values: int | str | None) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(purge_rounds).where(purge_rounds.c.purge == purge).values(**values))


def counted(connection: sa.Connection, due: sa.Select[tuple[int]]) -> int:
    """How many rows a query has, counted up to `MAX_COUNTED`."""
    some = due.limit(MAX_COUNTED).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
