"""Records as Arrow columns, the form in which DuckDB reads them from memory. Not here: the lake's own tables
and types (tables.py).

Made with nanoarrow: pyarrow, which does the same, takes 70 MB of each process that imports it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from itertools import accumulate
from typing import Any

import msgspec
import nanoarrow as na

from exchange_platform.domain.bets import Bet
from exchange_platform.domain.records import Execution
from exchange_platform.domain.windows import WINDOW
from exchange_platform.stores.operational.bets.rows import decimal_text
from exchange_platform.stores.operational.database import from_us, to_us

_WINDOW_US = WINDOW // timedelta(microseconds=1)

Column = Callable[[Sequence[Any]], Any]
"""Values -> an Arrow array of them."""


class Batch:
    """Rows as Arrow columns. DuckDB reads one by the name of the variable that holds it, as often as it
    likes.

    Source: the Arrow PyCapsule interface.
    """

    def __init__(self, columns: Mapping[str, Any], rows: int) -> None:
        schema = na.struct({name: column.schema for name, column in columns.items()})
        self._rows = na.c_array_from_buffers(schema, rows, [None], children=list(columns.values()))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The rows, for whoever reads Arrow."""
        return na.c_array_stream(self._rows).__arrow_c_stream__(requested_schema)


def texts(values: Sequence[str | None]) -> Any:
    """A column of texts; None is NULL."""
    known = None
    if None in values:
        bits = bytearray((len(values) + 7) // 8)
        for place, value in enumerate(values):
            if value is not None:
                bits[place >> 3] |= 1 << (place & 7)
        known = bytes(bits)
        values = [value or "" for value in values]
    joined = "".join(values)  # type: ignore[arg-type]
    data = joined.encode()
    lengths = map(len, values if len(data) == len(joined) else map(str.encode, values))  # type: ignore[arg-type]
    ends = array("i", [0])
    ends.extend(accumulate(lengths))
    return na.c_array_from_buffers(na.string(), len(values), [known, ends, data])


def numbers(values: Iterable[int]) -> Any:
    """A column of 64-bit whole numbers."""
    held = array("q", values)
    return na.c_array_from_buffers(na.int64(), len(held), [None, held])


def instants(values: Iterable[datetime]) -> Any:
    """A column of instants, UTC, to the microsecond."""
    held = array("q", map(to_us, values))
    return na.c_array_from_buffers(_instant(), len(held), [None, held])


@cache
def _instant() -> Any:
    return na.timestamp("us", timezone="UTC")


def _decimals(values: Iterable[Decimal]) -> Any:
    # As texts: the table's own decimal type takes them exactly, as records have no more places than it has.
    return texts(list(map(decimal_text, values)))


def _enums(values: Iterable[Enum | None]) -> Any:
    return texts([None if value is None else value._value_ for value in values])


_EXECUTION_COLUMNS: dict[str, Column] = {
    "execution_id": texts,
    "event_id": texts,
    "market_id": texts,
    "selection_id": numbers,
    "handicap": _decimals,
    "odds": _decimals,
    "stake": _decimals,
    "executed_at": instants,
    "back_bet_id": texts,
    "lay_bet_id": texts,
}

_BET_COLUMNS: dict[str, Column] = {
    "bet_id": texts,
    "version": numbers,
    "user_id": texts,
    "event_id": texts,
    "market_id": texts,
    "selection_id": numbers,
    "handicap": _decimals,
    "side": _enums,
    "odds": _decimals,
    "currency": texts,
    "stake_minor": numbers,
    "matched_minor": numbers,
    "remaining_minor": numbers,
    "lapsed_minor": numbers,
    "cancelled_minor": numbers,
    "voided_minor": numbers,
    "matched_winnings_minor": numbers,
    "status": _enums,
    "result": _enums,
    "profit_minor": numbers,
    "commission_minor": numbers,
    "reason": texts,
    "number_of_winners": numbers,
    "number_of_selections": numbers,
    "placed_at": instants,
    "updated_at": instants,
}


def executions_batch(executions: Sequence[Execution]) -> Batch:
    """The executions as columns, in their order; at least one."""
    return _batch(executions, _EXECUTION_COLUMNS)


def bets_batch(bets: Sequence[Bet]) -> Batch:
    """The bet versions as columns, in their order; at least one."""
    return _batch(bets, _BET_COLUMNS)


def windows_batch(windows: Sequence[tuple[str, datetime]]) -> Batch:
    """(market, window start) as columns, with the window's number since 1970."""
    starts = [start for _, start in windows]
    return Batch(
        {
            "market_id": texts([market_id for market_id, _ in windows]),
            "window_start": instants(starts),
            "number": numbers([to_us(start) // _WINDOW_US for start in starts]),
        },
        len(windows),
    )


def windows_touched(executions: Iterable[Execution]) -> set[tuple[str, datetime]]:
    """The (market, window start) of executions: what `windows.window_start` says of each, for all at once."""
    touched = {
        (execution.market_id, to_us(execution.executed_at) // _WINDOW_US)  # since 1970, when an hour began
        for execution in executions
    }
    return {(market_id, from_us(number * _WINDOW_US)) for market_id, number in touched}


def _batch(rows: Sequence[Any], columns: Mapping[str, Column]) -> Batch:
    """The rows' fields, turned over into columns in one go."""
    names = type(rows[0]).__struct_fields__
    turned = dict(zip(names, zip(*map(msgspec.structs.astuple, rows), strict=True), strict=True))
    return Batch({name: column(turned[name]) for name, column in columns.items()}, len(rows))
