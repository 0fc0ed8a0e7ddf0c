"""The exchange as tests drive it: the real desk, books, settlement and journal, in a time and an order of the
test's own.

Not here: traders, fixtures and the passing of time (exchanges/simulated/running.py has the whole exchange).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from exchange_platform.domain.bets import Side
from exchange_platform.domain.orders import decode_order
from exchange_platform.domain.records import BetUpdate, Execution, encode
from exchange_platform.exchanges.simulated.desk import OrderBatch, OrderDesk
from exchange_platform.exchanges.simulated.fixtures import Market, Selection
from exchange_platform.exchanges.simulated.journal import Journal, Numbers, Tick
from exchange_platform.exchanges.simulated.markets.market import LiveMarket
from exchange_platform.exchanges.simulated.markets.orders import NewOrder, OrderRefused
from exchange_platform.exchanges.simulated.markets.waiting import place_due, refuse_waiting
from exchange_platform.exchanges.simulated.retention import RetentionProgress
from exchange_platform.exchanges.simulated.states import TRADED, Fate, MarketState, Phase
from exchange_platform.process.clock import Clock
from exchange_platform.stores.operational.database import from_us

SHARD = "shardId-000000000000@1"
TRADER = "trader"
_NEVER_US = 2**60


class AnsweringExchange:
    """Markets that take orders, and what they told: `told` is every bet update since this object was made,
    once it was committed.
    """

    def __init__(
        self, path: Path, clock: Clock, *, winners: dict[str, int], selections: int, event_id: str
    ) -> None:
        """`winners` are how many selections win, a market."""
        self._path = path
        self._clock = clock
        self._shape = (winners, selections, event_id)
        self.told: list[BetUpdate] = []
        self._fresh: list[BetUpdate] = []
        self._changed: dict[int, tuple[BetUpdate, bytes]] = {}
        self._open()

    def _open(self) -> None:
        winners, selections, event_id = self._shape
        self.journal = Journal(self._path)
        self.journal._db.execute("PRAGMA synchronous = OFF")  # a test's machine keeps its power
        restored = self.journal.restore(self._clock.now_us())
        self._numbers: Numbers = restored.numbers
        self.markets = {
            state.market.market_id: LiveMarket(state, self, bets) for state, bets in restored.markets
        }
        if not self.markets:
            for market_id, count in winners.items():
                market = Market(
                    market_id=market_id,
                    event_id=event_id,
                    name=market_id,
                    selections=tuple(
                        Selection(number, str(number), count / selections)
                        for number in range(1, selections + 1)
                    ),
                    number_of_winners=count,
                )
                state = MarketState(
                    market=market,
                    event_name=event_id,
                    sport="cricket",
                    fate=Fate.SETTLED,
                    in_play_at_us=_NEVER_US,
                    closes_at_us=_NEVER_US,
                    chances=[],
                )
                self.markets[market_id] = LiveMarket(state, self)
        self.desk = OrderDesk(
            self.markets, self._numbers, self.journal, self, is_announced=lambda market_id: False
        )

    # What the markets tell.

    def executed(self, execution: Execution) -> None:
        """Two bets were matched."""

    def changed(self, number: int, bet: BetUpdate) -> None:
        """A bet has a new state."""
        self._changed[number] = (bet, encode(bet))
        self._fresh.append(bet)

    # What a test lets happen; each is durable and told when it returns.

    def take(self, records: Sequence[bytes], position: int) -> None:
        """Take orders, as they were read from the stream up to a position."""
        now_us = self._clock.now_us()
        orders = [decode_order(data) for data in records]
        self.desk.take([OrderBatch(SHARD, str(position), orders)], now_us, from_us(now_us))
        self._commit()

    def trade(
        self, market_id: str, selection_id: int, side: Side, odds: Decimal | None, stake_minor: int
    ) -> None:
        """Let a trader place an order."""
        live = self.markets[market_id]
        number = self._numbers.next_bet
        try:
            live.place(
                NewOrder(
                    user_id=TRADER,
                    market_id=market_id,
                    selection_id=selection_id,
                    side=side,
                    odds=odds,
                    stake_minor=stake_minor,
                ),
                number,
                from_us(self._clock.now_us()),
            )
        except OrderRefused:
            return
        self._numbers.next_bet += 1
        self._commit()

    def set_bet_delay(self, market_id: str, seconds: float) -> None:
        """Let the market be in play, with a delay, or no more of one."""
        state = self.markets[market_id].state
        if state.phase in TRADED:
            state.phase = Phase.IN_PLAY
            state.bet_delay_s = seconds
            self._commit()

    def place_due(self, market_id: str) -> None:
        """Place the bets whose delay is over."""
        live, now_us = self.markets[market_id], self._clock.now_us()
        if live.state.phase in TRADED:
            place_due(live, now_us, from_us(now_us))
            self._commit()

    def is_open(self, market_id: str) -> bool:
        """Whether the market takes orders."""
        return self.markets[market_id].state.phase in TRADED

    def close_market(self, market_id: str) -> None:
        """Close the market: what rests lapses, what waits is refused."""
        live, now = self.markets[market_id], from_us(self._clock.now_us())
        if live.state.phase in TRADED:
            live.state.phase = Phase.CLOSED
            refuse_waiting(live, now, "market closed")
            live.lapse(now, "market closed")
            self._commit()

    def conclude(
        self, market_id: str, winners: Sequence[int], most: int, *, otherwise: bool = False
    ) -> Phase:
        """Go on towards the market's end, some bets at a time: close it, settle it by these winners.

        `otherwise`: void it, or take a settlement back to settle again. Says where the market is then.
        """
        live, now = self.markets[market_id], from_us(self._clock.now_us())
        state = live.state
        if state.phase in TRADED:
            self.close_market(market_id)
            return state.phase
        if state.phase is Phase.CLOSED:
            state.winners = sorted(winners)
            state.phase = Phase.VOIDING if otherwise else Phase.SETTLING
        elif state.phase is Phase.SETTLED and otherwise:
            state.phase = Phase.UNSETTLING
        if state.phase is Phase.SETTLING:
            state.phase = Phase.SETTLED if live.settle_some(most, now) else state.phase
        elif state.phase is Phase.UNSETTLING:
            state.phase = Phase.CLOSED if live.unsettle_some(most, now) else state.phase
        elif state.phase is Phase.VOIDING:
            state.phase = Phase.FINISHED if live.void_some(most, now, "market void") else state.phase
        self._commit()
        return state.phase

    def restart(self) -> None:
        """Die and come back with what the journal has."""
        self.journal.close()
        self._fresh, self._changed = [], {}
        self._open()

    def bet(self, bet_id: str) -> BetUpdate | None:
        """The newest state of a bet that came from an order, as the gateway would answer."""
        return self.journal.taken_bet(bet_id)

    def _commit(self) -> None:
        orders, positions = self.desk.taken()
        tick = Tick(
            self._numbers,
            [live.state for live in self.markets.values()],
            self._changed,
            pairs=[(bet.market_id, data) for bet, data in self._changed.values()],
            orders=orders,
            positions=positions,
        )
        self.journal.commit(tick, RetentionProgress(), self._clock.now_us())
        self.told += self._fresh
        self._fresh, self._changed = [], {}
