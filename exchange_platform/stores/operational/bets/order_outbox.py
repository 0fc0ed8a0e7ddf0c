"""Orders on their way to the exchange: written with the bet, published after it. Not here: publishing them
(order_publishing.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.orders import Order, encode_order
from exchange_platform.stores.operational.database import Database, bets, to_us
from exchange_platform.stores.operational.purge_rounds import ROWS_AT_ONCE, Budget, Purged, counted
from exchange_platform.stores.operational.tables.wallets import order_outbox, pending_bets, replacements
from exchange_platform.stores.operational.upsert import ListUpdate, Lookup, insert

_insert = insert(order_outbox, leave_out=["sequence", "published_at_us"])


class OutboxOrder(NamedTuple):
    """An order as it travels: `data` is the record, `market_id` its partition key."""

    order_id: str
    market_id: str
    data: bytes


def write_orders(
    connection: sa.Connection, orders: Sequence[Order], applications: Sequence[str] = ()
) -> list[OutboxOrder]:
    """Write orders, to be published in this order; in the transaction that makes them true. `applications`
    are who asked for each.
    """
    asked_by: Sequence[str | None] = applications or [None] * len(orders)
    encoded = [OutboxOrder(order.order_id, order.market_id, encode_order(order)) for order in orders]
    rows: list[dict[str, Any]] = [
        {
            "order_id": order.order_id,
            "bet_id": order.bet_id,
            "market_id": order.market_id,
            "data": one.data,
            "ordered_at_us": to_us(order.ordered_at),
            "application": application,
        }
        for order, one, application in zip(orders, encoded, asked_by, strict=True)
    ]
    _insert.execute(connection, rows)
    return encoded


def unpublished_of(connection: sa.Connection, bet_ids: Sequence[str]) -> list[OutboxOrder]:
    """What is not known to be published of these bets' orders, oldest first: what must go out before any
    further order of theirs.
    """
    found = sorted(
        (row.sequence, OutboxOrder(row.order_id, row.market_id, row.data))
        for row in _UNPUBLISHED_OF.rows(connection, bet_ids)
    )
    return [order for _, order in found]


def mark_published(connection: sa.Connection, order_ids: Iterable[str], now_us: int) -> None:
    """Note that the stream has these orders."""
    _MARK.execute(connection, (now_us,), sorted(order_ids))


def mark_lost(database: Database, *, created_at_us: int, since_us: int) -> int:
    """Note that a stream created then does not have what was published before it: what was published from
    `since_us` on, and every order that nothing has answered, is to be published again. How many orders.

    Unanswered is an order of a bet that is pending, or is being replaced, or that is open and has not changed
    since: a cancellation, say. The exchange knows an order that it has by its id.
    """
    lost = sa.and_(
        order_outbox.c.published_at_us < created_at_us,
        sa.or_(
            order_outbox.c.published_at_us >= since_us,
            order_outbox.c.bet_id.in_(sa.select(pending_bets.c.bet_id)),
            order_outbox.c.bet_id.in_(sa.select(replacements.c.bet_id)),
            sa.exists().where(
                bets.c.bet_id == order_outbox.c.bet_id,
                bets.c.status == BetStatus.OPEN.value,
                bets.c.updated_at_us <= order_outbox.c.ordered_at_us,
            ),
        ),
    )
    with database.read() as connection:
        if connection.execute(sa.select(order_outbox.c.sequence).where(lost).limit(1)).first() is None:
            return 0
    with database.write() as connection:
        return connection.execute(sa.update(order_outbox).where(lost).values(published_at_us=None)).rowcount


def unpublished(
    database: Database, *, before_us: int, limit: int, from_us: int | None = None
) -> list[OutboxOrder]:
    """Orders written before one instant, or after another, that are not known to be published, oldest first.
    Raises `StoreUnavailable`.
    """
    written = order_outbox.c.ordered_at_us <= before_us
    if from_us is not None:
        written = sa.or_(written, order_outbox.c.ordered_at_us > from_us)
    with database.read() as connection:
        return [
            OutboxOrder(row.order_id, row.market_id, row.data)
            for row in connection.execute(
                _ORDERS.where(order_outbox.c.published_at_us.is_(None), written)
                .order_by(order_outbox.c.sequence)
                .limit(limit)
            )
        ]


def purge_published(database: Database, *, before_us: int, budget: Budget) -> Purged:
    """Delete orders that were published before an instant and whose bets are no longer pending. Each
    transaction is short.
    """
    due = sa.select(order_outbox.c.sequence).where(
        order_outbox.c.published_at_us < before_us,
        order_outbox.c.bet_id.not_in(sa.select(pending_bets.c.bet_id)),
        order_outbox.c.bet_id.not_in(sa.select(replacements.c.bet_id)),
    )

    def step() -> int | None:
        with database.write() as connection:
            oldest = due.order_by(order_outbox.c.published_at_us, order_outbox.c.sequence)
            old = connection.execute(oldest.limit(ROWS_AT_ONCE)).scalars().all()
            connection.execute(sa.delete(order_outbox).where(order_outbox.c.sequence.in_(old)))
        return len(old) or None

    deleted = budget.repeat(step)
    with database.read() as connection:
        left = counted(connection, due)
        oldest_us = connection.execute(due.with_only_columns(sa.func.min(order_outbox.c.published_at_us)))
        return Purged(deleted, left, before_us - (oldest_us.scalar() or before_us))


_ORDERS = sa.select(
    order_outbox.c.sequence, order_outbox.c.order_id, order_outbox.c.market_id, order_outbox.c.data
)
_UNPUBLISHED_OF = Lookup(_ORDERS.where(order_outbox.c.published_at_us.is_(None)), order_outbox.c.bet_id)
_MARK = ListUpdate(
    sa.update(order_outbox)
    .where(order_outbox.c.published_at_us.is_(None))
    .values(published_at_us=sa.bindparam("now_us")),
    order_outbox.c.order_id,
)
