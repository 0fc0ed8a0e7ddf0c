"""The exchange itself: markets, orders, ticks. Single-threaded. Not here: time and the stream (process.py), memory (journal.py)."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from exchange_platform.bets import Bet
from exchange_platform.clock import Clock
from exchange_platform.exchanges.simulated.fixtures import Fixtures
from exchange_platform.exchanges.simulated.journal import Batch, Journal, Pairs, Progress, Restored, Tick
from exchange_platform.exchanges.simulated.ladder import is_on_ladder
from exchange_platform.exchanges.simulated.lifecycle import Lifecycle
from exchange_platform.exchanges.simulated.market import LiveMarket, MarketState, Phase
from exchange_platform.exchanges.simulated.orders import NewOrder, OrderRefused, Refusal
from exchange_platform.exchanges.simulated.traders import Traders
from exchange_platform.records import BetUpdate, Execution, Record, encode

TICK_S = 0.05
LIVE_MARKETS = 16
_CONCLUDING = 4
"""Markets beyond `LIVE_MARKETS` that may still be waiting for their result."""
_FORGET_EVERY = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Exchange:
    """An exchange with its traders, from where its journal left it.

    `place`, `cancel` and `replace` are what a customer can do; they take effect at once, and become durable and public
    with the tick that follows. `tick` is to be called every `TICK_S` seconds.
    """

    def __init__(
        self,
        journal: Journal,
        restored: Restored,
        *,
        clock: Clock,
        chance: random.Random,
        rate: float,
        pace: float = 1.0,
    ) -> None:
        """`rate` is executions a second; `pace` how much faster than usual markets live; `chance` decides the rest."""
        self._journal = journal
        self._clock = clock
        self._numbers = restored.numbers
        self._chance = chance
        self._fixtures = Fixtures(chance, restored.numbers.next_fixture)
        self._lifecycle = Lifecycle(chance, bets_a_step=max(100, int(rate / 2)), pace=pace)
        self._traders = Traders(self, chance, rate=rate)
        self._pairs: Pairs = []
        self._changed: dict[str, tuple[BetUpdate, bytes]] = {}
        self._executions = 0
        self._finished = 0
        self._last_us = 0
        self._last_tick_s: float | None = None
        self._ticks = 0
        self.markets: dict[str, LiveMarket] = {
            state.market.market_id: LiveMarket(state, self._emit, bets) for state, bets in restored.markets
        }

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
            raise OrderRefused(Refusal.UNKNOWN_MARKET, f"market {order.market_id}")
        bet = live.place(order, self._numbers.next_bet, self._now())
        self._numbers.next_bet += 1
        return bet

    def cancel(self, bet_id: str, size_minor: int | None = None) -> Bet:
        """Take a resting bet's remainder, or so much of it, out. Returns the bet as it is then. Raises `OrderRefused`."""
        live, number = self._find(bet_id)
        return live.cancel(number, size_minor, self._now())

    def replace(self, bet_id: str, odds: Decimal) -> Bet:
        """Cancel a resting bet's remainder and place it anew at other odds, behind all others of that price.

        Returns the new bet. Raises `OrderRefused`, and then the old one rests as before.
        """
        live, number = self._find(bet_id)
        bet = live.bets.get(number)
        if bet is None:
            raise OrderRefused(Refusal.NOT_RESTING, f"bet {bet_id}")
        if not is_on_ladder(odds):
            raise OrderRefused(Refusal.INVALID_ODDS, f"{odds} is not on the price ladder")
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

    def tick(self, progress: Progress) -> Batch | None:
        """Let time pass: markets go on, traders trade, and all of it is made durable.

        The returned batch may be published; it is in the journal. `progress`, how far publishing has come, is stored with it.
        """
        now_us = self._now_us()
        now = _instant(now_us)
        elapsed_s = self._elapsed_s()
        for live in list(self.markets.values()):
            self._lifecycle.advance(live, now_us, now)
        finished = [one for one, live in self.markets.items() if live.state.phase is Phase.FINISHED]
        for market_id in finished:
            del self.markets[market_id]
        self._finished += len(finished)
        self._open_markets(now_us)
        self._traders.act(self.markets.values(), elapsed_s, now)
        return self._commit(progress, finished)

    def note(self, progress: Progress) -> Batch | None:
        """Let no time pass, only make durable how far publishing has come: what a paused exchange does."""
        self._last_tick_s = None
        return self._commit(progress, [])

    def _commit(self, progress: Progress, finished: list[str]) -> Batch | None:
        self._numbers.next_fixture = self._fixtures.next_number
        states: list[MarketState] = [live.state for live in self.markets.values()]
        tick = Tick(self._numbers, states, self._changed, finished, self._pairs)
        batch = self._journal.commit(tick, progress, self._last_us)
        self._changed, self._pairs = {}, []
        self._ticks += 1
        if self._ticks % _FORGET_EVERY == 0:
            self._journal.forget(self._last_us)
        return batch

    def _open_markets(self, now_us: int) -> None:
        first = not self.markets
        while True:
            traded = sum(
                1 for live in self.markets.values() if live.state.phase in (Phase.PRE_PLAY, Phase.IN_PLAY)
            )
            if traded >= LIVE_MARKETS or len(self.markets) >= LIVE_MARKETS + _CONCLUDING:
                return
            elapsed = self._chance.uniform(0, 0.8) if first else 0.0
            for state in self._lifecycle.open_markets(self._fixtures.next_event(), now_us, elapsed=elapsed):
                self.markets[state.market.market_id] = LiveMarket(state, self._emit)

    def _emit(self, record: Record) -> None:
        data = encode(record)
        self._pairs.append((record.market_id, data))
        if isinstance(record, Execution):
            self._executions += 1
        else:
            self._changed[record.bet_id] = (record, data)

    def _find(self, bet_id: str) -> tuple[LiveMarket, int]:
        if bet_id.isascii() and bet_id.isdigit():
            number = int(bet_id)
            for live in self.markets.values():
                if number in live.bets:
                    return live, number
        raise OrderRefused(Refusal.NOT_RESTING, f"bet {bet_id}")

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
