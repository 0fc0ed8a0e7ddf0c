"""Do orders reach the exchange, are they answered, is money reserved for live bets alone, do the books
balance? Asked of the operational database.

Not here: fixing it (order_publishing.py, submission/reconciliation.py).
"""

from __future__ import annotations

import math

import sqlalchemy as sa

from exchange_platform.domain.bets import LIVE, BetStatus
from exchange_platform.operations.checks.outcomes import EVERYONE, MAX_NAMED, CheckOutcome, Users, listed
from exchange_platform.process.clock import Clock, ahead_us, elapsed_s
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.bets.ledger import CLEARING
from exchange_platform.stores.operational.database import Database, bets, market_exposures, profiles
from exchange_platform.stores.operational.tables.wallets import house_balances, order_outbox, pending_bets

STUCK_AFTER_S = 5.0
"""A relay publishes what was left within 2 s; the rest is grace for it to be marked."""
_LIVE = sorted(status.value for status in LIVE)


def orders_published(database: Database, clock: Clock) -> CheckOutcome:
    """No order waits in the outbox for longer than a relay needs."""
    now_us = clock.now_us()
    with database.read() as connection:
        waiting, oldest_us = connection.execute(
            sa.select(sa.func.count(), sa.func.min(order_outbox.c.ordered_at_us)).where(
                order_outbox.c.published_at_us.is_(None)
            )
        ).one()
    age_s = elapsed_s(oldest_us, now_us) if oldest_us is not None else 0.0
    figures = {"unpublished_orders": int(waiting), **_finite("oldest_unpublished_s", age_s)}
    if age_s > STUCK_AFTER_S:
        return CheckOutcome(
            False, f"{waiting} orders are not published, the oldest for {_age(age_s)}", figures
        )
    return CheckOutcome(True, f"{waiting} orders wait to be published", figures)


def orders_answered(database: Database, settings: Settings, clock: Clock) -> CheckOutcome:
    """No bet is PENDING for longer than `pending_limit_s`."""
    now_us = clock.now_us()
    late_us = now_us - int(settings.pending_limit_s * 1e6)
    # A time far ahead was taken before the clock was set back: how long ago, nobody knows.
    is_late = sa.or_(pending_bets.c.since_us < late_us, pending_bets.c.since_us > ahead_us(now_us))
    with database.read() as connection:
        pending, oldest_us, late = connection.execute(
            sa.select(
                sa.func.count(),
                sa.func.min(pending_bets.c.since_us),
                sa.func.coalesce(sa.func.sum(sa.case((is_late, 1), else_=0)), 0),
            )
        ).one()
        named = list(
            connection.execute(
                sa.select(pending_bets.c.bet_id)
                .where(is_late)
                .order_by(pending_bets.c.since_us)
                .limit(MAX_NAMED)
            ).scalars()
        )
    age_s = elapsed_s(oldest_us, now_us) if oldest_us is not None else 0.0
    figures = {
        "pending_bets": int(pending),
        "unknown_bets": int(late),
        **_finite("oldest_pending_s", age_s),
    }
    if late:
        return CheckOutcome(
            False,
            f"{late} bets are PENDING for more than {settings.pending_limit_s:g} s, the oldest for {_age(age_s)}: {', '.join(named)}",
            figures,
        )
    return CheckOutcome(True, f"{pending} bets are PENDING, the oldest for {age_s:.1f} s", figures)


def _finite(name: str, age_s: float) -> dict[str, float]:
    return {name: round(age_s, 1)} if math.isfinite(age_s) else {}


def _age(age_s: float) -> str:
    return f"{age_s:.0f} s" if math.isfinite(age_s) else "a time unknown, as the clock was set back"


