"""Deletes what was delivered long ago: changes of the outbox, and mails. Not here: how long ago (settings), or when (ops/)."""

from __future__ import annotations

import sqlalchemy as sa

from exchange_platform.stores.database import Database, checkpoints, outbox
from exchange_platform.stores.mail_tables import mail_changes, mails
from exchange_platform.stores.mails import MAIL, MailState
from exchange_platform.stores.outbox import NOTIFICATIONS, POSITION, TOPIC

_AT_ONCE = 500
_NEEDED = (MailState.WAITING.value, MailState.DEAD.value)


def purge_delivered(database: Database, *, before_us: int, most: int = 200_000) -> tuple[int, int]:
    """Delete changes of before then that every channel has delivered, and mails that ended before; (changes, mails), at most so many each.

    What a mail that waits or is dead still tells is kept. Each transaction is short. Raises `StoreUnavailable`.
    """
    return _purge_changes(database, before_us, most), _purge_mails(database, before_us, most)


def _purge_changes(database: Database, before_us: int, most: int) -> int:
    with database.read() as connection:
        positions = {
            str(row.sink): int(row.position or 0)
            for row in connection.execute(
                sa.select(checkpoints.c.sink, checkpoints.c.position).where(
                    checkpoints.c.source == NOTIFICATIONS, checkpoints.c.shard == POSITION
                )
            )
        }
    upto = min(positions.get(MAIL, 0), positions.get(TOPIC, 0))
    purged = after = 0
    while purged < most:
        needed = sa.exists().where(
            mail_changes.c.outbox_sequence == outbox.c.sequence,
            mails.c.mail_id == mail_changes.c.mail_id,
            mails.c.state.in_(_NEEDED),
        )
        with database.read() as connection:
            old = (
                connection.execute(
                    sa.select(outbox.c.sequence)
                    .where(
                        outbox.c.sequence > after,
                        outbox.c.sequence <= upto,
                        outbox.c.changed_at_us < before_us,
                        ~needed,
                    )
                    .order_by(outbox.c.sequence)
                    .limit(_AT_ONCE)
                )
                .scalars()
                .all()
            )
        if not old:
            break
        with database.write() as connection:
            connection.execute(sa.delete(mail_changes).where(mail_changes.c.outbox_sequence.in_(old)))
            connection.execute(sa.delete(outbox).where(outbox.c.sequence.in_(old)))
        purged += len(old)
        after = old[-1]
    return purged


def _purge_mails(database: Database, before_us: int, most: int) -> int:
    purged = 0
    while purged < most:
        with database.read() as connection:
            old = (
                connection.execute(
                    sa.select(mails.c.mail_id)
                    .where(
                        mails.c.state.not_in(_NEEDED),
                        mails.c.due_at_us < before_us,
                        mails.c.ended_at_us < before_us,
                    )
                    .limit(_AT_ONCE)
                )
                .scalars()
                .all()
            )
        if not old:
            break
        with database.write() as connection:
            connection.execute(sa.delete(mail_changes).where(mail_changes.c.mail_id.in_(old)))
            connection.execute(sa.delete(mails).where(mails.c.mail_id.in_(old)))
        purged += len(old)
    return purged
