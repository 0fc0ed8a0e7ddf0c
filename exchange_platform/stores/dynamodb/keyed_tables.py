"""DynamoDB tables with one text as their key: there when they are needed. Not here: what is in one
(profile_view.py, confirmation_tokens.py).
"""

from __future__ import annotations

import contextlib
from typing import Any


def ensure_keyed_table(client: Any, table: str, key: str) -> None:
    """Create the table unless it exists, and wait until it can be used. Where it exists, nobody needs the
    right to create it.
    """
    if not _exists(client, table):
        with contextlib.suppress(client.exceptions.ResourceInUseException):
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def _exists(client: Any, table: str) -> bool:
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        client.describe_table(TableName=table)
        return True
    return False
