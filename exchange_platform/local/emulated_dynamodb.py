"""Makes moto's DynamoDB fit for transactions on tables of some size. Not here: the emulator's process (emulator.py)."""

from __future__ import annotations

import copy
from collections import deque
from types import SimpleNamespace
from typing import Any

import moto.dynamodb.models
import moto.dynamodb.models.dynamo_type

models: Any = moto.dynamodb.models  # its names are replaced, which no type allows
_item: Any = moto.dynamodb.models.dynamo_type.Item


def _snapshot(value: Any) -> Any:
    """A deep copy, but of a table only what a transaction's put can change: which items it has.

    moto (5.2) copies the whole table anew for each item of a transaction, to be able to roll back.
    """
    if not isinstance(value, models.Table):
        return copy.deepcopy(value)
    # Not by its class's __new__: moto keeps a reference to whatever that makes, for ever.
    kept = object.__new__(type(value))
    kept.__dict__.update(value.__dict__)
    kept.items = copy.copy(value.items)
    for key, held in value.items.items():
        if isinstance(held, dict):
            kept.items[key] = dict(held)
    return kept


def install() -> None:
    """Put this in moto's place, once, before its server starts; and let it forget the items that were replaced."""
    _item.instances_tracked = deque(maxlen=0)
    models.copy = SimpleNamespace(deepcopy=_snapshot, copy=copy.copy)
