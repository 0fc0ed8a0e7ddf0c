"""Do the stores agree with themselves and each other? Each check is cheap enough to run every minute. Not here: who runs them.

A check that could be wrong for a moment while data flows looks again before it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from exchange_platform.clock import Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.consumers import ConsumerRows
from exchange_platform.stores.database import (
    Database,
    bets,
    dead_letters,
    ledger,
    market_exposures,
    profiles,
)
from exchange_platform.stores.dead_letters import DeadLetters
from exchange_platform.stores.lake import Lake
from exchange_platform.supervision import is_alive

NEW_DEAD_LETTERS = timedelta(minutes=10)
_SETTLED_FOR = timedelta(seconds=30)
_LOOKS, _PAUSE_S = 6, 1.0


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """Whether a check passed, in words and in figures."""

    passed: bool
    description: str
    figures: Mapping[str, int | float | str] = field(default_factory=dict)


def money_conserved(database: Database) -> CheckOutcome:
    """Every profile's balance and exposure are the sums of its ledger entries, and its exposure that of its markets."""
    sums = (
        sa.select(
            ledger.c.user_id,
            sa.func.sum(sa.case((ledger.c.account == "balance", ledger.c.amount_minor), else_=0)).label(
                "balance"
            ),
            sa.func.sum(sa.case((ledger.c.account == "exposure", ledger.c.amount_minor), else_=0)).label(
                "exposure"
            ),
        )
        .group_by(ledger.c.user_id)
        .subquery()
    )
    standing = (
        sa.select(
            market_exposures.c.user_id, sa.func.sum(market_exposures.c.exposure_minor).label("exposure")
        )
        .group_by(market_exposures.c.user_id)
        .subquery()
    )
    wrong = (
        sa.select(profiles.c.user_id)
        .select_from(
            profiles.outerjoin(sums, sums.c.user_id == profiles.c.user_id).outerjoin(
                standing, standing.c.user_id == profiles.c.user_id
            )
        )
        .where(
            sa.or_(
                profiles.c.balance_minor != sa.func.coalesce(sums.c.balance, 0),
                profiles.c.exposure_minor != sa.func.coalesce(sums.c.exposure, 0),
                profiles.c.exposure_minor != sa.func.coalesce(standing.c.exposure, 0),
                profiles.c.balance_minor != profiles.c.profit_minor - profiles.c.commission_minor,
            )
        )
    )
    without_profile = (
        sa.select(sums.c.user_id)
        .select_from(sums.outerjoin(profiles, profiles.c.user_id == sums.c.user_id))
        .where(profiles.c.user_id.is_(None))
    )
    with database.read() as connection:
        total = connection.execute(sa.select(sa.func.count()).select_from(profiles)).scalar_one()
        users = list(connection.execute(wrong.union(without_profile).limit(10)).scalars())
    if users:
        return CheckOutcome(
            False,
            f"profile and ledger differ for {', '.join(users)}{' and more' if len(users) == 10 else ''}",
            {"profiles": total, "first_user": users[0]},
        )
    return CheckOutcome(True, f"{total} profiles are the sums of their ledgers", {"profiles": total})


def bets_conserved(database: Database) -> CheckOutcome:
    """For every bet, stake = matched + remaining + lapsed + cancelled + voided; profiles count the bets there are."""
    accounted = (
        bets.c.matched_minor
        + bets.c.remaining_minor
        + bets.c.lapsed_minor
        + bets.c.cancelled_minor
        + bets.c.voided_minor
    )
    with database.read() as connection:
        broken = list(
            connection.execute(
                sa.select(bets.c.bet_id).where(bets.c.stake_minor != accounted).limit(10)
            ).scalars()
        )
        placed, matched = connection.execute(
            sa.select(
                sa.func.coalesce(sa.func.sum(sa.case((bets.c.status != "REJECTED", 1), else_=0)), 0),
                sa.func.coalesce(sa.func.sum(bets.c.matched_minor), 0),
            )
        ).one()
        counted, counted_matched = connection.execute(
            sa.select(
                sa.func.coalesce(sa.func.sum(profiles.c.bets), 0),
                sa.func.coalesce(sa.func.sum(profiles.c.matched_minor), 0),
            )
        ).one()
    figures = {"bets": int(placed), "counted_in_profiles": int(counted), "matched_minor": int(matched)}
    if broken:
        return CheckOutcome(False, f"the sum of bets {', '.join(broken)} is broken", figures)
    if (int(placed), int(matched)) != (int(counted), int(counted_matched)):
        return CheckOutcome(
            False,
            f"{placed} bets with {matched} matched, but profiles count {counted} with {counted_matched}",
            figures,
        )
    return CheckOutcome(True, f"{placed} bets add up", figures)


