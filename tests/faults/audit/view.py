"""The profile view in DynamoDB, read through the API's own client while it is there, against the profiles and
the newest bets.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from tests.faults.audit.expected import Expected
from tests.faults.audit.findings import Finding
from tests.faults.audit.records import Bet

STORE = "profile view"
Item = dict[str, Any]

_LAST_BETS = 10


def scan(endpoint: str, table: str = "profiles", *, secret: str = "audit") -> dict[str, Item]:
    """Every item, by user, with plain values; `secret` is the emulator's key, where it has one."""
    import boto3

    client = boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="emulator",
        aws_secret_access_key=secret,
    )
    items: dict[str, Item] = {}
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            values = {name: _plain(typed) for name, typed in item.items()}
            items[values["user_id"]] = values
    return items


def _plain(typed: Any) -> Any:
    ((kind, text),) = typed.items()
    return int(text) if kind == "N" else text


def profile_view(db: sqlite3.Connection, items: dict[str, Item], expected: Expected) -> Iterator[Finding]:
    """Each item is its user's profile, with the newest bets as the exchange left them."""
    left = dict(items)
    for row in db.execute("SELECT * FROM profiles"):
        user_id = row["user_id"]
        item = left.pop(user_id, None)
        if item is None:
            yield Finding(STORE, "an item is missing", user_id)
            continue
        wrong = [
            f"{name} is {item.get(name)}, should be {row[name]}"
            for name in row.keys()  # noqa: SIM118 (a Row iterates over its values)
            if item.get(name) != row[name]
        ]
        if wrong:
            yield Finding(STORE, "an item", user_id, ", ".join(wrong))
        bets = sorted(
            expected.bets_of.get(user_id, ()), key=lambda bet: (bet.placed_at_us, bet.bet_id), reverse=True
        )
        shown = json.loads(item["last_bets"])
        if shown != [_shown(bet) for bet in bets[:_LAST_BETS]]:
            yield Finding(
                STORE, "the newest bets of an item", user_id, ", ".join(one["bet_id"] for one in shown)
            )
    for user_id in left:
        yield Finding(STORE, "an item of nobody", user_id)


def _shown(bet: Bet) -> dict[str, Any]:
    return {
        "bet_id": bet.bet_id,
        "market_id": bet.market_id,
        "selection_id": bet.selection_id,
        "side": bet.side,
        "odds": str(bet.odds),
        "stake_minor": bet.stake_minor,
        "matched_minor": bet.matched_minor,
        "status": bet.status,
        "result": bet.result,
        "profit_minor": bet.profit_minor,
        "placed_at_us": bet.placed_at_us,
    }
