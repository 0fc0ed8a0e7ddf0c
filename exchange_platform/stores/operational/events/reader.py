"""Events with their markets and selections, as readers want them. Not here: how they change (events.py),
finding them by words (event_index/index.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.domain.events import (
    EventStatus,
    EventUpdate,
    MarketStatus,
    MarketUpdate,
    Score,
    SelectionState,
    SelectionStatus,
)
from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.operational.database import Database, from_us, to_us
from exchange_platform.stores.operational.tables.events import events, markets, selections
from exchange_platform.stores.operational.upsert import chunks

_names = json_decoder(tuple[str, ...])
_scores = json_decoder(tuple[Score, ...])

_NO_START = 2**62
"""The place of an event without a start, in the order of starts: the last."""


class StoredEvent(msgspec.Struct, frozen=True):
    """An event as its newest update has it, with its markets, each as its own newest update did, in the
    order of their ids (`1.9` before `1.10`).
    """

    event: EventUpdate
    markets: tuple[MarketUpdate, ...]
    index_version: int
    """Grows with every change of the event or of one of its markets."""
    changed_at_us: int
    """When the event's newest update was applied here."""

    @property
    def page_key(self) -> tuple[int, str]:
        """Where the event stands in the order of `EventReader.page`."""
        starts_at = self.event.starts_at
        return (_NO_START if starts_at is None else to_us(starts_at)), self.event.event_id


