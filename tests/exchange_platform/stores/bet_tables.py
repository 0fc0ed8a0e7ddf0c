"""An operational database to write to, and all that it holds afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.bets import Bet
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.database import (
    Database,
    bets,
    ledger,
    market_exposures,
    outbox,
    positions,
    profiles,
)
from exchange_platform.stores.operational.verdicts import Verdict
from tests.support.prepared import prepare_database

TABLES = (bets, positions, market_exposures, profiles, ledger, outbox)
Rows = dict[str, list[dict[str, Any]]]


@contextmanager
def new_database(directory: Path) -> Iterator[Database]:
    """A new, empty operational database in the directory."""
    database = Database(f"sqlite:///{directory / 'operational.db'}")
    prepare_database(database)
    try:
        yield database
    finally:
        database.dispose()


def applied(database: Database, updates: Sequence[Bet], *, batch: int = 1000) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for start in range(0, len(updates), batch):
        with database.write() as connection:
            verdicts += apply_bet_updates(connection, updates[start : start + batch])
    return verdicts


def all_rows(connection: sa.Connection) -> Rows:
    """Every row; of the outbox without the sequence, which is the order of the commits."""
    found: Rows = {}
    for table in TABLES:
        keys = table.primary_key.columns
        order = (outbox.c.bet_id, outbox.c.bet_version) if table is outbox else tuple(keys)
        columns = [column for column in table.columns if column is not outbox.c.sequence]
        found[table.name] = [
            dict(row._mapping) for row in connection.execute(sa.select(*columns).order_by(*order))
        ]
    return found


def stored(database: Database) -> Rows:
    with database.read() as connection:
        return all_rows(connection)
