"""What every store has committed of the exchange's stream and feed, and reporting it to the exchange, which
may forget it then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exchange_platform.settings import Settings
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.engine.source import SHARD_END
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from exchange_platform.streams.sinks.profile_view import PROFILE_VIEW
from exchange_platform.streams.sources.names import EXCHANGE_BETS, EXCHANGE_FEED
from exchange_platform.submission.exchange_asking import exchange_of

Positions = Mapping[str, str | None]


def acknowledge(settings: Settings, database: Database, lake: Lake) -> bool:
    """Report what is committed; whether there is an exchange that takes such reports.

    Raises `StoreUnavailable` and `ExchangeUnavailable`.
    """
    if settings.exchange_url is None:
        return False
    positions = committed(database, lake)
    exchange = exchange_of(settings)
    try:
        return exchange.acknowledge(positions)
    finally:
        exchange.close()


def committed(database: Database, lake: Lake) -> dict[str, str]:
    """By shard, the position up to which every sink holds it. Raises `StoreUnavailable`.

    A shard that one of the sinks has not begun is left out, as are shards of streams that are gone.
    """
    stream = _lowest(
        [
            Checkpoints(database, OPERATIONAL_DATABASE).positions(EXCHANGE_BETS),
            Checkpoints(database, PROFILE_VIEW).positions(EXCHANGE_BETS),
            lake.positions(EXCHANGE_BETS),
        ]
    )
    newest = max((_created_at(shard) for shard in stream), default="")
    feed = Checkpoints(database, OPERATIONAL_DATABASE).positions(EXCHANGE_FEED)
    return {shard: position for shard, position in stream.items() if _created_at(shard) == newest} | {
        shard: position for shard, position in feed.items() if position is not None
    }


def _lowest(sinks: Iterable[Positions]) -> dict[str, str]:
    first, *others = sinks
    lowest: dict[str, str] = {}
    for shard in first:
        positions = [first[shard], *(positions.get(shard) for positions in others)]
        known = [position for position in positions if position is not None]
        if len(known) == len(positions):
            lowest[shard] = min(known, key=_order)
    return lowest


def _order(position: str) -> tuple[bool, int]:
    return (True, 0) if position == SHARD_END else (False, int(position))


def _created_at(shard: str) -> str:
    """When the shard's stream was created, in digits of one length for centuries to come."""
    return shard.rpartition("@")[2]
