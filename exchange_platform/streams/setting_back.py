"""Reading a shard from its beginning again, in every store: the way out of a position that the source
refuses.
"""

from __future__ import annotations

from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.consumers.consumers import set_back
from exchange_platform.stores.operational.consumers.lost_spans import Loss, LostSpans
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sources.names import EXCHANGE_BETS


def read_again(settings: Settings, source: str, shard: str, *, clock: Clock = SYSTEM_CLOCK) -> str | None:
    """Let a shard be read from the oldest record that its source holds; returns the position that is given
    up.

    What the stores have is dropped as a repeat. What lay between is kept as a lost span, since nobody knows
    where that position was. A consumer that is alive takes the shard up again within seconds. Doing it twice
    does no harm, and completes what was interrupted. Raises `UnknownShard` and `StoreUnavailable`.
    """
    database = Database(settings.operational_database_url)
    try:
        position = set_back(database, source, shard)
        if source == EXCHANGE_BETS:
            lake = Lake.from_settings(settings)
            try:
                lake.set_back(source, shard)
            finally:
                lake.close()
        if position is not None:
            reason = (
                f"The position {position} was given up by an operator: records may have been lost around it"
            )
            loss = Loss(source, shard, position, None, None, None, None, reason)
            LostSpans(database).record(loss, now_us=clock.now_us())
    finally:
        database.dispose()
    return position
