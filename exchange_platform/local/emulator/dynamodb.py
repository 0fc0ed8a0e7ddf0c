"""Makes moto's DynamoDB fit for transactions, of several writers, on tables of some size. Not here: the
emulator's process (server.py).
"""

from __future__ import annotations

import copy
import functools
import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import moto.dynamodb.comparisons
import moto.dynamodb.models
import moto.dynamodb.models.dynamo_type

models: Any = moto.dynamodb.models  # its names are replaced, which no type allows
_item: Any = moto.dynamodb.models.dynamo_type.Item
_attributes: Any = moto.dynamodb.models.dynamo_type.LimitedSizeDict
_parser: Any = moto.dynamodb.comparisons.ConditionExpressionParser


def _snapshot(value: Any) -> Any:
    """A deep copy, but of a table only what a transaction's put can change: which items it has.

    moto (5.2) copies the whole table for each item of a transaction, to be able to roll back.
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


_parse = _parser.parse


@functools.lru_cache(maxsize=256)
def _parsed(
    expression: str, names: tuple[tuple[str, str], ...], values: tuple[tuple[str, tuple[str, str]], ...]
) -> tuple[Any, list[str], list[str]]:
    parser = _parser(expression, dict(names), {name: dict([typed]) for name, typed in values})
    condition = _parse(parser)
    return condition, parser.expr_attr_names_found, parser.expr_attr_values_found


def _parse_once(parser: Any) -> Any:
    """The parser's condition: moto parses the same one three times for each item of a transaction, half of
    what a put costs.
    """
    names, values = parser.expression_attribute_names or {}, parser.expression_attribute_values or {}
    try:
        condition, names_found, values_found = _parsed(
            parser.condition_expression or "",
            tuple(names.items()),
            tuple((name, *typed.items()) for name, typed in values.items()),
        )
    except TypeError:  # a list or a map among the values
        return _parse(parser)
    parser.expr_attr_names_found.extend(names_found)
    parser.expr_attr_values_found.extend(values_found)
    return condition


_MAX_BYTES = 400_000
_set_weighed = _attributes.__setitem__


def _set_attribute(attributes: Any, key: str, value: Any) -> None:
    """Set an item's attribute within the size of an item. moto weighs all attributes again for each; only a
    big item needs that.
    """
    at_most = attributes.__dict__.get("at_most", None if attributes else 0)
    if at_most is not None:
        at_most += len(key.encode()) + value.size()
        if at_most <= _MAX_BYTES:
            attributes.at_most = at_most
            dict.__setitem__(attributes, key, value)
            return
    _set_weighed(attributes, key, value)


_WRITES = ("put_item", "update_item", "delete_item", "transact_write_items")
_writing = threading.RLock()


def _one_at_a_time(write: Any) -> Any:
    """The method, never beside another writing one: moto's transactions roll back to a copy, which would undo
    what others wrote meanwhile.
    """

    @functools.wraps(write)
    def alone(*args: Any, **kwargs: Any) -> Any:
        with _writing:
            return write(*args, **kwargs)

    return alone


def install() -> None:
    """Put this in moto's place, once, before its server starts; and let it forget the items that were
    replaced.
    """
    if models.copy is not copy:
        return
    for name in _WRITES:
        setattr(models.DynamoDBBackend, name, _one_at_a_time(getattr(models.DynamoDBBackend, name)))
    _item.instances_tracked = deque(maxlen=0)
    _parser.parse = _parse_once
    _attributes.__setitem__ = _set_attribute
    models.copy = SimpleNamespace(deepcopy=_snapshot, copy=copy.copy)
