"""Consumers' rows as tests want them: any of their columns, whatever a consumer would say. Not here: what
consumers say (consumers/signs.py).
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import consumers


def beat(rows: ConsumerRows, source: str, epoch: int, **values: Any) -> None:
    """Change these columns of a consumer's row; `statistics` is a dict that goes in as JSON."""
    if "statistics" in values:
        values["statistics"] = json.dumps(values["statistics"])
    with rows._database.write() as connection:
        connection.execute(
            sa.update(consumers)
            .where(consumers.c.source == source, consumers.c.epoch == epoch)
            .values(**values)
        )
