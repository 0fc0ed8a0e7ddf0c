"""The exchange itself: markets, orders, ticks. Single-threaded. Not here: time and the stream (process.py),
memory (journal.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from exchange_platform.domain.bets import Bet
from exchange_platform.domain.records import BetUpdate, Execution, encode
from exchange_platform.exchanges.simulated.desk import OrderBatch, OrderDesk
from exchange_platform.exchanges.simulated.feeding import Feeding
from exchange_platform.exchanges.simulated.fixtures import Fixtures
from exchange_platform.exchanges.simulated.journal import Journal, JournalBatch, RestoredExchange, Tick
from exchange_platform.exchanges.simulated.lifecycle import Lifecycle
from exchange_platform.exchanges.simulated.markets.market import LiveMarket, check_ladder
from exchange_platform.exchanges.simulated.markets.orders import NewOrder, OrderRefusal, OrderRefused
from exchange_platform.exchanges.simulated.markets.traders import Traders
from exchange_platform.exchanges.simulated.programme import LIVE_MARKETS, Programme
from exchange_platform.exchanges.simulated.retention import Pairs, RetentionProgress
from exchange_platform.exchanges.simulated.states import TRADED, Phase
from exchange_platform.process.clock import Clock

TICK_S = 0.05
_CONCLUDING = 4
"""Markets beyond those traded at once that may still be waiting for their result."""
_FORGET_EVERY = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Exchange:
    """An exchange with its traders, from where its journal left it.

    `place`, `cancel` and `replace` are what a trader can do, `desk` takes what customers order; both take
    effect at once, and become durable and public with the tick that follows. `tick` is to be called every
    `TICK_S` seconds.
    """

    def __init__(
        self,
        journal: Journal,
        restored: RestoredExchange,
        *,
        clock: Clock,
        chance: random.Random,
        rate: float,
        pace: float = 1.0,
        acknowledged: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`rate` is executions a second; `pace` how much faster than usual markets live; `chance` decides the
        rest.

        `acknowledged` says up to where the platform has committed each shard of the stream of records.
        """
        self._acknowledged = acknowledged
        self._journal = journal
        self._clock = clock
        self._numbers = restored.numbers
        self._fixtures = Fixtures(chance, restored.numbers.next_fixture)
        self._programme = Programme(self._fixtures, chance, restored.events, pace=pace)
        self._lifecycle = Lifecycle(chance, self._programme, bets_a_step=max(100, int(rate / 2)), pace=pace)
        self._feeding = Feeding(self._programme)
        self._traders = Traders(self, chance, rate=rate)
        self._pairs: Pairs = []
        self._changed: dict[int, tuple[BetUpdate, bytes]] = {}
        self._executions = 0
        self._finished = 0
        self._last_us = 0
        self._last_tick_s: float | None = None
        self._ticks = 0
        self.markets: dict[str, LiveMarket] = {
            state.market.market_id: LiveMarket(state, self, bets) for state, bets in restored.markets
        }
        self.desk = OrderDesk(
            self.markets, restored.numbers, journal, self, is_announced=self._programme.is_announced
        )

    @property
    def executions(self) -> int:
        """Executions since this object was made."""
        return self._executions

    @property
    def finished(self) -> int:
        """Markets settled for good, or void, since this object was made."""
        return self._finished

    def place(self, order: NewOrder) -> Bet:
        """Take an order. Returns the new bet as it is after matching. Raises `OrderRefused`."""
        live = self.markets.get(order.market_id)
        if live is None:
            raise OrderRefused(OrderRefusal.UNKNOWN_MARKET, f"market {order.market_id}")
        bet = live.place(order, self._numbers.next_bet, self._now())
        self._numbers.next_bet += 1
        return bet

    def cancel(self, bet_id: str, size_minor: int | None = None) -> Bet:
        """Take a resting bet's remainder, or so much of it, out. Returns the bet as it is then. Raises
        `OrderRefused`.
        """
        live, number = self._find(bet_id)
        return live.cancel(number, size_minor, self._now())

    def replace(self, bet_id: str, odds: Decimal) -> Bet:
        """Cancel a resting bet's remainder and place it again at other odds, behind all others of that price.

        Returns the new bet. Raises `OrderRefused`, and then the old one rests as before.
        """
        live, number = self._find(bet_id)
        bet = live.bets.get(number)
        if bet is None:
            raise OrderRefused(OrderRefusal.NOT_RESTING, f"bet {bet_id}")
        check_ladder(odds)
        order = NewOrder(
            user_id=bet.user_id,
            market_id=bet.market_id,
            selection_id=bet.selection_id,
            handicap=bet.handicap,
            side=bet.side,
            odds=odds,
            stake_minor=bet.remaining_minor,
        )
        live.check(order)
        live.cancel(number, None, self._now())
        return self.place(order)

    def tick(self, progress: RetentionProgress, orders: Sequence[OrderBatch] = ()) -> JournalBatch | None:
        """Let time pass: events and markets go on, customers' orders are taken, traders trade, and all of it
        is made durable.

        The returned batch may be published; it is in the journal. `progress`, how far publishing has come, is
        stored with it, and so is up to where `orders` were read.
        """
        now_us = self._now_us()
        now = _instant(now_us)
        elapsed_s = self._elapsed_s()
        for happening in self._programme.play(now_us):
            for market in happening.event.event.markets:
                if (live := self.markets.get(market.market_id)) is not None:
                    if happening.abandoned:
                        self._lifecycle.abandon(live, now_us, now)
                    else:
                        self._lifecycle.interrupt(live, now_us, now)
        for live in self.markets.values():
            self._lifecycle.advance(live, now_us, now)
        self._open_markets(now_us)
        self.desk.take(orders, now_us, now)
        self._traders.act(self.markets.values(), elapsed_s, now)
        return self._commit(progress, now_us)

    def note(self, progress: RetentionProgress) -> JournalBatch | None:
        """Let no time pass, only make durable how far publishing has come: what a paused exchange does."""
        self._last_tick_s = None
        batch = self._commit(progress, self._now_us())
        self._journal.write_sums()
        return batch

    def executed(self, execution: Execution) -> None:
        """Remember it for the tick's records."""
        self._pairs.append((execution.market_id, encode(execution)))
        self._journal.sums.execution(execution)
        self._executions += 1

    def changed(self, number: int, bet: BetUpdate) -> None:
        """Remember it for the tick's records and the journal."""
        data = encode(bet)
        self._pairs.append((bet.market_id, data))
        self._journal.sums.bet(bet)
        self._changed[number] = (bet, data)

    def _commit(self, progress: RetentionProgress, now_us: int) -> JournalBatch | None:
        programme = self._programme
        states = [live.state for live in self.markets.values()]
        updates = self._feeding.updates(states, now_us)
        finished = [state.market.market_id for state in states if state.phase is Phase.FINISHED]
        for market_id in finished:
            del self.markets[market_id]
        self._finished += len(finished)
        programme.drop(finished)
        self._feeding.forget(programme.gone, finished)
        self._numbers.next_fixture = self._fixtures.next_number
        orders, positions = self.desk.taken()
        tick = Tick(
            self._numbers,
            [live.state for live in self.markets.values()],
            self._changed,
            finished,
            self._pairs,
            list(programme.touched.values()),
            programme.gone,
            updates,
            orders,
            positions,
        )
        batch = self._journal.commit(tick, progress, self._last_us)
        self._changed, self._pairs = {}, []
        programme.touched, programme.gone = {}, []
        self._ticks += 1
        if self._ticks % _FORGET_EVERY == 0:
            self._journal.forget(self._last_us, self._acknowledged())
        return batch

    def _open_markets(self, now_us: int) -> None:
        self._programme.plan(now_us)
        while (state := self._programme.due(now_us, room=self._has_room())) is not None:
            for market in self._lifecycle.open_markets(state, now_us):
                self.markets[market.market.market_id] = LiveMarket(market, self)
            self._programme.opened(state)

    def _has_room(self) -> bool:
        traded = sum(1 for live in self.markets.values() if live.state.phase in TRADED)
        return traded < LIVE_MARKETS and len(self.markets) < LIVE_MARKETS + _CONCLUDING

    def _find(self, bet_id: str) -> tuple[LiveMarket, int]:
        for live in self.markets.values():
            number = live.number_of(bet_id)
            if number is not None:
                return live, number
        raise OrderRefused(OrderRefusal.NOT_RESTING, f"bet {bet_id}")

    def _now_us(self) -> int:
        self._last_us = max(self._last_us, self._clock.now_us())
        return self._last_us

    def _now(self) -> datetime:
        return _instant(self._now_us())

    def _elapsed_s(self) -> float:
        monotonic_s = self._clock.monotonic_s()
        elapsed_s = TICK_S if self._last_tick_s is None else monotonic_s - self._last_tick_s
        self._last_tick_s = monotonic_s
        return elapsed_s


def _instant(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
