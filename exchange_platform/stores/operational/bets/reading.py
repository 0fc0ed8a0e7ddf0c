"""Reading one bet, or an account's, for its owner. Not here: changing them (bets.py)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa

from exchange_platform.domain.bet_requests import BetPage
from exchange_platform.domain.bets import Bet, BetStatus
from exchange_platform.domain.refusals import Invalid, RefusalCode
from exchange_platform.stores.operational.bets.rows import bet_from_row
from exchange_platform.stores.operational.database import Database, bets
from exchange_platform.stores.operational.tables.accounts import accounts

_INSTANT = re.compile(r"[0-9]{1,18}", re.ASCII)
"""Microseconds that the database can hold."""


def read_bet(database: Database, bet_id: str) -> Bet | None:
    """The bet as it is now. Raises `StoreUnavailable`."""
    with database.read() as connection:
        row = connection.execute(sa.select(bets).where(bets.c.bet_id == bet_id)).first()
    return None if row is None else bet_from_row(row)


def read_bets(
    database: Database,
    account_id: str,
    *,
    after: str | None,
    limit: int,
    statuses: Sequence[BetStatus] = (),
) -> BetPage | None:
    """A page of the account's bets, newest first; None if there is no such account. Raises
    `StoreUnavailable`, `Invalid` for no page's `after`.
    """
    wanted = sa.select(bets).where(bets.c.user_id == account_id)
    if statuses:
        wanted = wanted.where(bets.c.status.in_([status.value for status in statuses]))
    if after is not None:
        placed_at_us, bet_id = _place(after)
        wanted = wanted.where(
            bets.c.placed_at_us <= placed_at_us,
            sa.or_(bets.c.placed_at_us < placed_at_us, bets.c.bet_id < bet_id),
        )
    wanted = wanted.order_by(bets.c.placed_at_us.desc(), bets.c.bet_id.desc()).limit(limit + 1)
    with database.read() as connection:
        known = connection.execute(
            sa.select(accounts.c.account_id).where(accounts.c.account_id == account_id)
        ).first()
        if known is None:
            return None
        rows = connection.execute(wanted).all()
    shown = rows[:limit]
    more = f"{shown[-1].placed_at_us}.{shown[-1].bet_id}" if len(rows) > limit else None
    return BetPage([bet_from_row(row) for row in shown], more)


def _place(after: str) -> tuple[int, str]:
    placed_at_us, dot, bet_id = after.partition(".") if isinstance(after, str) else ("", "", "")
    if not (dot and bet_id and len(after) <= 90 and _INSTANT.fullmatch(placed_at_us)):
        raise Invalid(RefusalCode.INVALID_PAGE, "after", after, "what the page before gave is asked for")
    return int(placed_at_us), bet_id
