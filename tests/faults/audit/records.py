"""Bets and executions as every store is read into, and what the exchange publishes decoded into them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bet:
    """A bet at one version. Amounts in pence, instants in microseconds since 1970."""

    bet_id: str
    version: int
    user_id: str
    event_id: str
    market_id: str
    selection_id: int
    handicap: Decimal
    side: str
    odds: Decimal
    currency: str
    stake_minor: int
    matched_minor: int
    remaining_minor: int
    lapsed_minor: int
    cancelled_minor: int
    voided_minor: int
    matched_winnings_minor: int
    status: str
    result: str | None
    profit_minor: int
    commission_minor: int
    reason: str | None
    number_of_winners: int
    number_of_selections: int
    placed_at_us: int
    updated_at_us: int


@dataclass(frozen=True, slots=True)
class Execution:
    """One match of a back against a lay. `stake` in pounds, as the exchange publishes it."""

    execution_id: str
    event_id: str
    market_id: str
    selection_id: int
    handicap: Decimal
    odds: Decimal
    stake: Decimal
    executed_at_us: int
    back_bet_id: str | None
    lay_bet_id: str | None


BET_FIELDS = tuple(field.name for field in fields(Bet))
EXECUTION_FIELDS = tuple(field.name for field in fields(Execution))
_DECIMALS = frozenset({"handicap", "odds", "stake"})


def of_columns(kind: type[Bet] | type[Execution], row: dict[str, Any]) -> Any:
    """A store's row, whose columns are named as the record's fields, as a record."""
    values: dict[str, Any] = {
        field.name: Decimal(str(row[field.name])) if field.name in _DECIMALS else row[field.name]
        for field in fields(kind)
    }
    return kind(**values)


def of_json(data: bytes | str) -> Bet | Execution:
    """What the exchange published, or a store keeps as JSON."""
    told: dict[str, Any] = json.loads(data, parse_float=Decimal)
    for name in ("placed_at", "updated_at", "executed_at"):
        if name in told:
            told[f"{name}_us"] = _microseconds(told[name])
    kind = Execution if told.get("kind") == "execution" else Bet
    record: Bet | Execution = of_columns(kind, told)
    return record


def _microseconds(instant: str) -> int:
    return (datetime.fromisoformat(instant) - _EPOCH) // timedelta(microseconds=1)
