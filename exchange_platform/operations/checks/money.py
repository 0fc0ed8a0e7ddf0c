"""Is money conserved, and every bet's stake? Asked of the operational database alone. Not here: the other
stores (lake.py).

Each comparison is one statement, so it sees one state of the database whatever is written meanwhile.
"""

from __future__ import annotations

from itertools import groupby

import sqlalchemy as sa

from exchange_platform.domain.bets import LIVE, BetResult, BetStatus, Position, Side, market_exposure_minor
from exchange_platform.operations.checks.outcomes import (
    EVERYONE,
    MAX_NAMED,
    CheckOutcome,
    Users,
    listed,
    parts,
)
from exchange_platform.stores.operational.database import (
    Database,
    bets,
    ledger,
    market_exposures,
    positions,
    profiles,
)
from exchange_platform.stores.operational.tables.wallets import replacements

_LIVE = sorted(status.value for status in LIVE)


def money_conserved(database: Database, users: Users = EVERYONE) -> CheckOutcome:
    """Every profile's balance and exposure are the sums of its ledger, and each market's exposure its worst
    outcome.
    """
    total = 0
    wrong: dict[str, str] = {}
    for part in parts(database, users):
        with database.read() as connection:
            total += connection.execute(
                sa.select(sa.func.count()).select_from(profiles).where(part.where(profiles.c.user_id))
            ).scalar_one()
            for row in connection.execute(_sums(part)):
                wrong[row.user_id] = (
                    f"{row.user_id} has balance {row.balance} and exposure {row.exposure}, the ledger"
                    f" {row.ledger_balance} and {row.ledger_exposure}, the markets {row.market_exposure}"
                    if row.profiles
                    else f"{row.user_id} has ledger entries or exposures but no profile"
                )
            for user_id, market_id, stands, worst in _wrong_exposures(connection, part):
                wrong.setdefault(
                    user_id,
                    f"{user_id} has exposure {stands} in market {market_id}, its worst outcome is {worst}",
                )
        if len(wrong) >= MAX_NAMED:
            break
    figures = {"profiles": total, "wrong_profiles": len(wrong)}
    if wrong:
        return CheckOutcome(False, listed(wrong.values()), figures, tuple(sorted(wrong)[:MAX_NAMED]))
    return CheckOutcome(True, f"{total} profiles are the sums of their ledgers{users.share}", figures)


def bets_conserved(database: Database, users: Users = EVERYONE) -> CheckOutcome:
    """For every bet, stake = matched + remaining + lapsed + cancelled + voided; profiles and positions are
    the sums of the bets.
    """
    count = 0
    wrong: dict[str, str] = {}
    for part in parts(database, users):
        with database.read() as connection:
            count += connection.execute(
                sa.select(sa.func.count()).select_from(bets).where(part.where(bets.c.user_id))
            ).scalar_one()
            for row in connection.execute(_broken_bets(part)):
                wrong.setdefault(
                    row.user_id,
                    f"bet {row.bet_id} has stake {row.stake_minor}, accounted for are {row.accounted}",
                )
            for row in connection.execute(_counts(part)):
                wrong.setdefault(row.user_id, f"the profile of {row.user_id} does not count the user's bets")
            for row in connection.execute(_positions(part)):
                wrong.setdefault(
                    row.user_id,
                    f"the position of {row.user_id} in market {row.market_id}, selection {row.selection_id}"
                    " is not the sum of the live bets",
                )
        if len(wrong) >= MAX_NAMED:
            break
    figures = {"bets": count, "wrong_users": len(wrong)}
    if wrong:
        return CheckOutcome(False, listed(wrong.values()), figures, tuple(sorted(wrong)[:MAX_NAMED]))
    return CheckOutcome(True, f"{count} bets add up{users.share}", figures)


def _sums(users: Users) -> sa.Select[tuple[object, ...]]:
    """Users whose profile, ledger and markets say different things."""
    nothing = sa.literal(0)

    def amounts(account: str) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((ledger.c.account == account, ledger.c.amount_minor), else_=0))

    names = ("profiles", "balance", "exposure", "net", "ledger_balance", "ledger_exposure", "market_exposure")
    told = (
        (
            sa.select(
                profiles.c.user_id,
                sa.literal(1).label("profiles"),
                profiles.c.balance_minor.label("balance"),
                profiles.c.exposure_minor.label("exposure"),
                (
                    profiles.c.deposited_minor
                    - profiles.c.withdrawn_minor
                    + profiles.c.profit_minor
                    - profiles.c.commission_minor
                ).label("net"),
                *(nothing.label(name) for name in names[4:]),
            ).where(users.where(profiles.c.user_id))
        ),
        (
            sa.select(
                ledger.c.user_id,
                *(nothing.label(name) for name in names[:4]),
                amounts("balance"),
                amounts("exposure"),
                nothing,
            )
            .where(users.where(ledger.c.user_id))
            .group_by(ledger.c.user_id)
        ),
        (
            sa.select(
                market_exposures.c.user_id,
                *(nothing.label(name) for name in names[:6]),
                sa.func.sum(market_exposures.c.exposure_minor),
            )
            .where(users.where(market_exposures.c.user_id))
            .group_by(market_exposures.c.user_id)
        ),
    )
    every = sa.union_all(*told).subquery()
    total = {name: sa.func.sum(every.c[name]) for name in names}
    return (
        sa.select(every.c.user_id, *(total[name].label(name) for name in names))
        .group_by(every.c.user_id)
        .having(
            sa.or_(
                total["profiles"] != 1,
                total["balance"] != total["ledger_balance"],
                total["balance"] != total["net"],
                total["exposure"] != total["ledger_exposure"],
                total["exposure"] != total["market_exposure"],
            )
        )
        .limit(MAX_NAMED)
    )


