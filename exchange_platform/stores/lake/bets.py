"""The bets' newest versions as the lake holds them, to compare with the operational database. SQL only; who
asks is lake.py.

Bets are taken by when they were placed: that is fixed for a bet's life, and the files of other times are left
alone.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple

from exchange_platform.domain.bets import BetStatus
from exchange_platform.stores.lake.windows import span


class BetState(NamedTuple):
    """A bet's newest version in a store, and what a wrong row would most likely get wrong."""

    second: int
    """When it was placed, since 1970."""
    user_id: str
    version: int
    status: str
    matched_minor: int
    remaining_minor: int
    profit_minor: int


class BetSums(NamedTuple):
    """The bets placed in one second, newest versions, in one line: equal in two stores when they hold the
    same.
    """

    bets: int
    versions: int
    matched_minor: int
    remaining_minor: int
    profit_minor: int


_SECOND = "epoch_us(placed_at) // 1000000"


def _newest(where: str) -> str:
    """Every bet's newest version. What is only PENDING was not reported by the exchange yet: each store may
    lack it.
    """
    return f"""
    SELECT bet_id, user_id, {_SECOND} AS second, max(version) AS version, arg_max(status, version) AS status,
           arg_max(matched_minor, version) AS matched_minor, arg_max(remaining_minor, version) AS remaining_minor,
           arg_max(profit_minor, version) AS profit_minor
    FROM bet_history {where} GROUP BY ALL HAVING arg_max(status, version) <> '{BetStatus.PENDING.value}'
    """


def sums(since: datetime | None, until: datetime | None) -> str:
    """SQL: by second (since 1970), the sums of the bets placed in that span."""
    return (
        "SELECT second, count(*), sum(version)::BIGINT, sum(matched_minor)::BIGINT, sum(remaining_minor)::BIGINT,"
        f" sum(profit_minor)::BIGINT FROM ({_newest(span('placed_at', since, until))}) GROUP BY second"
    )


def newest(seconds: Collection[int]) -> str:
    """SQL: every bet placed in these seconds: its newest version."""
    first, last = min(seconds), max(seconds)
    placed = span("placed_at", datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last + 1, UTC))
    where = f"{placed} AND {_SECOND} IN ({', '.join(map(str, sorted(seconds)))})"
    return (
        "SELECT bet_id, second, user_id, version, status, matched_minor, remaining_minor, profit_minor"
        f" FROM ({_newest(where)})"
    )
