"""Restatements: recorded volume that an exchange took back or re-rated. Not here: telling them from
executions (exchanges/).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from exchange_platform.stores.operational.database import Database, restatements, to_us
from exchange_platform.stores.operational.upsert import chunks, insert

_VOLUME_TEXT = 32


class RestatementClass(enum.Enum):
    """Why an exchange restated volume, as far as its stream lets one tell."""

    VOID = "void"
    REMOVED_RUNNER = "removed runner"
    AFTER_RESULT = "after result"
    CURRENCY_RE_RATING = "currency re-rating"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Restatement:
    """One selection's volume as restated at once. `volume_change` is in major units and counts both sides, as
    the stream does.
    """

    restatement_id: str
    market_id: str
    selection_id: int
    handicap: Decimal
    restated_at: datetime
    kind: RestatementClass
    volume_change: Decimal


_insert = insert(restatements, ignore_known=True)


class Restatements:
    """The table of restatements."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[Restatement]) -> None:
        """Store restatements; committed when it returns. Those whose id is known stay as they are. Raises
        `StoreUnavailable`.
        """
        if not rows:
            return
        with self._database.write() as connection:
            for some in chunks(rows):
                _insert.execute(
                    connection,
                    [
                        {
                            "restatement_id": row.restatement_id,
                            "market_id": row.market_id,
                            "selection_id": row.selection_id,
                            "handicap": f"{row.handicap:f}",
                            "class": row.kind.value,
                            "volume_change": _text(row.volume_change),
                            "restated_at_us": to_us(row.restated_at),
                        }
                        for row in some
                    ],
                )

    def count(self) -> int:
        """How many there are."""
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(restatements)).scalar_one())

    def by_class(self) -> dict[str, int]:
        """How many there are of each class that occurs, by the class's name."""
        name = restatements.c["class"]
        with self._database.read() as connection:
            rows = connection.execute(sa.select(name, sa.func.count()).group_by(name).order_by(name))
            return {str(row[0]): int(row[1]) for row in rows}


def _text(volume: Decimal) -> str:
    text = f"{volume:f}"
    # Only a recording with noise in its last digits has so many; what an operator reads are the first.
    return text if len(text) <= _VOLUME_TEXT else text[:_VOLUME_TEXT].rstrip(".")