class EventReader:
    """Reads events. Each call is one consistent snapshot. Raises `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, event_ids: Sequence[str]) -> list[StoredEvent]:
        """These events, in the order asked; those that don't exist are left out."""
        found: dict[str, StoredEvent] = {}
        with self._database.read() as connection:
            for some in chunks(list(event_ids)):
                rows = connection.execute(sa.select(events).where(events.c.event_id.in_(some))).all()
                found.update((stored.event.event_id, stored) for stored in _with_markets(connection, rows))
        return [found[event_id] for event_id in event_ids if event_id in found]

    def get(self, event_id: str) -> StoredEvent | None:
        """One event, or None."""
        return next(iter(self.read([event_id])), None)

    def market(self, market_id: str) -> MarketUpdate | None:
        """One market, or None; also one whose event is not known yet."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(markets).where(markets.c.market_id == market_id)).all()
            return next(iter(_markets(connection, rows)), None)

    def page(
        self,
        *,
        statuses: Sequence[EventStatus] = (),
        sport: str | None = None,
        after: tuple[int, str] | None = None,
        newest_first: bool = False,
        limit: int = 50,
    ) -> list[StoredEvent]:
        """Events by their start, those of some statuses (none: all) and of one sport (case doesn't matter).

        `after` is the `page_key` of the last one before; with `newest_first` the order is the opposite.
        """
        found: list[Any] = []
        with self._database.read() as connection:
            for status in statuses or tuple(EventStatus):
                of_it = sa.select(events).where(events.c.status == status.value)
                if sport is not None:
                    of_it = of_it.where(sa.func.lower(events.c.sport) == sport.lower())
                first = _last if newest_first else _first
                found.extend(first(connection, of_it, after, limit))
            found.sort(
                key=lambda row: (_NO_START if row.starts_at_us is None else row.starts_at_us, row.event_id),
                reverse=newest_first,
            )
            return _with_markets(connection, found[:limit])

    def versions(self, event_ids: Sequence[str]) -> dict[str, int]:
        """The `index_version` of each of these events; those that don't exist are left out."""
        found: dict[str, int] = {}
        with self._database.read() as connection:
            for some in chunks(list(event_ids)):
                rows = connection.execute(
                    sa.select(events.c.event_id, events.c.index_version).where(events.c.event_id.in_(some))
                )
                found.update({row.event_id: row.index_version for row in rows})
        return found

    def sports(self, statuses: Sequence[EventStatus]) -> dict[str, int]:
        """How many events of these statuses each sport has, in the order of the sports' names."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(events.c.sport, sa.func.count())
                .where(events.c.status.in_([status.value for status in statuses]))
                .group_by(events.c.sport)
                .order_by(events.c.sport)
            )
            return {sport: int(count) for sport, count in rows}

    def changed_since(self, index_version: int) -> list[str]:
        """The ids of the events whose `index_version` is as high or higher."""
        with self._database.read() as connection:
            return list(
                connection.execute(
                    sa.select(events.c.event_id)
                    .where(events.c.index_version >= index_version)
                    .order_by(events.c.index_version)
                ).scalars()
            )

    def pages(self, size: int = 500) -> Iterator[list[StoredEvent]]:
        """Every event by its id, in pages, each read in a transaction of its own."""
        after = ""
        while True:
            with self._database.read() as connection:
                rows = connection.execute(
                    sa.select(events).where(events.c.event_id > after).order_by(events.c.event_id).limit(size)
                ).all()
                page = _with_markets(connection, rows)
            if not page:
                return
            yield page
            after = page[-1].event.event_id


def _first(
    connection: sa.Connection, of_one_status: sa.Select[Any], after: tuple[int, str] | None, limit: int
) -> list[Any]:
    """A status's first events behind `after`: by the index on (status, start), those without a start behind
    the others.
    """
    start, event_id = events.c.starts_at_us, events.c.event_id
    scheduled, unscheduled = of_one_status.where(start.is_not(None)), of_one_status.where(start.is_(None))
    if after is not None and after[0] == _NO_START:
        scheduled, unscheduled = scheduled.where(sa.false()), unscheduled.where(event_id > after[1])
    elif after is not None:
        behind = sa.or_(start > after[0], sa.and_(start == after[0], event_id > after[1]))
        scheduled = scheduled.where(start >= after[0], behind)
    rows = list(connection.execute(scheduled.order_by(start, event_id).limit(limit)))
    if len(rows) < limit:
        rows.extend(connection.execute(unscheduled.order_by(event_id).limit(limit - len(rows))))
    return rows


def _last(
    connection: sa.Connection, of_one_status: sa.Select[Any], after: tuple[int, str] | None, limit: int
) -> list[Any]:
    """`_first` in the opposite order: those without a start come first."""
    start, event_id = events.c.starts_at_us, events.c.event_id
    scheduled, unscheduled = of_one_status.where(start.is_not(None)), of_one_status.where(start.is_(None))
    if after is not None and after[0] == _NO_START:
        unscheduled = unscheduled.where(event_id < after[1])
    elif after is not None:
        before = sa.or_(start < after[0], sa.and_(start == after[0], event_id < after[1]))
        scheduled, unscheduled = scheduled.where(start <= after[0], before), unscheduled.where(sa.false())
    rows = list(connection.execute(unscheduled.order_by(event_id.desc()).limit(limit)))
    if len(rows) < limit:
        order = (start.desc(), event_id.desc())
        rows.extend(connection.execute(scheduled.order_by(*order).limit(limit - len(rows))))
    return rows


def _with_markets(connection: sa.Connection, rows: Sequence[Any]) -> list[StoredEvent]:
    held: dict[str, list[MarketUpdate]] = {row.event_id: [] for row in rows}
    for some in chunks(list(held)):
        of_these = connection.execute(
            sa.select(markets)
            .where(markets.c.event_id.in_(some))
            .order_by(sa.func.length(markets.c.market_id), markets.c.market_id)
        ).all()
        for market in _markets(connection, of_these):
            held[market.event_id].append(market)
    return [
        StoredEvent(_event(row), tuple(held[row.event_id]), row.index_version, row.changed_at_us)
        for row in rows
    ]


def _markets(connection: sa.Connection, rows: Sequence[Any]) -> list[MarketUpdate]:
    held: dict[str, list[SelectionState]] = {row.market_id: [] for row in rows}
    for some in chunks(list(held)):
        for row in connection.execute(
            sa.select(selections)
            .where(selections.c.market_id.in_(some))
            .order_by(selections.c.market_id, selections.c.place)
        ):
            held[row.market_id].append(
                SelectionState(
                    selection_id=row.selection_id,
                    handicap=Decimal(row.handicap),
                    name=row.name,
                    status=SelectionStatus(row.status),
                )
            )
    return [_market(row, tuple(held[row.market_id])) for row in rows]


def _event(row: Any) -> EventUpdate:
    return EventUpdate(
        event_id=row.event_id,
        version=row.version,
        name=row.name,
        sport=row.sport,
        competition=row.competition,
        country=row.country,
        status=EventStatus(row.status),
        phase=row.phase,
        participants=_names.decode(row.participants),
        scores=_scores.decode(row.scores),
        starts_at=from_us(row.starts_at_us) if row.starts_at_us is not None else None,
        updated_at=from_us(row.updated_at_us),
    )


def _market(row: Any, of_it: tuple[SelectionState, ...]) -> MarketUpdate:
    return MarketUpdate(
        market_id=row.market_id,
        event_id=row.event_id,
        version=row.version,
        name=row.name,
        market_type=row.market_type,
        status=MarketStatus(row.status),
        in_play=row.in_play,
        bet_delay_s=row.bet_delay_s,
        number_of_winners=row.number_of_winners,
        commission_rate=Decimal(row.commission_rate),
        currency=row.currency,
        traded_minor=row.traded_minor,
        selections=of_it,
        starts_at=from_us(row.starts_at_us) if row.starts_at_us is not None else None,
        settled_at=from_us(row.settled_at_us) if row.settled_at_us is not None else None,
        updated_at=from_us(row.updated_at_us),
    )
