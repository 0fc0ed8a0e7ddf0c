"""Restatements: recorded volume that an exchange took back or converted anew, kept for operators. Not here: finding them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from exchange_platform.stores.database import Database, restatements, to_us
from exchange_platform.stores.upsert import insert

_insert = insert(restatements, ignore_known=True)


@dataclass(frozen=True, slots=True)
class RestatementRow:
    """One restatement of a selection's traded volume; `volume_change` is of both sides, in major units."""

    restatement_id: str
    market_id: str
    selection_id: int
    handicap: Decimal
    kind: str
    volume_change: Decimal
    restated_at: datetime


class Restatements:
    """The restatements that replays and feeds met."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[RestatementRow]) -> None:
        """Keep them; one that is known by its id stays as it is. Durable on return. Raises `StoreUnavailable`."""
        with self._database.write() as connection:
            _insert.execute(
                connection,
                [
                    {
                        "restatement_id": row.restatement_id,
                        "market_id": row.market_id,
                        "selection_id": row.selection_id,
                        "handicap": str(row.handicap),
                        "class": row.kind,
                        "volume_change": str(row.volume_change),
                        "restated_at_us": to_us(row.restated_at),
                    }
                    for row in rows
                ],
            )

    def count(self) -> int:
        """How many there are."""
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(restatements)).scalar_one())

    def by_class(self) -> dict[str, int]:
        """How many there are of each class."""
        kind = restatements.c["class"]
        with self._database.read() as connection:
            rows = connection.execute(sa.select(kind, sa.func.count()).group_by(kind)).all()
        return {name: int(number) for name, number in rows}
