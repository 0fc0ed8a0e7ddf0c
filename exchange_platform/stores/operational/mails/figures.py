"""How the delivery of changes stands, in figures that cost the same however many were delivered. Not here:
who shows or judges them.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS, POSITION, TOPIC, Outbox
from exchange_platform.stores.operational.database import Database, checkpoints, outbox
from exchange_platform.stores.operational.mails.mails import MAIL, MailQueue


class NotificationFigures(msgspec.Struct, frozen=True):
    """How the delivery of changes stands.

    `waiting`: mails that should have left and have not; `later`: those that wait for their time (fills,
    digests, another try); `unread`: changes that were not looked at for mail yet; `unpublished`: those that
    the topic has yet to get. `oldest_waiting_s`: the age of the oldest of what waits, is unread or
    unpublished.
    """

    waiting: int
    later: int
    unread: int
    unpublished: int
    oldest_waiting_s: float
    sent: int
    skipped: int
    failed: int
    published: int


def notification_figures(database: Database, *, now_us: int) -> NotificationFigures:
    """Read the figures. Raises `StoreUnavailable`."""
    queue = MailQueue(database, NOTIFICATIONS)
    count = queue.count()
    waiting, oldest_due_at_us = queue.standing(now_us=now_us)
    newest = Outbox(database).newest()
    with database.read() as connection:
        positions = {
            str(row.sink): int(row.position or 0)
            for row in connection.execute(
                sa.select(checkpoints.c.sink, checkpoints.c.position).where(
                    checkpoints.c.source == NOTIFICATIONS, checkpoints.c.shard == POSITION
                )
            )
        }
        read_to, published = positions.get(MAIL, 0), positions.get(TOPIC, 0)
        oldest_change_at_us = connection.execute(
            sa.select(outbox.c.changed_at_us)
            .where(outbox.c.sequence > min(read_to, published))
            .order_by(outbox.c.sequence)
            .limit(1)
        ).scalar()
    since = [at_us for at_us in (oldest_due_at_us, oldest_change_at_us) if at_us is not None]
    return NotificationFigures(
        waiting=waiting,
        later=count.waiting - waiting,
        unread=newest - read_to,
        unpublished=newest - published,
        oldest_waiting_s=round(max(0, now_us - min(since)) / 1e6, 3) if since else 0.0,
        sent=count.sent,
        skipped=count.skipped,
        failed=count.dead,
        published=published,
    )
