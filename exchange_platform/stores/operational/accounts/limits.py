"""What the limits on calls remember, in the operational database, so that several processes share them. Not
here: the decision (limits.py).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite

from exchange_platform.domain.limits import RateLimit, remembered, wait_us
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.purge_rounds import ROWS_AT_ONCE, Budget, Purged, counted
from exchange_platform.stores.operational.tables.accounts import rate_limits


class TooMany(Exception):
    """A limit is reached: try again after so many seconds. Roll the transaction back: nothing was counted."""

    def __init__(self, rule: str, retry_after_s: int) -> None:
        super().__init__(f"{rule}: too many; again in {retry_after_s} s")
        self.rule = rule
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Rule:
    """Limits on something done by or to one subject."""

    name: str
    subject: str
    limits: Sequence[RateLimit]

    @property
    def key(self) -> str:
        """What the row is known by: it tells neither addresses nor clients."""
        return hashlib.sha256(f"{self.name}\0{self.subject}".encode()).hexdigest()


def count(connection: sa.Connection, rules: Sequence[Rule], now_us: int) -> None:
    """Count one more for every rule, in the caller's transaction. Raises `TooMany`; then none is counted.

    Until the transaction ends nobody else counts the same subjects.
    """
    held = _hold(connection, rules)
    refused = [(wait_us(held[rule.key], rule.limits, now_us), rule) for rule in rules]
    longest_us, worst = max(refused, key=lambda pair: pair[0])
    if longest_us > 0:
        raise TooMany(worst.name, max(1, -(-longest_us // 1_000_000)))
    for rule in rules:
        _add(connection, rule, held[rule.key], now_us)


def count_if_allowed(connection: sa.Connection, rule: Rule, now_us: int) -> bool:
    """Count one more and say true; or say false, and count nothing, where the limit is reached."""
    hits = _hold(connection, [rule])[rule.key]
    allowed = wait_us(hits, rule.limits, now_us) <= 0
    if allowed:
        _add(connection, rule, hits, now_us)
    return allowed


def purge_idle(database: Database, now_us: int, budget: Budget) -> Purged:
    """Delete the rows that say nothing any more. Each transaction is short."""
    is_idle = rate_limits.c.idle_at_us < now_us
    due = sa.select(rate_limits.c.subject).where(is_idle)

    def step() -> int | None:
        with database.write() as connection:
            oldest = due.order_by(rate_limits.c.idle_at_us).limit(ROWS_AT_ONCE)
            idle = connection.execute(oldest).scalars().all()
            connection.execute(sa.delete(rate_limits).where(rate_limits.c.subject.in_(idle), is_idle))
        return len(idle) or None

    deleted = budget.repeat(step)
    with database.read() as connection:
        left = counted(connection, due)
        oldest_us = connection.execute(due.with_only_columns(sa.func.min(rate_limits.c.idle_at_us)))
        return Purged(deleted, left, now_us - (oldest_us.scalar() or now_us))


def _hold(connection: sa.Connection, rules: Sequence[Rule]) -> dict[str, list[int]]:
    """Each rule's hits, its row locked: made where there is none, always in the same order, so that two never
    wait for each other.
    """
    held: dict[str, list[int]] = {}
    for key in sorted({rule.key for rule in rules}):
        values = {"subject": key, "hits": b"", "idle_at_us": 0}
        if connection.dialect.name == "sqlite":  # a writing transaction is alone there
            connection.execute(sqlite.insert(rate_limits).values(values).on_conflict_do_nothing())
        else:  # not IGNORE: that locks a row that exists for reading only, and two would then wait for each other
            own = mysql.insert(rate_limits).values(values)
            connection.execute(own.on_duplicate_key_update(subject=own.inserted.subject))
        packed = connection.execute(
            sa.select(rate_limits.c.hits).where(rate_limits.c.subject == key).with_for_update()
        ).scalar_one()
        held[key] = list(struct.unpack(f"<{len(packed) // 8}q", packed))
    return held


def _add(connection: sa.Connection, rule: Rule, hits: Sequence[int], now_us: int) -> None:
    kept = sorted([*remembered(hits, rule.limits, now_us), now_us])
    kept = kept[-max(limit.times for limit in rule.limits) :]
    longest_us = max(limit.period_s for limit in rule.limits) * 1_000_000
    connection.execute(
        sa.update(rate_limits)
        .where(rate_limits.c.subject == rule.key)
        .values(hits=struct.pack(f"<{len(kept)}q", *kept), idle_at_us=kept[-1] + longest_us)
    )
