"""Spans of time in which bets were placed, so that some bets can be looked at at a time. Not here: the
checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from exchange_platform.operations.checks.outcomes import AT_ONCE
from exchange_platform.stores.operational.database import Database, bets, from_us, to_us

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class CheckedSpan:
    """From one instant up to before another (None: no bound)."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def always(self) -> bool:
        """Whether nothing is left out."""
        return self.since is None and self.until is None

    def covers(self, other: CheckedSpan) -> bool:
        """Whether all of the other lies in this one."""
        begins = self.since is None or (other.since is not None and other.since >= self.since)
        ends = self.until is None or (other.until is not None and other.until <= self.until)
        return begins and ends

    def where(self, column: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
        """The condition on a column of microseconds."""
        bounds: list[sa.ColumnElement[bool]] = []
        if self.since is not None:
            bounds.append(column >= to_us(self.since))
        if self.until is not None:
            bounds.append(column < to_us(self.until))
        return sa.and_(sa.true(), *bounds)


ALWAYS = CheckedSpan()


def span_before(database: Database, until: datetime | None, count: int) -> CheckedSpan:
    """The span in which the next older `count` bets were placed, in whole seconds; `since` is None when there
    are no older ones.
    """
    statement = (
        sa.select(bets.c.placed_at_us)
        .where(CheckedSpan(None, until).where(bets.c.placed_at_us))
        .order_by(bets.c.placed_at_us.desc())
        .offset(count)
        .limit(1)
    )
    with database.read() as connection:
        placed_at_us = connection.execute(statement).scalar()
    if placed_at_us is None:
        return CheckedSpan(None, until)
    since = from_us(placed_at_us).replace(microsecond=0)
    if until is not None and since >= until:  # that many in one second
        since = until - SECOND
    return CheckedSpan(since, until)


def spans(database: Database, span: CheckedSpan) -> Iterator[CheckedSpan]:
    """The span in portions that a statement can take, newest first."""
    if not span.always:
        yield span
        return
    part = span_before(database, None, AT_ONCE)
    yield part
    while part.since is not None:
        part = span_before(database, part.since, AT_ONCE)
        yield part


def second(number: int) -> datetime:
    """The beginning of the second of that number since 1970."""
    return datetime.fromtimestamp(number, UTC)
