"""Deletes what was delivered long ago: changes of the outbox, and mails. How long ago is settings', when is
ops/'; orders, accounts, limits and consumers are purged beside their tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS, POSITION, TOPIC
from exchange_platform.stores.operational.database import Database, checkpoints, outbox
from exchange_platform.stores.operational.mails.mails import MAIL, MailState
from exchange_platform.stores.operational.purge_rounds import (
    MAX_COUNTED,
    ROWS_AT_ONCE,
    Budget,
    Purged,
    counted,
)
from exchange_platform.stores.operational.tables.mails import mail_changes, mails

_NEEDED = (MailState.WAITING.value, MailState.DEAD.value)
_ENDED = (MailState.SENT.value, MailState.SKIPPED.value)


def purge_changes(database: Database, *, before_us: int, budget: Budget) -> Purged:
    """Delete changes of before then that every channel has delivered, but for what a mail that waits or is
    dead still reports.

    Each transaction is short. Raises `StoreUnavailable`.
    """
    sweep = _Sweep(database, before_us)
    deleted = budget.repeat(sweep.step)
    return Purged(deleted, *sweep.left())


class _Sweep:
    """Goes through the outbox in the order of the commits, up to the first page without an old change.

    Changes lie there nearly in the order of their own times. So what is young is not read at each round,
    however much of it there is; an old change that was committed late goes when those before it do.
    """

    def __init__(self, database: Database, before_us: int) -> None:
        self._database = database
        self._before_us = before_us
        self._after = 0
        self._at_end = False
        with database.read() as connection:
            self._delivered = _delivered(connection)

    def step(self) -> int | None:
        """Look at the next page and delete what is old and needed by nobody; None at the end."""
        if self._at_end:
            return None
        with self._database.read() as connection:
            page = connection.execute(
                sa.select(outbox.c.sequence, outbox.c.changed_at_us, _is_needed())
                .where(outbox.c.sequence > self._after, outbox.c.sequence <= self._delivered)
                .order_by(outbox.c.sequence)
                .limit(ROWS_AT_ONCE)
            ).all()
        aged = [(sequence, needed) for sequence, at_us, needed in page if at_us < self._before_us]
        if not aged:
            self._at_end = True
            return None
        old = [sequence for sequence, needed in aged if not needed]
        if old:
            with self._database.write() as connection:
                connection.execute(sa.delete(mail_changes).where(mail_changes.c.outbox_sequence.in_(old)))
                connection.execute(sa.delete(outbox).where(outbox.c.sequence.in_(old)))
        self._after = page[-1].sequence
        return len(old)

    def left(self) -> tuple[int, int]:
        """About how many old changes the sweep did not come to, and for how long the first of them is overdue
        in microseconds.
        """
        if self._at_end:
            return 0, 0
        with self._database.read() as connection:
            first = self._next(connection, self._after)
            if first is None or first[1] >= self._before_us:
                return 0, 0
            low, high = first[0], self._delivered + 1
            while low < high:  # the first sequence from which on changes are young
                middle = (low + high) // 2
                found = self._next(connection, middle - 1)
                if found is None or found[1] >= self._before_us:
                    high = middle
                else:
                    low = found[0] + 1
        return min(MAX_COUNTED, low - first[0]), self._before_us - first[1]

    def _next(self, connection: sa.Connection, after: int) -> tuple[int, int] | None:
        row = connection.execute(
            sa.select(outbox.c.sequence, outbox.c.changed_at_us)
            .where(outbox.c.sequence > after, outbox.c.sequence <= self._delivered)
            .order_by(outbox.c.sequence)
            .limit(1)
        ).one_or_none()
        return (int(row.sequence), int(row.changed_at_us)) if row is not None else None


def _delivered(connection: sa.Connection) -> int:
    """Up to where every channel has delivered the outbox."""
    positions = {
        str(row.sink): int(row.position or 0)
        for row in connection.execute(
            sa.select(checkpoints.c.sink, checkpoints.c.position).where(
                checkpoints.c.source == NOTIFICATIONS, checkpoints.c.shard == POSITION
            )
        )
    }
    return min(positions.get(MAIL, 0), positions.get(TOPIC, 0))


def _is_needed() -> sa.ColumnElement[bool]:
    return sa.exists().where(
        mail_changes.c.outbox_sequence == outbox.c.sequence,
        mails.c.mail_id == mail_changes.c.mail_id,
        mails.c.state.in_(_NEEDED),
    )


def purge_mails(database: Database, *, before_us: int, budget: Budget) -> Purged:
    """Delete mails that were sent or skipped before then. Each transaction is short. Raises
    `StoreUnavailable`.
    """
    kinds = [(source, state) for source in _sources(database) for state in _ENDED]

    def step() -> int | None:
        while kinds:
            old = _old_mails(database, *kinds[-1], before_us)
            if not old:
                kinds.pop()
                continue
            with database.write() as connection:
                connection.execute(sa.delete(mail_changes).where(mail_changes.c.mail_id.in_(old)))
                connection.execute(sa.delete(mails).where(mails.c.mail_id.in_(old)))
            return len(old)
        return None

    deleted = budget.repeat(step)
    left = behind_us = 0
    for kind in kinds:
        with database.read() as connection:
            due = _due_mails(*kind, before_us)
            left += counted(connection, due.with_only_columns(mails.c.sequence))
            oldest_us = connection.execute(due.with_only_columns(sa.func.min(mails.c.ended_at_us))).scalar()
        behind_us = max(behind_us, before_us - oldest_us if oldest_us is not None else 0)
    return Purged(deleted, left, behind_us)


def _sources(database: Database) -> list[str]:
    """Every source of mails: one look into the index each, as DISTINCT would read every mail."""
    sources: list[str] = []
    with database.read() as connection:
        while True:
            after = mails.c.source > (sources[-1] if sources else "")
            found = connection.execute(sa.select(sa.func.min(mails.c.source)).where(after)).scalar()
            if found is None:
                return sources
            sources.append(found)


def _old_mails(database: Database, source: str, state: str, before_us: int) -> Sequence[str]:
    with database.read() as connection:
        query = _due_mails(source, state, before_us).with_only_columns(mails.c.mail_id)
        return connection.execute(query.order_by(mails.c.due_at_us).limit(ROWS_AT_ONCE)).scalars().all()


def _due_mails(source: str, state: str, before_us: int) -> sa.Select[tuple[int]]:
    """In the order of an index: a mail ends after it was due."""
    return sa.select(mails.c.sequence).where(
        mails.c.source == source,
        mails.c.state == state,
        mails.c.due_at_us < before_us,
        mails.c.ended_at_us < before_us,
    )