def _wrong_exposures(connection: sa.Connection, users: Users) -> list[tuple[str, str, int, int]]:
    """(user, market, exposure that stands there, worst outcome of the positions) where they differ."""
    statement = (
        sa.select(
            market_exposures.c.user_id,
            market_exposures.c.market_id,
            market_exposures.c.number_of_winners,
            market_exposures.c.number_of_selections,
            market_exposures.c.exposure_minor,
            positions.c.if_wins_minor,
            positions.c.if_loses_minor,
        )
        .select_from(
            market_exposures.outerjoin(
                positions,
                sa.and_(
                    positions.c.user_id == market_exposures.c.user_id,
                    positions.c.market_id == market_exposures.c.market_id,
                ),
            )
        )
        .where(users.where(market_exposures.c.user_id))
        .order_by(market_exposures.c.user_id, market_exposures.c.market_id)
    )
    wrong: list[tuple[str, str, int, int]] = []
    for (user_id, market_id), group in groupby(connection.execute(statement), lambda row: row[:2]):
        rows = list(group)
        held = [
            Position(row.if_wins_minor, row.if_loses_minor) for row in rows if row.if_wins_minor is not None
        ]
        worst = market_exposure_minor(held, rows[0].number_of_winners, rows[0].number_of_selections)
        if worst != rows[0].exposure_minor:
            wrong.append((user_id, market_id, rows[0].exposure_minor, worst))
    return wrong


def _broken_bets(users: Users) -> sa.Select[tuple[object, ...]]:
    """Bets whose parts are not their stake."""
    accounted = (
        bets.c.matched_minor
        + bets.c.remaining_minor
        + bets.c.lapsed_minor
        + bets.c.cancelled_minor
        + bets.c.voided_minor
    )
    return (
        sa.select(bets.c.bet_id, bets.c.user_id, bets.c.stake_minor, accounted.label("accounted"))
        .where(users.where(bets.c.user_id), bets.c.stake_minor != accounted)
        .limit(MAX_NAMED)
    )


def _counts(users: Users) -> sa.Select[tuple[object, ...]]:
    """Users whose profile does not count and sum their bets; the rules are those of stores/bets.py."""

    def number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((condition, 1), else_=0))

    placed = bets.c.status != BetStatus.REJECTED.value
    counted: dict[str, sa.ColumnElement[int]] = {
        "bets": number(placed),
        "open_bets": number(bets.c.status.in_(_LIVE)),
        "matched_bets": number(bets.c.matched_minor > 0),
        "settled_bets": number(bets.c.status == BetStatus.SETTLED.value),
        "won_bets": number(bets.c.result == BetResult.WON.value),
        "lost_bets": number(bets.c.result == BetResult.LOST.value),
        "staked_minor": sa.func.sum(sa.case((placed, bets.c.stake_minor), else_=0)),
        "matched_minor": sa.func.sum(bets.c.matched_minor),
        "profit_minor": sa.func.sum(bets.c.profit_minor),
        "commission_minor": sa.func.sum(bets.c.commission_minor),
    }
    told = sa.select(profiles.c.user_id, *(profiles.c[name].label(name) for name in counted)).where(
        users.where(profiles.c.user_id)
    )
    found = (
        sa.select(bets.c.user_id, *((-amount).label(name) for name, amount in counted.items()))
        .where(users.where(bets.c.user_id))
        .group_by(bets.c.user_id)
    )
    both = sa.union_all(told, found).subquery()
    return (
        sa.select(both.c.user_id)
        .group_by(both.c.user_id)
        .having(sa.or_(*(sa.func.sum(both.c[name]) != 0 for name in counted)))
        .limit(MAX_NAMED)
    )


def _positions(users: Users) -> sa.Select[tuple[object, ...]]:
    """Positions that are not the sums of `Bet.position` over the live bets and of the credits of replacements
    on their way.
    """
    key = ("user_id", "market_id", "selection_id", "handicap")
    is_back = bets.c.side == Side.BACK.value
    # What the unmatched part of a lay would pay, remaining x (odds - 1) rounded up, in whole thousandths.
    thousandths = sa.cast(sa.func.round(sa.cast(bets.c.odds, sa.Numeric(9, 3)) * 1000), sa.BigInteger)
    paid = bets.c.remaining_minor * (thousandths - 1000)
    rounded = (paid + 999) // 1000
    if_wins = sa.case(
        (is_back, bets.c.matched_winnings_minor), else_=-bets.c.matched_winnings_minor - rounded
    )
    if_loses = sa.case((is_back, -bets.c.matched_minor - bets.c.remaining_minor), else_=bets.c.matched_minor)
    told = sa.select(
        *(positions.c[name] for name in key),
        positions.c.if_wins_minor.label("if_wins"),
        positions.c.if_loses_minor.label("if_loses"),
    ).where(users.where(positions.c.user_id))
    found = sa.select(*(bets.c[name] for name in key), -if_wins, -if_loses).where(
        users.where(bets.c.user_id), bets.c.status.in_(_LIVE)
    )
    credited = (
        sa.select(
            *(bets.c[name] for name in key),
            -replacements.c.credit_wins_minor,
            -replacements.c.credit_loses_minor,
        )
        .select_from(replacements.join(bets, bets.c.bet_id == replacements.c.new_bet_id))
        .where(users.where(replacements.c.user_id))
    )
    both = sa.union_all(told, found, credited).subquery()
    return (
        sa.select(*(both.c[name] for name in key))
        .group_by(*(both.c[name] for name in key))
        .having(sa.or_(sa.func.sum(both.c.if_wins) != 0, sa.func.sum(both.c.if_loses) != 0))
        .limit(MAX_NAMED)
    )
