"""Records for the lake's tests, and a consumer in small that commits them. Not here: any test."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from exchange_platform.domain.bets import Bet, BetStatus, Side
from exchange_platform.domain.records import Execution
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.lake.lake import Lake, LakeCommit

SOURCE, SHARD = "exchange-bets", "shard-0"
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def lake_in(directory: Path, *, read_only: bool = False) -> Lake:
    """The lake of a directory."""
    return Lake(f"sqlite:{directory / 'catalog.sqlite'}", str(directory / "data"), read_only=read_only)


def execution(
    number: int,
    at: datetime | None = None,
    *,
    odds: str = "2.5",
    stake: str = "10",
    market: str = "1.1",
    selection: int = 7,
    handicap: str = "0",
) -> Execution:
    """Execution number so and so; a second after the one before unless said otherwise."""
    return Execution(
        execution_id=f"{market}-{number:08d}",
        event_id="e1",
        market_id=market,
        selection_id=selection,
        handicap=Decimal(handicap),
        odds=Decimal(odds),
        stake=Decimal(stake),
        executed_at=at or NOON + number * SECOND,
    )


def bet(number: int, version: int = 1, at: datetime | None = None) -> Bet:
    """An open bet at a version."""
    when = at or NOON + number * SECOND
    return Bet(
        bet_id=f"b{number:08d}",
        version=version,
        user_id="u1",
        event_id="e1",
        market_id="1.1",
        selection_id=7,
        side=Side.BACK,
        odds=Decimal("2.5"),
        currency="GBP",
        stake_minor=1000,
        remaining_minor=1000,
        status=BetStatus.OPEN,
        placed_at=when,
        updated_at=when,
    )


class Feed:
    """Commits to one shard, in order, as one epoch."""

    def __init__(self, lake: Lake, epoch: int = 1) -> None:
        self.lake = lake
        self.epoch = epoch
        self.position = lake.claim(SOURCE, epoch, [SHARD])[SHARD]

    def commit(self, executions: Sequence[Execution] = (), bets: Sequence[Bet] = ()) -> LakeCommit:
        """Commit these as the shard's next position."""
        following = f"{int(self.position or 0) + 1:08d}"
        done = self.lake.commit(
            SOURCE, self.epoch, [Advance(SHARD, self.position, following)], executions, bets
        )
        self.position = following
        return done

    def close_all(self) -> None:
        """Close every open window."""
        markets = {market for market, _ in self.lake.open_windows()}
        self.lake.close_windows(SOURCE, self.epoch, dict.fromkeys(markets))
