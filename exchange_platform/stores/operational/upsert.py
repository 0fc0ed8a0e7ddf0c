"""Writing many rows at once, the same way on both databases. Not here: which rows."""

from __future__ import annotations

import itertools
import operator
import re
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

    SQLAlchemy's own executemany works out each row's parameters again, which costs more than the insert
    itself.
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
        """Execute for every row, which has the parameters' values in their order. Nothing happens without
        rows.
        """
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
    """The rows of a query each of whose columns is one of many values: compiled once a dialect and sizes.

    SQLAlchemy renders an IN list at each call, value by value. Here the values are filled up to a power of
    two by repeating one, so that there are few statements. Rows come as the driver has them: for columns of
    texts, bytes and whole numbers.
    """

    def __init__(self, query: sa.Select[Any], *columns: sa.ColumnElement[Any]) -> None:
        """The query has no parameters of its own."""
        self._texts = _ListTexts(
            query.where(*(column.in_([sa.literal_column(_LISTS[at])]) for at, column in enumerate(columns)))
        )

    def rows(self, connection: sa.Connection, *values: Sequence[Any]) -> Iterator[sa.Row[Any]]:
        """The rows for the values of each column, in the query's order for each thousand of the values."""
        for lists in itertools.product(*(list(chunks(some)) for some in values)):
            filled = [_filled(some) for some in lists]
            sql = self._texts.text(connection.dialect, [len(some) for some in filled])
            yield from connection.exec_driver_sql(sql, tuple(itertools.chain.from_iterable(filled)))


class ListUpdate:
    """A change of the rows whose column is one of many values, compiled as a `Lookup` is."""

    def __init__(self, update: sa.Update, column: sa.ColumnElement[Any]) -> None:
        """The update's only parameters are the values it sets."""
        self._texts = _ListTexts(update.where(column.in_([sa.literal_column(_LISTS[0])])))

    def execute(self, connection: sa.Connection, set_to: Sequence[Any], values: Sequence[Any]) -> None:
        """Set them, in the update's order. Nothing happens without values."""
        for some in chunks(values):
            filled = _filled(some)
            sql = self._texts.text(connection.dialect, [len(filled)])
            connection.exec_driver_sql(sql, (*set_to, *filled))


class ByKey:
    """A deletion, or a change, of the rows with given keys.

    On a server it is one statement for all rows that are set to the same: a statement a row would be a way
    there and back for each.
    """

    def __init__(
        self, table: sa.Table, key: Sequence[str] = (), *, change: Sequence[str] = (), only: str = ""
    ) -> None:
        """Without `change`, columns that are set, rows are deleted. The key is the table's, unless another is
        named; `only` is a condition in SQL on all.
        """
        self._table = table
        self._key = list(key) or [column.name for column in table.primary_key.columns]
        self._change = list(change)
        self._only = f" AND {only}" if only else ""
        # With many conditions the optimizer may take reading the whole table for cheaper; then rows of other
        # writers are waited for.
        leads = next(iter(table.primary_key.columns)).name in self._key
        self._hint = " FORCE INDEX (PRIMARY)" if leads else ""

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute for every row, a mapping with the key and the columns that are set. Nothing happens without
        rows, nor for a key that is not there.
        """
        if connection.dialect.name == "sqlite":
            many = [self._values(row, self._change) + self._values(row, self._key) for row in rows]
            if many:
                connection.exec_driver_sql(self._text("?", 1, ""), many)
            return
        same: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        for row in rows:
            same.setdefault(self._values(row, self._change), []).append(self._values(row, self._key))
        for set_to, keys in same.items():
            for some in chunks(keys, _KEYS_AT_ONCE):
                filled = _filled(some)
                sql = self._text("%s", len(filled), self._hint)
                connection.exec_driver_sql(sql, (*set_to, *itertools.chain.from_iterable(filled)))

    def _text(self, place: str, count: int, hint: str) -> str:
        table, what = self._table.name, ""
        if self._change:
            what = f"UPDATE {table}{hint} SET {', '.join(f'{name} = {place}' for name in self._change)}"
        else:
            what = f"DELETE {table if hint else ''} FROM {table}{hint}"
        if len(self._key) == 1:
            rows = f"{self._key[0]} IN ({', '.join([place] * count)})"
        else:
            rows = " OR ".join([f"({' AND '.join(f'{name} = {place}' for name in self._key)})"] * count)
        return f"{what} WHERE ({rows}){self._only}"

    @staticmethod
    def _values(row: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
        return tuple(row[name] for name in names)


_KEYS_AT_ONCE = 128
"""Keys of several columns in one statement: above some thousand conditions servers stop looking each up by
itself.
"""


_LISTS = ("FIRST_LIST_GOES_HERE", "SECOND_LIST_GOES_HERE")


class _ListTexts:
    """A statement's texts, for lists of several sizes."""

    def __init__(self, statement: sa.Select[Any] | sa.Update) -> None:
        self._statement = statement
        self._compiled: dict[tuple[str, tuple[int, ...]], str] = {}

    def text(self, dialect: sa.Dialect, sizes: Sequence[int]) -> str:
        key = (dialect.name, tuple(sizes))
        if key not in self._compiled:
            place = "?" if dialect.paramstyle == "qmark" else "%s"
            text = re.sub(r"%\(\w+\)s", place, str(self._statement.compile(dialect=dialect)))
            for mark, size in zip(_LISTS, sizes, strict=False):
                text = text.replace(mark, ", ".join([place] * size))
            self._compiled[key] = text
        return self._compiled[key]


def _filled(values: Sequence[Any]) -> Sequence[Any]:
    size = 1 << (len(values) - 1).bit_length()
    return (*values, *[values[-1]] * (size - len(values)))


def insert(
    table: sa.Table, *, ignore_known: bool = False, keep_known: bool = False, leave_out: Sequence[str] = ()
) -> Bulk:
    """Insert rows; with `ignore_known` or `keep_known`, those whose key exists stay as they are.

    `keep_known` locks those rows for writing on MySQL, where `ignore_known` shares them with other writers
    and asks for a deadlock.
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
