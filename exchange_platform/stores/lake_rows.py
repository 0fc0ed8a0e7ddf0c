"""Records as Arrow columns, the form in which the lake takes them. Not here: the lake's own tables and types (lake.py)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from exchange_platform.bets import Bet
from exchange_platform.records import Execution
from exchange_platform.windows import WINDOW

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WINDOW_US = WINDOW // timedelta(microseconds=1)
_INSTANT = pa.timestamp("us", tz="UTC")

_EXECUTION_COLUMNS: dict[str, pa.DataType] = {
    "execution_id": pa.string(),
    "event_id": pa.string(),
    "market_id": pa.string(),
    "selection_id": pa.int64(),
    "handicap": pa.decimal128(7, 2),
    "odds": pa.decimal128(9, 3),
    "stake": pa.decimal128(18, 3),
    "executed_at": _INSTANT,
    "back_bet_id": pa.string(),
    "lay_bet_id": pa.string(),
}

_BET_COLUMNS: dict[str, pa.DataType] = {
    "bet_id": pa.string(),
    "version": pa.int64(),
    "user_id": pa.string(),
    "event_id": pa.string(),
    "market_id": pa.string(),
    "selection_id": pa.int64(),
    "handicap": pa.decimal128(7, 2),
    "side": pa.string(),
    "odds": pa.decimal128(9, 3),
    "currency": pa.string(),
    "stake_minor": pa.int64(),
    "matched_minor": pa.int64(),
    "remaining_minor": pa.int64(),
    "lapsed_minor": pa.int64(),
    "cancelled_minor": pa.int64(),
    "voided_minor": pa.int64(),
    "matched_winnings_minor": pa.int64(),
    "status": pa.string(),
    "result": pa.string(),
    "profit_minor": pa.int64(),
    "commission_minor": pa.int64(),
    "reason": pa.string(),
    "number_of_winners": pa.int64(),
    "number_of_selections": pa.int64(),
    "placed_at": _INSTANT,
    "updated_at": _INSTANT,
}
_ENUMS = ("side", "status", "result")


def executions_table(executions: Sequence[Execution]) -> pa.Table:
    """The executions as columns, in their order."""
    return _table(executions, _EXECUTION_COLUMNS)


def bets_table(bets: Sequence[Bet]) -> pa.Table:
    """The bet versions as columns, in their order."""
    return _table(bets, _BET_COLUMNS)


def windows_touched(batch: pa.Table) -> set[tuple[str, datetime]]:
    """The (market, window start) of executions given as columns: what `windows.window_start` says of each, for all at once."""
    number = pc.divide(batch["executed_at"].cast(pa.int64()), _WINDOW_US)  # since 1970, when an hour began
    windows = pa.table({"market_id": batch["market_id"], "number": number}).group_by(["market_id", "number"])
    distinct = windows.aggregate([]).to_pydict()
    return {
        (market_id, _EPOCH + number * WINDOW)
        for market_id, number in zip(distinct["market_id"], distinct["number"], strict=True)
    }


def _table(rows: Sequence[Any], columns: dict[str, pa.DataType]) -> pa.Table:
    """The rows' fields, turned over into columns in one go."""
    if not rows:
        return pa.Table.from_arrays([pa.array([], kind) for kind in columns.values()], names=list(columns))
    names = type(rows[0]).__struct_fields__
    turned = dict(zip(names, zip(*map(msgspec.structs.astuple, rows), strict=True), strict=True))
    arrays = []
    for name, kind in columns.items():
        values = turned[name]
        if name in _ENUMS:
            values = tuple(None if value is None else value._value_ for value in values)
        arrays.append(pa.array(values, type=kind))
    return pa.Table.from_arrays(arrays, names=list(columns))
