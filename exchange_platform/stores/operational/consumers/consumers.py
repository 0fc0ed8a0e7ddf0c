"""Consumers and their checkpoints in the operational database: epochs, fencing, heartbeats.

Not here: what they consume (streams/), or what supervision makes of a heartbeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.process.process_life import ProcessId, this_process
from exchange_platform.stores.checkpoints import Advance, Superseded
from exchange_platform.stores.operational.consumers.signs import (
    Statistics,
    VitalSigns,
    statistics_from,
    statistics_text,
)
from exchange_platform.stores.operational.database import Database, checkpoints, consumers, source_epochs
from exchange_platform.stores.operational.purge_rounds import ROWS_AT_ONCE, Budget, Purged
from exchange_platform.stores.operational.upsert import upsert

_next_epoch = upsert(source_epochs, add=["epoch"])


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """What a consumer last said of itself."""

    source: str
    epoch: int
    run_id: str
    state: str
    started_at_us: int
    ends_at_us: int
    heartbeat_at_us: int
    at_tip: bool
    caught_up_at_us: int | None
    records: int
    rate: float
    lag_ms: float
    statistics: Statistics
    host: str | None = None
    pid: int | None = None
    process_start_ticks: int | None = None
    requested_at_us: int | None = None
    """When its run was asked for."""

    @property
    def process(self) -> ProcessId | None:
        """The process that it runs in; None where it did not say, as consumers of older releases."""
        if self.host is None or self.pid is None or self.process_start_ticks is None:
            return None
        return ProcessId(self.host, self.pid, self.process_start_ticks)


class ConsumerRows:
    """Who consumes a source, and who did."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        source: str,
        run_id: str,
        *,
        now_us: int,
        ends_at_us: int,
        name: str | None = None,
        requested_at_us: int | None = None,
    ) -> int:
        """Enter a new consumer of the source, which runs in this process; returns its epoch, higher than any
        before. Durable on return.

        Its row goes by the `name` of its share, where several share the source; the epochs are the source's,
        for all of them.
        """
        process = this_process()
        with self._database.write() as connection:
            _next_epoch.execute(connection, [{"source": source, "epoch": 1}])
            epoch = connection.execute(
                sa.select(source_epochs.c.epoch).where(source_epochs.c.source == source)
            ).scalar_one()
            connection.execute(
                sa.insert(consumers).values(
                    source=name or source,
                    epoch=epoch,
                    run_id=run_id,
                    state="running",
                    started_at_us=now_us,
                    ends_at_us=ends_at_us,
                    heartbeat_at_us=now_us,
                    at_tip=False,
                    caught_up_at_us=None,
                    records=0,
                    rate=0.0,
                    lag_ms=0.0,
                    statistics="{}",
                    host=process.host if process is not None else None,
                    pid=process.pid if process is not None else None,
                    process_start_ticks=process.start_ticks if process is not None else None,
                    requested_at_us=requested_at_us,
                )
            )
        return int(epoch)

    def heartbeat(self, source: str, epoch: int, signs: VitalSigns, *, state: str | None = None) -> None:
        """Update a consumer's row: how it is, and, once it has ended, with which `state`."""
        values = msgspec.structs.asdict(signs) | {"statistics": statistics_text(signs.statistics)}
        if state is not None:
            values["state"] = state
        with self._database.write() as connection:
            connection.execute(
                sa.update(consumers)
                .where(consumers.c.source == source, consumers.c.epoch == epoch)
                .values(**values)
            )

    def newest(self, source: str) -> ConsumerRow | None:
        """The source's newest consumer, or None when there was none yet."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(consumers)
                .where(consumers.c.source == source)
                .order_by(consumers.c.epoch.desc())
                .limit(1)
            ).one_or_none()
        return _consumer(row) if row is not None else None

    def recent(self, source: str, limit: int = 10) -> list[ConsumerRow]:
        """The source's newest consumers, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(consumers)
                .where(consumers.c.source == source)
                .order_by(consumers.c.epoch.desc())
                .limit(limit)
            ).all()
        return [_consumer(row) for row in rows]

    def sources(self) -> list[str]:
        """Every name that a consumer goes by: its source's, or its share's of one."""
        with self._database.read() as connection:
            names = sa.select(consumers.c.source).distinct().order_by(consumers.c.source)
            return list(connection.execute(names).scalars())

    def caught_up_by_shard(self, source: str) -> dict[str, int]:
        """By shard, the newest instant as of which a consumer had committed all that had arrived in it."""
        newest: dict[str, int] = {}
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(consumers.c.caught_up_at_us, consumers.c.statistics).where(
                    sa.or_(consumers.c.source == source, consumers.c.source.startswith(f"{source}/")),
                    consumers.c.caught_up_at_us.is_not(None),
                )
            ).all()
        for row in rows:
            for shard in statistics_from(row.statistics).shards:
                newest[shard] = max(newest.get(shard, 0), int(row.caught_up_at_us))
        return newest

    def purge(self, *, before_us: int, budget: Budget) -> Purged:
        """Delete the rows of consumers whose last heartbeat is older. Each source's newest is kept. Each
        transaction is short.
        """
        newest = (
            sa.select(consumers.c.source, sa.func.max(consumers.c.epoch).label("epoch"))
            .group_by(consumers.c.source)
            .subquery()
        )
        due = (
            sa.select(consumers.c.source, consumers.c.epoch, consumers.c.heartbeat_at_us)
            .join(newest, newest.c.source == consumers.c.source)
            .where(consumers.c.heartbeat_at_us < before_us, consumers.c.epoch < newest.c.epoch)
        )

        def step() -> int | None:
            with self._database.read() as connection:
                old = connection.execute(due.limit(ROWS_AT_ONCE)).all()
            if not old:
                return None
            with self._database.write() as connection:
                for row in old:
                    connection.execute(
                        sa.delete(consumers).where(
                            consumers.c.source == row.source, consumers.c.epoch == row.epoch
                        )
                    )
            return len(old)

        deleted = budget.repeat(step)
        with self._database.read() as connection:
            left = connection.execute(
                due.with_only_columns(sa.func.count(), sa.func.min(consumers.c.heartbeat_at_us))
            ).one()
        return Purged(deleted, left[0], before_us - (left[1] if left[1] is not None else before_us))


