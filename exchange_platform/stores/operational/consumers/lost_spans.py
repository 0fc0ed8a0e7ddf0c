"""Spans of a source that were gone before they were read: what is known of each, and who took note. Finding
them is engine/losses.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from exchange_platform.stores.operational.database import Database, LongText, Name, Position, RowId, metadata

lost_spans = sa.Table(
    "lost_spans",
    metadata,
    sa.Column("span_id", RowId, primary_key=True, autoincrement=True),
    sa.Column("source", Name, nullable=False),
    sa.Column("shard", Position, nullable=False),
    sa.Column("after_position", Position, nullable=False, comment="empty: the shard's beginning"),
    sa.Column("before_position", Position, nullable=False, comment="empty: not known, or the shard's end"),
    sa.Column("from_us", sa.BigInteger, nullable=True, comment="everything that arrived earlier was read"),
    sa.Column("until_us", sa.BigInteger, nullable=True, comment="what arrived from here on is held"),
    sa.Column("records", sa.BigInteger, nullable=True, comment="how many, where that is known"),
    sa.Column("reason", LongText, nullable=False),
    sa.Column("noticed_at_us", sa.BigInteger, nullable=False),
    sa.Column("acknowledged_at_us", sa.BigInteger, nullable=True),
    sa.Column("note", LongText, nullable=True, comment="what was done about it"),
    sa.UniqueConstraint("source", "shard", "after_position"),
    comment="Records of a source that could not be read any more, or may have been there; until somebody takes note a check fails.",
)


@dataclass(frozen=True, slots=True)
class Loss:
    """Records of a shard between two positions that nobody can read any more, or may have been there.

    `after` None is the shard's beginning, `before` None its end or not known; so are `from_us` and
    `until_us`, the times of arrival between which they lie. `records` is None where it is not known how many
    there were, if any.
    """

    source: str
    shard: str
    after: str | None
    before: str | None
    from_us: int | None
    until_us: int | None
    records: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class LostSpan:
    """A loss as operators see it."""

    span_id: int
    loss: Loss
    noticed_at_us: int
    acknowledged_at_us: int | None
    note: str | None


class LostSpans:
    """The lost spans of all sources."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, loss: Loss, *, now_us: int) -> bool:
        """Keep a loss; says whether it is news. Durable on return. One that has grown has to be acknowledged
        again. Raises `StoreUnavailable`.
        """
        after, before = loss.after or "", loss.before or ""
        values = {
            "before_position": before,
            "until_us": loss.until_us,
            "records": loss.records,
            "reason": loss.reason,
        }
        with self._database.write() as connection:
            known = {
                row.after_position: row.before_position
                for row in connection.execute(
                    sa.select(lost_spans.c.after_position, lost_spans.c.before_position).where(
                        lost_spans.c.source == loss.source, lost_spans.c.shard == loss.shard
                    )
                )
            }
            if known.get(after) == before or (before and before in known.values()):
                return False  # the very same, or what is left of it
            if after in known:
                connection.execute(
                    sa.update(lost_spans)
                    .where(
                        lost_spans.c.source == loss.source,
                        lost_spans.c.shard == loss.shard,
                        lost_spans.c.after_position == after,
                    )
                    .values(**values, noticed_at_us=now_us, acknowledged_at_us=None)
                )
                return True
            try:
                with connection.begin_nested():
                    connection.execute(
                        sa.insert(lost_spans).values(
                            source=loss.source,
                            shard=loss.shard,
                            after_position=after,
                            from_us=loss.from_us,
                            noticed_at_us=now_us,
                            **values,
                        )
                    )
            except sa.exc.IntegrityError:
                return False  # another run saw it at the same time
        return True

    def list(
        self, *, source: str | None = None, standing_only: bool = False, limit: int = 100
    ) -> Sequence[LostSpan]:
        """The newest ones, newest first; `standing_only`: those that nobody acknowledged."""
        statement = sa.select(lost_spans).order_by(lost_spans.c.span_id.desc()).limit(limit)
        if source is not None:
            statement = statement.where(lost_spans.c.source == source)
        if standing_only:
            statement = statement.where(lost_spans.c.acknowledged_at_us.is_(None))
        with self._database.read() as connection:
            return [_span(row) for row in connection.execute(statement)]

    def standing(self) -> int:
        """How many nobody has acknowledged."""
        statement = sa.select(sa.func.count()).where(lost_spans.c.acknowledged_at_us.is_(None))
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def acknowledge(self, span_ids: Sequence[int] | None, note: str, *, now_us: int) -> int:
        """Take note of these (None: of all that stand); returns of how many. Those that were acknowledged
        before keep their note.
        """
        statement = (
            sa.update(lost_spans)
            .where(lost_spans.c.acknowledged_at_us.is_(None))
            .values(acknowledged_at_us=now_us, note=note)
        )
        if span_ids is not None:
            statement = statement.where(lost_spans.c.span_id.in_(span_ids))
        with self._database.write() as connection:
            return connection.execute(statement).rowcount


def _span(row: sa.Row[tuple[object, ...]]) -> LostSpan:
    values = row._mapping
    loss = Loss(
        source=values["source"],
        shard=values["shard"],
        after=values["after_position"] or None,
        before=values["before_position"] or None,
        from_us=values["from_us"],
        until_us=values["until_us"],
        records=values["records"],
        reason=values["reason"],
    )
    return LostSpan(
        values["span_id"], loss, values["noticed_at_us"], values["acknowledged_at_us"], values["note"]
    )
