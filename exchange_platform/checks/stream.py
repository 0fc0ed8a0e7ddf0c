"""Is the stream consumed, and are its records good? Not here: whether the stores agree (money.py, lake.py)."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from exchange_platform.checks.outcomes import CheckOutcome
from exchange_platform.clock import Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.consumers import ConsumerRows
from exchange_platform.stores.database import Database, dead_letters
from exchange_platform.stores.dead_letters import DeadLetters
from exchange_platform.supervision import is_alive

NEW_DEAD_LETTERS = timedelta(minutes=10)


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
    silent_s = round((clock.now_us() - newest.heartbeat_at_us) / 1e6, 1)
    figures: dict[str, int | float | str] = {
        "epoch": newest.epoch,
        "heartbeat_age_s": silent_s,
        "lag_ms": round(newest.lag_ms, 1),
        "rate": round(newest.rate, 1),
    }
    if not is_alive(newest, clock.now_us(), settings):
        return CheckOutcome(False, f"epoch {newest.epoch} {newest.state}, silent for {silent_s} s", figures)
    trouble = newest.statistics.get("trouble")
    if trouble:
        return CheckOutcome(False, "; ".join(trouble), figures)
    return CheckOutcome(
        True, f"epoch {newest.epoch}, heartbeat {silent_s} s ago, lag {newest.lag_ms:.0f} ms", figures
    )