def lake_agrees(
    database: Database, lake: Lake, clock: Clock, *, wait: Callable[[float], None] | None = None
) -> CheckOutcome:
    """The lake has every bet of the operational database, and no other, of those placed more than 30 seconds ago."""
    outcome = CheckOutcome(True, "")
    for look in range(_LOOKS):
        before_us = clock.now_us() - int(_SETTLED_FOR.total_seconds() * 1e6)
        with database.read() as connection:
            here = connection.execute(
                sa.select(sa.func.count()).select_from(bets).where(bets.c.placed_at_us < before_us)
            ).scalar_one()
        there = lake.bets_placed_before(datetime.fromtimestamp(before_us / 1e6, UTC))
        figures = {"operational_database": here, "lake": there}
        if here == there:
            return CheckOutcome(True, f"both have {here} bets", figures)
        outcome = CheckOutcome(
            False, f"the operational database has {here} bets placed until then, the lake {there}", figures
        )
        if wait is not None and look + 1 < _LOOKS:
            wait(_PAUSE_S)
    return outcome


def windows_agree(lake: Lake, *, since: datetime | None = None) -> CheckOutcome:
    """Every closed window is what its executions give now."""
    wrong = lake.disagreeing_windows(since=since, limit=10)
    counts = lake.counts()
    figures = {"closed": counts.closed_windows, "open": counts.open_windows}
    if wrong:
        market_id, selection_id, _, start = wrong[0]
        return CheckOutcome(
            False,
            f"{len(wrong)}{' or more' if len(wrong) == 10 else ''} closed windows are not what their executions give,"
            f" first {market_id} {selection_id} {start:%Y-%m-%d %H:%M}; materialise odds_windows for that day",
            figures,
        )
    return CheckOutcome(
        True, f"{counts.closed_windows} closed windows are what their executions give", figures
    )


def no_new_dead_letters(database: Database, clock: Clock) -> CheckOutcome:
    """No record died in the last ten minutes that was not replayed since."""
    since_us = clock.now_us() - int(NEW_DEAD_LETTERS.total_seconds() * 1e6)
    with database.read() as connection:
        new, reason = connection.execute(
            sa.select(sa.func.count(), sa.func.max(dead_letters.c.reason)).where(
                dead_letters.c.replayed_at_us.is_(None), dead_letters.c.dead_at_us >= since_us
            )
        ).one()
    count = DeadLetters(database).count()
    figures = {"new": new, "waiting": count.waiting, "replayed": count.replayed}
    if new:
        return CheckOutcome(False, f"{new} new dead letters, such as: {str(reason)[:200]}", figures)
    return CheckOutcome(True, f"none in ten minutes, {count.waiting} older ones wait", figures)


def consumer_alive(rows: ConsumerRows, source: str, settings: Settings, clock: Clock) -> CheckOutcome:
    """The source has a consumer that said so within the last seconds, and no store or stream troubles it."""
    newest = rows.newest(source)
    if newest is None:
        return CheckOutcome(False, f"{source} never had a consumer")
    silent_s = (clock.now_us() - newest.heartbeat_at_us) / 1e6
    figures = {
        "epoch": newest.epoch,
        "heartbeat_age_s": silent_s,
        "lag_ms": newest.lag_ms,
        "rate": newest.rate,
    }
    if not is_alive(newest, clock.now_us(), settings):
        return CheckOutcome(
            False, f"epoch {newest.epoch} {newest.state}, silent for {silent_s:.1f} s", figures
        )
    trouble = newest.statistics.get("trouble")
    if trouble:
        return CheckOutcome(False, "; ".join(trouble), figures)
    return CheckOutcome(True, f"epoch {newest.epoch}, heartbeat {silent_s:.1f} s ago", figures)
