"""Whether a deposit is within the limits that the account's owner set, of what was deposited before. Not
here: setting them (wallets.py), what holds when (betting_limits.py).
"""

from __future__ import annotations

import sqlalchemy as sa

from exchange_platform.domain.betting_limits import DEPOSIT_WINDOWS_US, NO_LIMITS, LimitKind
from exchange_platform.domain.money import major
from exchange_platform.domain.refusals import Forbidden, RefusalCode
from exchange_platform.stores.operational.accounts.limit_changes import read_limits
from exchange_platform.stores.operational.tables.wallets import wallet_transfers


def check_deposit_limits(
    connection: sa.Connection, account_id: str, amount_minor: int, currency: str, now_us: int
) -> None:
    """Refuse a deposit that is over a limit of the owner's. Raises `Forbidden`. The caller holds the
    account's profile.
    """
    limits = read_limits(connection, [account_id], now_us).get(account_id, NO_LIMITS)
    left: list[tuple[int, LimitKind, int]] = []
    for kind, window_us in DEPOSIT_WINDOWS_US.items():
        most = limits.value(kind)
        if most is None:
            continue
        deposited = connection.execute(
            sa.select(sa.func.coalesce(sa.func.sum(wallet_transfers.c.amount_minor), 0)).where(
                wallet_transfers.c.account_id == account_id,
                wallet_transfers.c.kind == "deposit",
                wallet_transfers.c.transferred_at_us > now_us - window_us,
            )
        ).scalar_one()
        left.append((max(0, most - int(deposited)), kind, most))
    if left:
        least, kind, most = min(left)
        if amount_minor > least:
            raise Forbidden(
                RefusalCode.DEPOSIT_OVER_LIMIT,
                "amount_minor",
                amount_minor,
                f"the account's own limit {kind.value} is {most}; {least}"
                f" ({major(least, currency)} {currency}) can be deposited now",
            )