def set_back(database: Database, source: str, shard: str) -> str | None:
    """Let every sink of this database read the shard from its beginning; returns where the last of them was.
    Raises `UnknownShard`.

    Whoever holds the shard is superseded at its next commit.
    """
    of_shard = (checkpoints.c.source == source, checkpoints.c.shard == shard)
    with database.write() as connection:
        positions = list(connection.execute(sa.select(checkpoints.c.position).where(*of_shard)).scalars())
        if not positions:
            raise UnknownShard(f"no store holds a position of shard {shard} of {source}")
        connection.execute(sa.update(checkpoints).where(*of_shard).values(position=None))
    return next((position for position in positions if position is not None), None)


class UnknownShard(LookupError):
    """No sink ever claimed a shard of that name."""


class Checkpoints:
    """The checkpoints of one sink that keeps them in the operational database."""

    def __init__(self, database: Database, sink: str) -> None:
        self._database = database
        self._sink = sink

    def claim(self, source: str, epoch: int, shards: Sequence[str], *, now_us: int) -> dict[str, str | None]:
        """Make the shards this epoch's alone to advance; returns their positions (None: at the beginning).

        Raises `Superseded`, and claims none, if a newer epoch holds one of them.
        """
        with self._database.write() as connection:
            held = {
                row.shard: row
                for row in connection.execute(
                    sa.select(checkpoints).where(
                        checkpoints.c.sink == self._sink,
                        checkpoints.c.source == source,
                        checkpoints.c.shard.in_(shards),
                    )
                )
            }
            for shard in shards:
                row = held.get(shard)
                if row is None:
                    connection.execute(
                        sa.insert(checkpoints).values(
                            sink=self._sink,
                            source=source,
                            shard=shard,
                            epoch=epoch,
                            position=None,
                            updated_at_us=now_us,
                        )
                    )
                elif row.epoch > epoch:
                    raise Superseded(
                        f"{source} {shard}: epoch {row.epoch} holds it, this consumer's is {epoch}"
                    )
                else:
                    connection.execute(
                        sa.update(checkpoints)
                        .where(*self._row(source, shard), checkpoints.c.epoch <= epoch)
                        .values(epoch=epoch)
                    )
        return {shard: held[shard].position if shard in held else None for shard in shards}

    def advance(
        self, connection: sa.Connection, source: str, epoch: int, advances: Iterable[Advance], *, now_us: int
    ) -> None:
        """Advance checkpoints inside the caller's transaction. Raises `Superseded`: roll the transaction
        back.
        """
        for step in advances:
            at_expected = (
                checkpoints.c.position.is_(None)
                if step.expected is None
                else checkpoints.c.position == step.expected
            )
            changed = connection.execute(
                sa.update(checkpoints)
                .where(*self._row(source, step.shard), checkpoints.c.epoch == epoch, at_expected)
                .values(position=step.position, updated_at_us=now_us)
            ).rowcount
            if changed != 1:
                held = connection.execute(
                    sa.select(checkpoints.c.epoch, checkpoints.c.position).where(
                        *self._row(source, step.shard)
                    )
                ).one_or_none()
                found = f"epoch {held.epoch} at {held.position}" if held is not None else "no checkpoint"
                raise Superseded(
                    f"{source} {step.shard}: expected epoch {epoch} at {step.expected} in {self._sink}, found {found}"
                )

    def holder(self, source: str, shards: Sequence[str] | None = None) -> int:
        """The highest epoch that claimed any of these of the source's shards (None: of all); 0 if
        none did.
        """
        newest = sa.select(sa.func.max(checkpoints.c.epoch)).where(
            checkpoints.c.sink == self._sink, checkpoints.c.source == source
        )
        if shards is not None:
            newest = newest.where(checkpoints.c.shard.in_(shards))
        with self._database.read() as connection:
            return int(connection.execute(newest).scalar() or 0)

    def positions(self, source: str) -> dict[str, str | None]:
        """Every shard's position."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(checkpoints.c.shard, checkpoints.c.position).where(
                    checkpoints.c.sink == self._sink, checkpoints.c.source == source
                )
            ).all()
        return {row.shard: row.position for row in rows}

    def _row(self, source: str, shard: str) -> tuple[sa.ColumnElement[bool], ...]:
        return (
            checkpoints.c.sink == self._sink,
            checkpoints.c.source == source,
            checkpoints.c.shard == shard,
        )


def _consumer(row: Any) -> ConsumerRow:
    values = dict(row._mapping)
    values["statistics"] = statistics_from(values["statistics"])
    return ConsumerRow(**values)
