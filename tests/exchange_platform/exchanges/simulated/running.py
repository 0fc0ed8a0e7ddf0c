"""A simulated exchange in made-up time, for tests."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from pathlib import Path

from exchange_platform.domain.events import FeedUpdate, decode_update
from exchange_platform.domain.orders import Order
from exchange_platform.domain.records import BetUpdate, decode
from exchange_platform.exchanges.simulated.desk import OrderBatch
from exchange_platform.exchanges.simulated.exchange import Exchange
from exchange_platform.exchanges.simulated.journal import Journal
from exchange_platform.exchanges.simulated.markets.market import LiveMarket
from exchange_platform.exchanges.simulated.retention import USUAL, Pairs, Retention, RetentionProgress
from exchange_platform.exchanges.simulated.states import Phase

SHARD = "shardId-000000000000@1"

START_US = 1_795_000_000_000_000


class MadeUpTime:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now_us: int = START_US) -> None:
        self.us = now_us

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / 1e6

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        self.us += int(max(0.0, timeout_s) * 1_000_000)
        return wake.is_set()


class RunningExchange:
    """An exchange on a journal, ticked by hand; `pairs` is all it has made public, `feed` all that the feed
    was told.
    """

    def __init__(
        self,
        path: Path,
        clock: MadeUpTime,
        *,
        rate: float = 50,
        seed: object = 1,
        pace: float = 1.0,
        retention: Retention = USUAL,
    ) -> None:
        self.clock = clock
        self.acknowledged: dict[str, str] = {}
        self.journal = Journal(path, retention)
        self.journal._db.execute("PRAGMA synchronous = OFF")  # a test's machine keeps its power
        restored = self.journal.restore(clock.now_us())
        chance = random.Random(f"{seed}/{restored.numbers.starts}")
        self.exchange = Exchange(
            self.journal,
            restored,
            clock=clock,
            chance=chance,
            rate=rate,
            pace=pace,
            acknowledged=lambda: self.acknowledged,
        )
        self.pairs: Pairs = []
        self.feed: list[FeedUpdate] = []

    def run(self, seconds: float, *, published: int | None = 0, tick_s: float = 0.05) -> Pairs:
        """Let so many seconds pass; what they made public. `published` None: as much as was committed."""
        before = len(self.pairs)
        for _ in range(round(seconds / tick_s)):
            sequence = self.journal.last_sequence if published is None else published
            self._tick(sequence, ())
            self.clock.us += round(tick_s * 1_000_000)
        return self.pairs[before:]

    def order(self, *orders: Order) -> list[BetUpdate]:
        """Let the orders arrive, and one tick take them; what it told of bets that came from orders."""
        before = len(self.pairs)
        position = str(int(self.journal.positions().get(SHARD, "0")) + len(orders))
        self._tick(0, [OrderBatch(SHARD, position, orders)])
        self.clock.us += 50_000
        told = [decode(data) for _, data in self.pairs[before:]]
        return [one for one in told if isinstance(one, BetUpdate) and not one.bet_id.isdigit()]

    def open_market(self, *, sport: str | None = None, lapsing: bool | None = None) -> LiveMarket:
        """A market that takes orders and is not in play yet."""
        return next(
            live
            for live in self.exchange.markets.values()
            if live.state.open
            and live.state.phase is Phase.PRE_PLAY
            and sport in (None, live.state.sport)
            and lapsing in (None, live.state.market.lapses_in_play)
        )

    def _tick(self, sequence: int, orders: Sequence[OrderBatch]) -> None:
        batch = self.exchange.tick(RetentionProgress(sequence, 1), orders)
        if batch is not None:
            self.pairs.extend(batch.pairs)
        self.feed.extend(decode_update(update) for update in self.journal.unfed)
        self.journal.fed()

    def retained(self) -> Pairs:
        """What the journal would give a stream that was made again."""
        batches = self.journal.batches(self.journal.settled_sequence, self.journal.last_sequence)
        return [pair for batch in batches for pair in batch.pairs]
