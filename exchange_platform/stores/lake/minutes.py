"""What the lake holds by market and minute, to compare with what the exchange reports."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from exchange_platform.stores.lake.lake import Lake
from exchange_platform.stores.lake.windows import span


class MinuteSums(NamedTuple):
    """A market's minute: executions by `executed_at`, bet versions by `updated_at`, and sums over these
    versions.
    """

    executions: int = 0
    stake: Decimal = Decimal(0)
    bet_versions: int = 0
    versions: int = 0
    matched_minor: int = 0
    remaining_minor: int = 0
    profit_minor: int = 0


NOTHING = MinuteSums()
Minutes = dict[tuple[str, int], MinuteSums]
"""By market and the minute's number since 1970."""


def minute_sums(lake: Lake, since: datetime, until: datetime, own: Collection[str] = ()) -> Minutes:
    """What happened in that span, without the bet versions that the platform made itself: those with one of
    its `own` reasons.

    Raises `StoreUnavailable`.
    """
    found = {
        (market, minute): MinuteSums(count, stake)
        for market, minute, count, stake in lake.rows(_executions(since, until))
    }
    for market, minute, *sums in lake.rows(_bet_versions(since, until, own)):
        count, stake, *_ = found.get((market, minute), NOTHING)
        found[market, minute] = MinuteSums(count, stake, *sums)
    return found


def newest_versions(lake: Lake, since: datetime, until: datetime, market_id: str) -> dict[str, int]:
    """By bet of the market, the newest version whose `updated_at` lies in that span. Raises
    `StoreUnavailable`.
    """
    return dict(
        lake.rows(
            f"SELECT bet_id, max(version) FROM bet_history {span('updated_at', since, until)}"
            f" AND market_id = {_text(market_id)} GROUP BY bet_id"
        )
    )


def _executions(since: datetime, until: datetime) -> str:
    return (
        "SELECT market_id, epoch_us(executed_at) // 60000000, count(*), sum(stake)"
        f" FROM executions {span('executed_at', since, until)} GROUP BY ALL"
    )


def _bet_versions(since: datetime, until: datetime, own: Collection[str]) -> str:
    others = "".join(f" AND reason IS DISTINCT FROM {_text(reason)}" for reason in own)
    return (
        "SELECT market_id, epoch_us(updated_at) // 60000000, count(*), sum(version)::BIGINT, sum(matched_minor)::BIGINT,"
        " sum(remaining_minor)::BIGINT, sum(profit_minor)::BIGINT"
        f" FROM bet_history {span('updated_at', since, until)}{others} GROUP BY ALL"
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
