"""Insert-or-update on both databases, from one description. Not here: which rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite

T = TypeVar("T")

CHUNK = 1000
"""Values in one IN list: below every database's limit on parameters."""


def chunks(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The values in slices of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


class Upsert:
    """Insert rows; where the key exists, replace some columns, add to others, keep the newer (larger) of the rest."""

    def __init__(
        self,
        table: sa.Table,
        *,
        replace: Sequence[str] = (),
        add: Sequence[str] = (),
        newest: Sequence[str] = (),
    ) -> None:
        self._sqlite = sqlite.insert(table)
        excluded = self._sqlite.excluded
        self._sqlite = self._sqlite.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={
                **{name: excluded[name] for name in replace},
                **{name: table.c[name] + excluded[name] for name in add},
                **{name: _larger(table.c[name], excluded[name]) for name in newest},
            },
        )
        self._mysql = mysql.insert(table)
        inserted = self._mysql.inserted
        self._mysql = self._mysql.on_duplicate_key_update(
            {
                **{name: inserted[name] for name in replace},
                **{name: table.c[name] + inserted[name] for name in add},
                **{name: _larger(table.c[name], inserted[name]) for name in newest},
            }
        )

    def execute(self, connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Upsert the rows; no two may have the same key."""
        if rows:
            statement: Any = self._sqlite if connection.dialect.name == "sqlite" else self._mysql
            connection.execute(statement, rows)


def _larger(stored: Any, new: Any) -> Any:
    return sa.case((sa.or_(stored.is_(None), new > stored), new), else_=stored)
