"""Makes moto's DynamoDB fit for transactions on tables of some size. Not here: the emulator's process (emulator.py)."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import moto.dynamodb.models

models: Any = moto.dynamodb.models  # its names are replaced, which no type allows


def _snapshot(value: Any) -> Any:
    """A deep copy, but of a table only what a transaction's put can change: which items it has.

    moto (5.2) copies the whole table anew for each item of a transaction, to be able to roll back.
    """
    if not isinstance(value, models.Table):
        return copy.deepcopy(value)
    kept = copy.copy(value)
    kept.items = copy.copy(value.items)
    for key, held in value.items.items():
        if isinstance(held, dict):
            kept.items[key] = dict(held)
    return kept


def install() -> None:
    """Put this in moto's place, once, before its server starts."""
    models.copy = SimpleNamespace(deepcopy=_snapshot, copy=copy.copy)
