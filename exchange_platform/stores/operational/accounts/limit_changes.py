"""The limits that accounts set for themselves, as stored: every change, in order. Not here: what holds when
(betting_limits.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa

from exchange_platform.domain.betting_limits import LimitChange, LimitKind, Limits, limits_at
from exchange_platform.stores.operational.tables.wallets import limit_changes
from exchange_platform.stores.operational.upsert import Lookup


def read_limits(connection: sa.Connection, account_ids: Sequence[str], now_us: int) -> dict[str, Limits]:
    """The limits of those of the accounts that ever set one."""
    changes: defaultdict[str, list[LimitChange]] = defaultdict(list)
    for row in _CHANGES.rows(connection, account_ids):
        changes[row.account_id].append(
            LimitChange(LimitKind(row.kind), row.value, row.requested_at_us, row.effective_at_us)
        )
    return {account_id: limits_at(asked, now_us) for account_id, asked in changes.items()}


def write_limit_change(
    connection: sa.Connection, account_id: str, change: LimitChange, application: str
) -> None:
    """Add a change that the application asked for; the caller holds the account's profile, so that changes
    have one order.
    """
    connection.execute(
        sa.insert(limit_changes).values(
            account_id=account_id,
            kind=change.kind.value,
            value=change.value,
            requested_at_us=change.requested_at_us,
            effective_at_us=change.effective_at_us,
            application=application,
        )
    )


_CHANGES = Lookup(
    sa.select(limit_changes).order_by(limit_changes.c.change_id),
    limit_changes.c.account_id,
)
