"""Is the stream consumed, and are its records good? Not here: whether the stores agree (money.py,
lake.py).
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from exchange_platform.operations.checks.outcomes import CheckOutcome, listed
from exchange_platform.process.clock import Clock
from exchange_platform.runs.liveness import RunCondition, condition_here
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow, ConsumerRows
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.stores.operational.consumers.lost_spans import LostSpan, LostSpans
from exchange_platform.stores.operational.database import Database, dead_letters, from_us
from exchange_platform.stores.operational.mails.figures import notification_figures
from exchange_platform.stores.operational.mails.mails import MAIL
from exchange_platform.streams.engine.sharing import consumer_names

NEW_DEAD_LETTERS = timedelta(minutes=10)
_MISSED = 2
"""A consumer that is left alone for now, but has been silent for so many times `stale_heartbeat_s`, is none
of which it can be said that it works.
"""
_HOW = {
    RunCondition.QUIET: "is running",
    RunCondition.HUNG: "hangs: its process runs",
    RunCondition.SILENT: "is running, as far as is known",
    RunCondition.GONE: "died: its process is gone",
}
MAX_WAITING = timedelta(minutes=1)
"""What is due and waits for longer is late: a run that was killed has its successor long before."""
MAX_LAG = timedelta(seconds=30)
"""A consumer that lies further behind does not keep up, or is catching up after a pause."""


def no_new_dead_letters(database: Database, clock: Clock) -> CheckOutcome:
    """No record died in the last ten minutes that was not replayed since. Mails that an address refuses are
    an everyday matter.
    """
    since_us = clock.now_us() - int(NEW_DEAD_LETTERS.total_seconds() * 1e6)
    with database.read() as connection:
        new, reason = connection.execute(
            sa.select(sa.func.count(), sa.func.max(dead_letters.c.reason)).where(
                dead_letters.c.replayed_at_us.is_(None),
                dead_letters.c.dead_at_us >= since_us,
                dead_letters.c.shard != MAIL,
            )
        ).one()
    count = DeadLetters(database).count()
    figures = {"new": new, "waiting": count.waiting, "replayed": count.replayed}
    if new:
        return CheckOutcome(False, f"{new} new dead letters, such as: {str(reason)[:200]}", figures)
    return CheckOutcome(True, f"none in ten minutes, {count.waiting} older ones wait", figures)


def notifications_delivered(database: Database, clock: Clock) -> CheckOutcome:
    """Every change that should have been mailed or published by now has been, but for those of the last
    minute.
    """
    figures = notification_figures(database, now_us=clock.now_us())
    shown: dict[str, int | float | str] = {
        "waiting": figures.waiting,
        "unpublished": figures.unpublished,
        "oldest_waiting_s": figures.oldest_waiting_s,
        "sent": figures.sent,
        "failed": figures.failed,
    }
    if figures.oldest_waiting_s > MAX_WAITING.total_seconds():
        return CheckOutcome(
            False,
            f"{figures.waiting + figures.unread} mails or changes and {figures.unpublished} messages wait,"
            f" the oldest for {figures.oldest_waiting_s:.0f} s",
            shown,
        )
    return CheckOutcome(
        True,
        f"{figures.sent} mails sent, {figures.published} changes published, the oldest waits for {figures.oldest_waiting_s:.1f} s",
        shown,
    )


def no_lost_spans(database: Database, source: str) -> CheckOutcome:
    """No record of the source was gone before it was read, or may have been, but for what somebody took note
    of.
    """
    standing = LostSpans(database).list(source=source, standing_only=True)
    figures: dict[str, int | float | str] = {"standing": len(standing)}
    if standing:
        return CheckOutcome(False, listed(_span_text(span) for span in standing), figures)
    return CheckOutcome(True, f"{source}: no lost span", figures)


def _span_text(span: LostSpan) -> str:
    loss = span.loss
    begins, ends = (
        from_us(at_us).isoformat(timespec="seconds") if at_us is not None else "unknown"
        for at_us in (loss.from_us, loss.until_us)
    )
    count = f"{loss.records:,}" if loss.records is not None else "an unknown number of"
    return (
        f"lost span {span.span_id}: {count} records of {loss.shard.partition('@')[0]}, arrived between {begins} and {ends}"
        f" (after {loss.after or 'its beginning'}, before {loss.before or 'unknown'}): {loss.reason}"
    )


def consumer_alive(rows: ConsumerRows, source: str, settings: Settings, clock: Clock) -> CheckOutcome:
    """The source has a consumer, or one a share, that said so within the last seconds, and no store or stream
    troubles it.
    """
    outcomes = {name: _alive(rows, name, settings, clock) for name in consumer_names(settings, source)}
    if len(outcomes) == 1:
        return outcomes[source]
    failed = [f"{name}: {outcome.description}" for name, outcome in outcomes.items() if not outcome.passed]
    worst = max(
        outcomes.values(),
        key=lambda outcome: (not outcome.passed, outcome.figures.get("heartbeat_age_s", 0.0)),
    )
    if failed:
        return CheckOutcome(False, "; ".join(failed), worst.figures)
    return CheckOutcome(
        True, f"{len(outcomes)} consumers; the most silent: {worst.description}", worst.figures
    )


def _slowest(consumer: ConsumerRow) -> str:
    """Which sink lies furthest behind, in words; empty where none says that it does."""
    behind = {name: signs.behind_ms for name, signs in consumer.statistics.sinks.items()}
    slowest = max(behind, key=lambda name: behind[name], default="")
    if not slowest or behind[slowest] < 1000:
        return ""
    return f": the oldest record that {slowest} has yet to commit is {behind[slowest] / 1000:.0f} s old"


def _alive(rows: ConsumerRows, name: str, settings: Settings, clock: Clock) -> CheckOutcome:
    newest = rows.newest(name)
    if newest is None:
        return CheckOutcome(False, f"{name} never had a consumer")
    # Of a heartbeat that lies ahead: how far. The clock was set back, and nothing is known of its age.
    silent_s = round(abs(clock.now_us() - newest.heartbeat_at_us) / 1e6, 1)
    figures: dict[str, int | float | str] = {
        "epoch": newest.epoch,
        "heartbeat_age_s": silent_s,
        "lag_ms": round(newest.lag_ms, 1),
        "rate": round(newest.rate, 1),
    }
    last_error = "; ".join(newest.statistics.trouble)
    if last_error:
        figures["last_error"] = last_error
    condition = condition_here(newest, now_us=clock.now_us(), settings=settings)
    late = silent_s >= _MISSED * settings.stale_heartbeat_s
    if condition is not RunCondition.ALIVE and (condition is not RunCondition.QUIET or late):
        how = newest.state if condition is RunCondition.ENDED else _HOW[condition]
        text = f"epoch {newest.epoch} {how}, silent for {silent_s} s"
        return CheckOutcome(False, f"{text}; its last error: {last_error}" if last_error else text, figures)
    if last_error:
        return CheckOutcome(False, last_error, figures)
    if newest.lag_ms > MAX_LAG.total_seconds() * 1000:
        return CheckOutcome(
            False, f"{newest.lag_ms / 1000:.0f} s behind the stream's tip{_slowest(newest)}", figures
        )
    return CheckOutcome(
        True, f"epoch {newest.epoch}, heartbeat {silent_s} s ago, lag {newest.lag_ms:.0f} ms", figures
    )
