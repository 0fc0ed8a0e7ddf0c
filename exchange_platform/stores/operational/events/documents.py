"""The event index's documents, read from the operational database. Not here: the index
(event_index/index.py), writing events (events.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.events import EventStatus, MarketStatus
from exchange_platform.process.decoders import json_decoder
from exchange_platform.search.documents import EventDocument
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.tables.events import events, markets
from exchange_platform.stores.operational.upsert import CHUNK, chunks

_OVER = (EventStatus.FINISHED, EventStatus.ABANDONED)
_names = json_decoder(tuple[str, ...])


class DatabaseEventDocuments:
    """`EventDocuments` of the operational database. Every method raises `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def versions(self) -> dict[str, int]:
        """The `index_version` of every event."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(events.c.event_id, events.c.index_version))
            return {row.event_id: row.index_version for row in rows}

    def read(self, event_ids: Sequence[str]) -> list[EventDocument]:
        """The documents of these events, as one consistent state; those that don't exist are left out."""
        with self._database.read() as connection:
            return [
                document for page in chunks(list(event_ids)) for document in documents_of(connection, page)
            ]

    def pages(self) -> Iterator[list[EventDocument]]:
        """Every document, in the order of the ids; each page is one consistent state."""
        last = ""
        while True:
            with self._database.read() as connection:
                ids = list(
                    connection.execute(
                        sa.select(events.c.event_id)
                        .where(events.c.event_id > last)
                        .order_by(events.c.event_id)
                        .limit(CHUNK)
                    ).scalars()
                )
                page = documents_of(connection, ids)
            if not ids:
                return
            yield page
            last = ids[-1]


def count_events(database: Database) -> int:
    """How many events there are."""
    with database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(events)).scalar_one())


def documents_of(connection: sa.Connection, event_ids: Sequence[str]) -> list[EventDocument]:
    """The documents of at most 1,000 events as they are in this transaction; those that don't exist are left
    out.
    """
    of_event: dict[str, list[Any]] = {}
    for market in connection.execute(
        sa.select(
            markets.c.event_id, markets.c.status, markets.c.in_play, markets.c.traded_minor, markets.c.name
        )
        .where(markets.c.event_id.in_(event_ids))
        .order_by(markets.c.market_id)
    ):
        of_event.setdefault(market.event_id, []).append(market)
    rows = connection.execute(
        sa.select(events).where(events.c.event_id.in_(event_ids)).order_by(events.c.event_id)
    )
    return [_document(row, of_event.get(row.event_id, ())) for row in rows]


def _document(event: Any, its_markets: Sequence[Any]) -> EventDocument:
    status = EventStatus(event.status)
    live = [market for market in its_markets if market.status != MarketStatus.CLOSED.value]
    is_open = status not in _OVER and bool(live)
    return EventDocument(
        event_id=event.event_id,
        version=event.index_version,
        name=event.name,
        sport=event.sport,
        competition=event.competition,
        country=event.country,
        participants=_names.decode(event.participants),
        status=status,
        in_play=is_open and (status is EventStatus.IN_PLAY or any(market.in_play for market in live)),
        open=is_open,
        starts_at_us=event.starts_at_us,
        traded_minor=sum(market.traded_minor for market in its_markets),
        markets=tuple(market.name for market in its_markets),
    )
