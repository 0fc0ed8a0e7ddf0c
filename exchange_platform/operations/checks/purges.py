"""Do the purges keep up with what grows? Purging itself is purges.py's."""

from __future__ import annotations

import sqlalchemy as sa

from exchange_platform.operations.checks.outcomes import CheckOutcome, listed
from exchange_platform.operations.purges import DAY_US
from exchange_platform.process.clock import Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database, consumers
from exchange_platform.stores.operational.purge_rounds import MAX_COUNTED, PurgeRound, PurgeRounds

_LATE_US = 2 * 3_600_000_000
"""A round is due every hour."""


def purges_keep_up(database: Database, settings: Settings, clock: Clock) -> CheckOutcome:
    """No purge left anything for days that should be gone, none fails, and each has had its round while the
    platform ran.
    """
    now_us = clock.now_us()
    rounds = PurgeRounds(database, clock).read()
    if not rounds:
        if not _ran(database, 0, now_us - _LATE_US):
            return CheckOutcome(True, "no purge has had a round yet, and nothing is old", {"purges": 0})
        return CheckOutcome(False, "no purge has had a round yet", {"purges": 0}, compared=False)
    wrong: list[str] = []
    left = worst_us = 0
    for one in rounds:
        left += one.left
        behind_us = one.behind_us + max(0, now_us - (one.finished_at_us or now_us)) if one.left else 0
        worst_us = max(worst_us, behind_us)
        if one.last_error is not None:
            wrong.append(f"{one.purge}: the newest round failed: {one.last_error}")
        elif behind_us > settings.purge_behind_days * DAY_US:
            wrong.append(
                f"{one.purge}: {_number(one.left)} left, the oldest overdue for {behind_us / DAY_US:.1f} days;"
                f" the newest round deleted {one.deleted}"
            )
        elif _is_missed(database, one, now_us):
            hours = (now_us - (one.finished_at_us or one.begun_at_us)) / 3_600_000_000
            wrong.append(f"{one.purge}: no round has finished for {hours:.0f} hours")
    figures: dict[str, int | float | str] = {
        "purges": len(rounds),
        "deleted": sum(one.deleted for one in rounds),
        "left": left,
        "overdue_days": round(worst_us / DAY_US, 2),
    }
    if wrong:
        return CheckOutcome(False, listed(wrong), figures)
    return CheckOutcome(
        True,
        f"{len(rounds)} purges leave {_number(left)}, the oldest overdue for {worst_us / 3_600_000_000:.1f} hours",
        figures,
    )


def _number(count: int) -> str:
    return f"{count} or more" if count >= MAX_COUNTED else str(count)


def _is_missed(database: Database, one: PurgeRound, now_us: int) -> bool:
    """Whether the platform ran for hours without a round: a run that began long after the newest round did so
    hours ago.

    After a night's stop the first round may be an hour away, and nothing is wrong.
    """
    newest_us = one.finished_at_us if one.finished_at_us is not None else one.begun_at_us
    return _ran(database, newest_us + _LATE_US, now_us - _LATE_US)


def _ran(database: Database, since_us: int, until_us: int) -> bool:
    """Whether a consumer run began in between."""
    began = consumers.c.started_at_us
    with database.read() as connection:
        found = connection.execute(
            sa.select(consumers.c.epoch).where(began > since_us, began < until_us).limit(1)
        )
        return found.first() is not None
