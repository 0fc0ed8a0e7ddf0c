"""One market: its books and bets, from the first order to the last settlement. Not here: when each happens
(lifecycle.py), what customers' orders wait for (waiting.py).

Whatever changes is reported to `Told` as records, in order. The newest record of a bet is its whole state.
The exchange knows a bet by a number; the bet's id is that number for a trader's, and the platform's own text
for one that came from `bet-orders`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import msgspec

from exchange_platform.domain.bets import BetStatus, Side, winnings_minor
from exchange_platform.domain.odds import MAX_ODDS, MIN_ODDS
from exchange_platform.domain.records import BetUpdate, Execution
from exchange_platform.exchanges.simulated.markets.book import Fill, OrderBook
from exchange_platform.exchanges.simulated.markets.ladder import is_on_ladder
from exchange_platform.exchanges.simulated.markets.orders import (
    MAX_STAKE_MINOR,
    MIN_STAKE_MINOR,
    NewOrder,
    OrderRefusal,
    OrderRefused,
)
from exchange_platform.exchanges.simulated.markets.settlement import (
    Outcome,
    SelectionKey,
    settle,
    settled,
    unsettled,
    voided,
)
from exchange_platform.exchanges.simulated.states import TRADED, MarketState

CURRENCY = "GBP"
NOTHING_MORE = "market order: nothing more to match with"
LESS_RESTED = "less of the replaced bet rested by then"

FINAL = (BetStatus.CANCELLED, BetStatus.LAPSED, BetStatus.VOIDED, BetStatus.REJECTED)
"""A bet with such a status is of no more concern to its market."""


class Told(Protocol):
    """Who is notified of what happens in markets."""

    def executed(self, execution: Execution) -> None:
        """Two bets were matched."""
        ...

    def changed(self, number: int, bet: BetUpdate) -> None:
        """A bet has a new state."""
        ...


class LiveMarket:
    """A market that still has something to happen. One thread."""

    def __init__(self, state: MarketState, told: Told, bets: Iterable[tuple[int, BetUpdate]] = ()) -> None:
        """`bets` are those stored, by number, in order of number: the order in which they were placed."""
        self.state = state
        self._told = told
        market = state.market
        self.market_id = market.market_id
        self.keys: tuple[SelectionKey, ...] = tuple(
            (selection.selection_id, selection.handicap) for selection in market.selections
        )
        self.books: dict[SelectionKey, OrderBook] = {key: OrderBook() for key in self.keys}
        self.bets: dict[int, BetUpdate] = {}
        self._numbers: dict[str, int] = {}
        """Of bets whose id is not their number."""
        self._pending: list[int] | None = None
        self._outcomes: dict[str, Outcome] = {}
        for number, bet in bets:
            self.bets[number] = bet
            if bet.bet_id != str(number):
                self._numbers[bet.bet_id] = number
            if bet.status is BetStatus.OPEN:
                book = self.books[bet.selection_id, bet.handicap]
                book.restore(number, bet.side, bet.odds, bet.remaining_minor)

    def number_of(self, bet_id: str) -> int | None:
        """The number of a bet that this market still has to do with, by its id."""
        number = self._numbers.get(bet_id)
        if number is None and bet_id.isascii() and bet_id.isdigit() and int(bet_id) in self.bets:
            number = int(bet_id)
        return number

    def check_open(self) -> None:
        """Raise `OrderRefused` unless orders are taken now."""
        state = self.state
        if state.phase not in TRADED:
            raise OrderRefused(OrderRefusal.MARKET_CLOSED, f"market {self.market_id} is {state.phase.value}")
        if state.suspended_until_us:
            raise OrderRefused(OrderRefusal.MARKET_SUSPENDED, f"market {self.market_id}")

    def check(self, order: NewOrder) -> OrderBook:
        """The book that takes this order. Raises `OrderRefused`."""
        self.check_open()
        book = self.books.get((order.selection_id, order.handicap))
        if book is None:
            raise OrderRefused(
                OrderRefusal.UNKNOWN_SELECTION,
                f"selection {order.selection_id} with handicap {order.handicap} in market {self.market_id}",
            )
        if order.odds is not None:
            check_ladder(order.odds)
        if not MIN_STAKE_MINOR <= order.stake_minor <= MAX_STAKE_MINOR:
            raise OrderRefused(
                OrderRefusal.INVALID_STAKE,
                f"{order.stake_minor} minor units; allowed are {MIN_STAKE_MINOR} to {MAX_STAKE_MINOR}",
            )
        return book

    def place(self, order: NewOrder, number: int, now: datetime) -> BetUpdate:
        """Take an order as bet `number`: match it, let the rest of a limit order rest. Raises `OrderRefused`.

        Reports for each fill the execution and the resting bet, then the new bet as it is after all of them.
        """
        self.check(order)
        market = self.state.market
        fills = self.books[order.selection_id, order.handicap].place(
            number, order.side, order.odds, order.stake_minor
        )
        bet_id = str(number)
        matched, winnings = self._fill(fills, order.side, order.selection_id, order.handicap, bet_id, now)
        rest = order.stake_minor - matched
        rests = order.odds is not None and rest > 0
        bet = BetUpdate(
            bet_id=bet_id,
            version=1,
            user_id=order.user_id,
            event_id=market.event_id,
            market_id=market.market_id,
            selection_id=order.selection_id,
            handicap=order.handicap,
            side=order.side,
            odds=order.odds or worst_odds(order.side),
            currency=CURRENCY,
            stake_minor=order.stake_minor,
            matched_minor=matched,
            remaining_minor=rest if rests else 0,
            cancelled_minor=0 if rests else rest,
            matched_winnings_minor=winnings,
            status=_after_matching(matched, rests),
            reason=None if rests or not rest else NOTHING_MORE,
            number_of_winners=market.number_of_winners,
            number_of_selections=len(market.selections),
            placed_at=now,
            updated_at=now,
        )
        self._keep(number, bet)
        return bet

    def keep(self, number: int, bet: BetUpdate) -> None:
        """Take a bet in as it is: one that waits, or one that is refused."""
        if bet.status not in FINAL and bet.bet_id != str(number):
            self._numbers[bet.bet_id] = number
        self._keep(number, bet)

    def match(
        self, number: int, bet: BetUpdate, amount_minor: int, now: datetime, *, market_order: bool
    ) -> None:
        """Match so much of a pending bet's remainder, let the rest of a limit order rest; what is beyond the
        amount is cancelled.

        The market is to be open, and the bet's selection one of its own.
        """
        self._numbers[bet.bet_id] = number
        fills = self.books[bet.selection_id, bet.handicap].place(
            number, bet.side, None if market_order else bet.odds, amount_minor
        )
        matched, winnings = self._fill(fills, bet.side, bet.selection_id, bet.handicap, bet.bet_id, now)
        rest = amount_minor - matched
        rests = not market_order and rest > 0
        less = bet.remaining_minor - amount_minor
        self._keep(
            number,
            msgspec.structs.replace(
                bet,
                version=bet.version + 1,
                matched_minor=matched,
                remaining_minor=rest if rests else 0,
                cancelled_minor=bet.cancelled_minor + less + (0 if rests else rest),
                matched_winnings_minor=winnings,
                status=_after_matching(matched, rests),
                reason=LESS_RESTED if less else NOTHING_MORE if rest and not rests else None,
                updated_at=now,
            ),
        )

    def cancel(self, number: int, size_minor: int | None, now: datetime) -> BetUpdate:
        """Take a resting bet's remainder, or so much of it, out.

        Raises `OrderRefused` for a bet that does not rest, and in a market that is being voided.
        """
        bet = self.bets.get(number)
        if bet is None or bet.status is not BetStatus.OPEN:
            raise OrderRefused(OrderRefusal.NOT_RESTING, f"bet {number} in market {self.market_id}")
        if self.state.phase not in TRADED:  # it waits for its turn to be voided
            raise OrderRefused(
                OrderRefusal.MARKET_CLOSED, f"market {self.market_id} is {self.state.phase.value}"
            )
        if size_minor is not None and size_minor <= 0:
            raise OrderRefused(OrderRefusal.INVALID_STAKE, f"{size_minor} minor units to cancel")
        taken = self.books[bet.selection_id, bet.handicap].reduce(number, size_minor)
        remaining = bet.remaining_minor - taken
        after = msgspec.structs.replace(
            bet,
            version=bet.version + 1,
            remaining_minor=remaining,
            cancelled_minor=bet.cancelled_minor + taken,
            status=_without_rest(bet, BetStatus.CANCELLED) if not remaining else BetStatus.OPEN,
            updated_at=now,
        )
        self._keep(number, after)
        return after

    def lapse(self, now: datetime, reason: str) -> None:
        """Let everything that rests lapse."""
        for book in self.books.values():
            for number in sorted(order.number for order in book):
                bet = self.bets[number]
                book.reduce(number)
                self._keep(
                    number,
                    msgspec.structs.replace(
                        bet,
                        version=bet.version + 1,
                        remaining_minor=0,
                        lapsed_minor=bet.lapsed_minor + bet.remaining_minor,
                        status=_without_rest(bet, BetStatus.LAPSED),
                        reason=reason,
                        updated_at=now,
                    ),
                )

    def settle_some(self, most: int, now: datetime) -> bool:
        """Settle up to `most` of the bets that aren't yet, by `state.winners`; whether all are settled now.

        Outcomes are a function of the bets' matches and the winners alone, so a settlement that was cut off
        by a restart goes on with the same ones.
        """
        if self._pending is None:
            winners = {self.keys[place] for place in self.state.winners}
            self._outcomes = settle(self.bets.values(), winners)
            self._begin(BetStatus.MATCHED, BetStatus.UNSETTLED)
        return self._work_off(most, lambda bet: settled(bet, self._outcomes[bet.bet_id], now))

    def unsettle_some(self, most: int, now: datetime) -> bool:
        """Take back the settlement of up to `most` bets; whether none is settled now."""
        if self._pending is None:
            self._begin(BetStatus.SETTLED)
        return self._work_off(most, lambda bet: unsettled(bet, now))

    def void_some(self, most: int, now: datetime, reason: str) -> bool:
        """Void up to `most` bets, resting ones included; whether none is left."""
        if self._pending is None:
            for book in self.books.values():
                for order in list(book):
                    book.reduce(order.number)
            self._begin(BetStatus.OPEN, BetStatus.MATCHED, BetStatus.SETTLED, BetStatus.UNSETTLED)
        return self._work_off(most, lambda bet: voided(bet, now, reason))

    def _begin(self, *statuses: BetStatus) -> None:
        self._pending = [number for number, bet in self.bets.items() if bet.status in statuses]
        self._pending.reverse()

    def _work_off(self, most: int, change: Callable[[BetUpdate], BetUpdate]) -> bool:
        pending = self._pending
        assert pending is not None
        for _ in range(min(most, len(pending))):
            number = pending.pop()
            self._keep(number, change(self.bets[number]))
        if pending:
            return False
        self._pending = None
        self._outcomes = {}
        return True

    def _fill(
        self,
        fills: list[Fill],
        side: Side,
        selection_id: int,
        handicap: Decimal,
        bet_id: str,
        now: datetime,
    ) -> tuple[int, int]:
        """Tell each fill and its resting bet; what was matched of the arriving one, and what its backer wins
        by it.
        """
        state = self.state
        backs = side is Side.BACK
        matched = winnings = 0
        for fill in fills:
            won = winnings_minor(fill.stake_minor, fill.odds)
            matched += fill.stake_minor
            winnings += won
            resting = self.bets[fill.resting]
            self._told.executed(
                Execution(
                    execution_id=f"{self.market_id}-{state.next_execution:010d}",
                    event_id=state.market.event_id,
                    market_id=self.market_id,
                    selection_id=selection_id,
                    handicap=handicap,
                    odds=fill.odds,
                    stake=Decimal(fill.stake_minor).scaleb(-2),
                    executed_at=now,
                    back_bet_id=bet_id if backs else resting.bet_id,
                    lay_bet_id=resting.bet_id if backs else bet_id,
                )
            )
            state.next_execution += 1
            remaining = resting.remaining_minor - fill.stake_minor
            self._keep(
                fill.resting,
                msgspec.structs.replace(
                    resting,
                    version=resting.version + 1,
                    matched_minor=resting.matched_minor + fill.stake_minor,
                    remaining_minor=remaining,
                    matched_winnings_minor=resting.matched_winnings_minor + won,
                    status=BetStatus.OPEN if remaining else BetStatus.MATCHED,
                    updated_at=now,
                ),
            )
        state.traded_minor += matched
        return matched, winnings

    def _keep(self, number: int, bet: BetUpdate) -> None:
        if bet.status in FINAL:
            self.bets.pop(number, None)
            self._numbers.pop(bet.bet_id, None)
        else:
            self.bets[number] = bet
        self._told.changed(number, bet)


def check_ladder(odds: Decimal) -> None:
    """Raise `OrderRefused` unless a customer may ask for these odds."""
    if not is_on_ladder(odds):
        raise OrderRefused(OrderRefusal.INVALID_ODDS, f"{odds} is not on the price ladder")


def worst_odds(side: Side) -> Decimal:
    """The worst odds that there are for this side: what a market order takes if need be."""
    return MIN_ODDS if side is Side.BACK else MAX_ODDS


def _after_matching(matched_minor: int, rests: bool) -> BetStatus:
    if rests:
        return BetStatus.OPEN
    return BetStatus.MATCHED if matched_minor else BetStatus.CANCELLED


def _without_rest(bet: BetUpdate, nothing_matched: BetStatus) -> BetStatus:
    return BetStatus.MATCHED if bet.matched_minor else nothing_matched
