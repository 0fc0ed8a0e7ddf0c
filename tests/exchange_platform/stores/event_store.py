"""An operational database with events, updates applied to it, and what it holds of them afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.events import FeedUpdate
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.events import apply_feed_updates
from exchange_platform.stores.operational.tables.events import events, markets, selections
from exchange_platform.stores.operational.verdicts import Verdict

NOW_US = 1_790_000_000_000_000
_OUR_OWN = frozenset({"changed_at_us", "index_version"})
"""Columns that tell when an update was applied here; all others follow from the updates alone."""


def applied(
    database: Database, updates: Sequence[FeedUpdate], *, batch: int = 1000, now_us: int = NOW_US
) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for start in range(0, len(updates), batch):
        with database.write() as connection:
            verdicts += apply_feed_updates(connection, updates[start : start + batch], now_us=now_us)
    return verdicts


def event_rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Every row that follows from the updates alone."""
    with database.read() as connection:
        return {
            table.name: [
                {name: value for name, value in row._mapping.items() if name not in _OUR_OWN}
                for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))
            ]
            for table in (events, markets, selections)
        }


def index_versions(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {row.event_id: row.index_version for row in connection.execute(sa.select(events))}
