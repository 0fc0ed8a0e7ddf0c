"""The outbox of changes: a log that is written in the bets' transactions and read by each channel from its
own position.

Not here: which changes there are (bets/bets.py), or what is made of them (notifications/).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from exchange_platform.stores.operational.database import Database, outbox, outbox_sequences
from exchange_platform.stores.operational.upsert import chunks, insert, upsert

NOTIFICATIONS = "notifications"
"""The source that the outbox is to its channels: its name in consumers, checkpoints and dead letters."""

POSITION = "outbox"
"""The shard under which a channel keeps its position in the outbox."""

TOPIC = "topic"
"""The channel of the topic: the sink of its checkpoint, the shard of its dead letters."""

_insert = insert(outbox)
_advance = upsert(outbox_sequences, add=["newest"])


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change of a bet. `bet` is the bet at that version, as JSON; `changed_at_us` the bet update's own
    time.
    """

    sequence: int
    bet_id: str
    bet_version: int
    user_id: str
    change: str
    status_before: str | None
    status_after: str
    bet: str
    changed_at_us: int


COLUMNS = [outbox.c[name] for name in ChangeRow.__dataclass_fields__]


def append(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Append changes inside the caller's transaction, as its last statement: later writers wait for its end.
    The rows get their `sequence`.

    Whoever sees a sequence sees every lower one that will ever be: the number is drawn under a lock that is
    held to the commit.
    """
    if not rows:
        return
    _advance.execute(connection, [{"outbox": NOTIFICATIONS, "newest": len(rows)}])
    newest = connection.execute(
        sa.select(outbox_sequences.c.newest).where(outbox_sequences.c.outbox == NOTIFICATIONS)
    ).scalar_one()
    for sequence, row in enumerate(rows, newest - len(rows) + 1):
        row["sequence"] = sequence
    _insert.execute(connection, rows)


class Outbox:
    """Reads the outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, sequence: int, limit: int) -> list[ChangeRow]:
        """The next changes, in their order."""
        statement = (
            sa.select(*COLUMNS).where(outbox.c.sequence > sequence).order_by(outbox.c.sequence).limit(limit)
        )
        with self._database.read() as connection:
            return [ChangeRow(*row) for row in connection.execute(statement)]

    def owners_after(self, sequence: int, limit: int) -> list[tuple[int, str]]:
        """(sequence, user id) of the next changes: all that is needed of those that nobody is mailed of."""
        statement = (
            sa.select(outbox.c.sequence, outbox.c.user_id)
            .where(outbox.c.sequence > sequence)
            .order_by(outbox.c.sequence)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(int(row[0]), str(row[1])) for row in connection.execute(statement)]

    def rows(self, sequences: Sequence[int]) -> list[ChangeRow]:
        """The changes of these sequences, in their order."""
        found: list[ChangeRow] = []
        with self._database.read() as connection:
            for some in chunks(sorted(sequences)):
                statement = sa.select(*COLUMNS).where(outbox.c.sequence.in_(some)).order_by(outbox.c.sequence)
                found.extend(ChangeRow(*row) for row in connection.execute(statement))
        return found

    def newest(self) -> int:
        """The newest change's sequence; 0 where there never was one."""
        with self._database.read() as connection:
            found = connection.execute(
                sa.select(outbox_sequences.c.newest).where(outbox_sequences.c.outbox == NOTIFICATIONS)
            ).scalar()
        return int(found or 0)