def reservations_backed(database: Database, users: Users = EVERYONE) -> CheckOutcome:
    """Money is set aside for live bets alone, and the list of pending bets is that of the bets."""
    live = (
        sa.select(bets.c.user_id, bets.c.market_id)
        .where(users.where(bets.c.user_id), bets.c.status.in_(_LIVE))
        .distinct()
        .subquery()
    )
    unbacked = (
        sa.select(market_exposures.c.user_id, market_exposures.c.market_id, market_exposures.c.exposure_minor)
        .select_from(
            market_exposures.outerjoin(
                live,
                sa.and_(
                    live.c.user_id == market_exposures.c.user_id,
                    live.c.market_id == market_exposures.c.market_id,
                ),
            )
        )
        .where(users.where(market_exposures.c.user_id), live.c.user_id.is_(None))
        .limit(MAX_NAMED)
    )
    is_pending = bets.c.status == BetStatus.PENDING.value
    not_pending = (
        sa.select(pending_bets.c.bet_id, pending_bets.c.user_id)
        .select_from(pending_bets.outerjoin(bets, bets.c.bet_id == pending_bets.c.bet_id))
        .where(users.where(pending_bets.c.user_id), sa.or_(bets.c.bet_id.is_(None), sa.not_(is_pending)))
        .limit(MAX_NAMED)
    )
    unlisted = (
        sa.select(bets.c.bet_id, bets.c.user_id)
        .select_from(bets.outerjoin(pending_bets, pending_bets.c.bet_id == bets.c.bet_id))
        .where(users.where(bets.c.user_id), is_pending, pending_bets.c.bet_id.is_(None))
        .limit(MAX_NAMED)
    )
    wrong: dict[str, str] = {}
    with database.read() as connection:
        for row in connection.execute(unbacked):
            wrong.setdefault(
                row.user_id,
                f"{row.user_id} has {row.exposure_minor} set aside in market {row.market_id} without a live bet",
            )
        for bet_id, user_id in connection.execute(not_pending):
            wrong.setdefault(user_id, f"bet {bet_id} is listed as pending and is not")
        for bet_id, user_id in connection.execute(unlisted):
            wrong.setdefault(user_id, f"bet {bet_id} is PENDING and not listed as such")
    figures = {"wrong_users": len(wrong)}
    if wrong:
        return CheckOutcome(False, listed(wrong.values()), figures, tuple(sorted(wrong)[:MAX_NAMED]))
    return CheckOutcome(True, f"all money that is set aside has a live bet{users.share}", figures)


def books_balanced(database: Database) -> CheckOutcome:
    """Customers' balances and the house's add up to 0 in each currency, and a market without open positions
    owes nobody.
    """
    told = sa.union_all(
        sa.select(profiles.c.currency, profiles.c.balance_minor.label("amount")),
        sa.select(house_balances.c.currency, house_balances.c.amount_minor),
    ).subquery()
    sums = sa.select(told.c.currency, sa.func.sum(told.c.amount).label("amount")).group_by(told.c.currency)
    standing = sa.select(market_exposures.c.market_id).distinct().subquery()
    owing = (
        sa.select(house_balances.c.market_id, house_balances.c.amount_minor)
        .select_from(house_balances.outerjoin(standing, standing.c.market_id == house_balances.c.market_id))
        .where(
            house_balances.c.account == CLEARING,
            house_balances.c.amount_minor != 0,
            standing.c.market_id.is_(None),
        )
        .limit(MAX_NAMED)
    )
    with database.read() as connection:
        totals = {row.currency: int(row.amount) for row in connection.execute(sums)}
        markets = [(row.market_id, int(row.amount_minor)) for row in connection.execute(owing)]
    wrong = [
        f"all balances in {currency} add up to {total} instead of 0"
        for currency, total in sorted(totals.items())
        if total
    ]
    wrong += [f"market {market} is done with and owes {-amount}" for market, amount in markets]
    figures = {"currencies": len(totals), "unbalanced": len(wrong)}
    if wrong:
        return CheckOutcome(False, listed(wrong), figures)
    return CheckOutcome(True, f"all balances add up to 0 in {len(totals)} currencies", figures)
