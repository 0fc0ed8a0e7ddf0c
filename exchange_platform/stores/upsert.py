"""Writing many rows at once, the same way on both databases. Not here: which rows."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
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


class Bulk:
    """A statement compiled once a dialect and executed for many rows.

    SQLAlchemy's own executemany works each row's parameters out anew, which costs more than the insert itself.
    """

    def __init__(self, statements: Mapping[str, Any], parameters: Sequence[str]) -> None:
        self._statements = statements
        self._parameters = list(parameters)
        self._compiled: dict[str, tuple[str, list[str] | None]] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute for every row, a mapping with at least the parameters. Nothing happens without rows."""
        if not rows:
            return
        sql, order = self._for(connection.dialect)
        if order is None:  # the driver takes parameters by name
            connection.exec_driver_sql(sql, [dict(row) for row in rows])
        elif len(order) == 1:
            connection.exec_driver_sql(sql, [(row[order[0]],) for row in rows])
        else:
            pick = operator.itemgetter(*order)
            connection.exec_driver_sql(sql, [pick(row) for row in rows])

    def execute_in_order(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute for every row, which has the parameters' values in their order. Nothing happens without rows."""
        if not rows:
            return
        sql, order = self._for(connection.dialect)
        if order == self._parameters:
            connection.exec_driver_sql(sql, list(rows))
        else:
            self.execute(connection, [dict(zip(self._parameters, row, strict=True)) for row in rows])

    def _for(self, dialect: sa.Dialect) -> tuple[str, list[str] | None]:
        """The statement's text, and the parameters in its order where the driver takes them so."""
        name = "sqlite" if dialect.name == "sqlite" else "mysql"
        if name not in self._compiled:
            compiled = self._statements[name].compile(dialect=dialect, column_keys=self._parameters)
            order = list(compiled.positiontup or ()) if compiled.positional else None
            self._compiled[name] = (str(compiled), order)
        return self._compiled[name]


class Lookup:
    """The rows of a query whose column is one of many values: compiled once a dialect and size.

    SQLAlchemy renders an IN list anew at each call, value by value. Here the values are filled up to a power of two by repeating one, so
    that there are few statements. Rows come as the driver has them: for columns of texts and whole numbers.
    """

    _VALUES = "VALUES_GO_HERE"

    def __init__(self, query: sa.Select[Any], column: sa.ColumnElement[Any]) -> None:
        self._query = query.where(column.in_([sa.literal_column(self._VALUES)]))
        self._compiled: dict[tuple[str, int], str] = {}

    def rows(self, connection: sa.Connection, values: Sequence[Any]) -> Iterator[sa.Row[Any]]:
        """The rows, in the query's order for each thousand of the values."""
        for some in chunks(values):
            size = 1 << (len(some) - 1).bit_length()
            filled = (*some, *[some[-1]] * (size - len(some)))
            yield from connection.exec_driver_sql(self._sql(connection.dialect, size), filled)

    def _sql(self, dialect: sa.Dialect, size: int) -> str:
        key = (dialect.name, size)
        if key not in self._compiled:
            place = "?" if dialect.paramstyle == "qmark" else "%s"
            text = str(self._query.compile(dialect=dialect))
            self._compiled[key] = text.replace(self._VALUES, ", ".join([place] * size))
        return self._compiled[key]


def insert(
    table: sa.Table, *, ignore_known: bool = False, keep_known: bool = False, leave_out: Sequence[str] = ()
) -> Bulk:
    """Insert rows; with `ignore_known` or `keep_known`, those whose key exists stay as they are.

    `keep_known` locks those rows for writing on MySQL, where `ignore_known` shares them with other writers and asks for a deadlock.
    """
    statement = sa.insert(table)
    names = [column.name for column in table.columns if column.name not in leave_out]
    if keep_known:
        key = next(iter(table.primary_key.columns))
        return Bulk(
            {
                "sqlite": statement.prefix_with("OR IGNORE"),
                "mysql": mysql.insert(table).on_duplicate_key_update({key.name: key}),
            },
            names,
        )
    if not ignore_known:
        return Bulk({"sqlite": statement, "mysql": statement}, names)
    return Bulk(
        {"sqlite": statement.prefix_with("OR IGNORE"), "mysql": statement.prefix_with("IGNORE")}, names
    )


def _larger(new: sa.ColumnElement[Any], known: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.case((sa.or_(known.is_(None), new > known), new), else_=known)


def upsert(
    table: sa.Table, *, replace: Sequence[str] = (), add: Sequence[str] = (), newest: Sequence[str] = ()
) -> Bulk:
    """Insert rows; where the key exists, replace some columns, add to others, keep the larger of the rest.

    No two rows of one execution may have the same key.
    """

    def changes(new: Any) -> dict[str, Any]:
        return {
            **{name: new[name] for name in replace},
            **{name: table.c[name] + new[name] for name in add},
            **{name: _larger(new[name], table.c[name]) for name in newest},
        }

    on_sqlite = sqlite.insert(table)
    on_mysql = mysql.insert(table)
    keys = list(table.primary_key.columns)
    return Bulk(
        {
            "sqlite": on_sqlite.on_conflict_do_update(index_elements=keys, set_=changes(on_sqlite.excluded)),
            "mysql": on_mysql.on_duplicate_key_update(changes(on_mysql.inserted)),
        },
        [column.name for column in table.columns],
    )
