"""The desk: takes what customers order through `bet-orders` and answers it with bet updates. Not here:
reading the stream (intake.py), what a bet delay does (waiting.py), matching (market.py).

Every order is taken once: a repeat is known by its order's id, and by its bet's. An order that can be
answered is answered with the bet's newest state; a cancel of a bet that nothing rests of changes nothing and
is only noted.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.orders import (
    CancelOrder,
    Order,
    PlaceOrder,
    ReplaceOrder,
    UndecodableRecord,
    decode_order,
    encode_order,
)
from exchange_platform.domain.records import BetUpdate
from exchange_platform.exchanges.simulated.journal import ORDERS_KEPT_S, Journal, Numbers, TakenOrder
from exchange_platform.exchanges.simulated.markets.market import (
    CURRENCY,
    LiveMarket,
    Told,
    check_ladder,
    worst_odds,
)
from exchange_platform.exchanges.simulated.markets.orders import NewOrder, OrderRefusal, OrderRefused
from exchange_platform.exchanges.simulated.markets.waiting import (
    cancel_waiting,
    reduced,
    refused,
    replace,
    wait,
)
from exchange_platform.exchanges.simulated.states import Phase, WaitingOrder

log = logging.getLogger(__name__)

TOO_OLD_S = ORDERS_KEPT_S - 24 * 3600
"""An order that is older could be the repeat of one that is no longer remembered: it is not taken."""
_MAX_VERSION = 2**31 - 100_000
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True)
class OrderBatch:
    """What was read from one shard of `bet-orders`: whole records up to and including `position`, undecodable
    ones left out.
    """

    shard: str
    position: str
    orders: Sequence[Order]
    undecodable: int = 0


@dataclass(slots=True)
class _Tick:
    """What was taken since the last commit; the journal does not know it yet."""

    orders: dict[str, TakenOrder] = field(default_factory=dict)
    bets: dict[str, BetUpdate] = field(default_factory=dict)
    """New bets, by id, as they came."""
    positions: dict[str, str] = field(default_factory=dict)


class OrderDesk:
    """Takes orders, each in the tick after it was read. One thread; what it did is durable with the tick's
    commit.
    """

    def __init__(
        self,
        markets: Mapping[str, LiveMarket],
        numbers: Numbers,
        journal: Journal,
        told: Told,
        *,
        is_announced: Callable[[str], bool],
    ) -> None:
        self._markets = markets
        self._numbers = numbers
        self._journal = journal
        self._told = told
        self._is_announced = is_announced
        self._tick = _Tick()
        self.counts: Counter[str] = Counter()
        """Orders since the start by what came of them: taken, refused, repeats, unanswerable, undecodable."""

    def take(self, batches: Iterable[OrderBatch], now_us: int, now: datetime) -> None:
        """Take what was read, in order."""
        for batch in batches:
            for order in batch.orders:
                self._take(order, now_us, now)
            self.counts["undecodable"] += batch.undecodable
            self._tick.positions[batch.shard] = batch.position

    def taken(self) -> tuple[list[TakenOrder], dict[str, str]]:
        """The orders and positions that are to be made durable with this tick, once."""
        tick, self._tick = self._tick, _Tick()
        return list(tick.orders.values()), tick.positions

    def _take(self, order: Order, now_us: int, now: datetime) -> None:
        if order.order_id in self._tick.orders or self._journal.has_order(order.order_id):
            self.counts["repeats"] += 1
            return
        if now_us - order.ordered_at.timestamp() * 1e6 > TOO_OLD_S * 1e6:
            self._note(order, "too old to be known from a repeat", "unanswerable")
        elif isinstance(order, PlaceOrder):
            self._place(order, now_us, now)
        elif isinstance(order, CancelOrder):
            self._cancel(order, now)
        else:
            self._replace(order, now_us, now)

    def _place(self, order: PlaceOrder, now_us: int, now: datetime) -> None:
        if not self._can_answer(order, order.bet_id, order.version):
            return
        live = self._markets.get(order.market_id)
        market = live.state.market if live is not None else None
        bet = BetUpdate(
            bet_id=order.bet_id,
            version=order.version,
            user_id=order.user_id,
            event_id=order.event_id,
            market_id=order.market_id,
            selection_id=order.selection_id,
            handicap=order.handicap,
            side=order.side,
            odds=order.odds or worst_odds(order.side),
            currency=order.currency,
            stake_minor=order.stake_minor,
            remaining_minor=order.stake_minor,
            status=BetStatus.PENDING,
            number_of_winners=market.number_of_winners if market is not None else 1,
            number_of_selections=len(market.selections) if market is not None else 2,
            placed_at=order.ordered_at,
            updated_at=now,
        )
        number = self._number()
        self._tick.bets[order.bet_id] = bet
        for early in self._early(order.bet_id):
            if early.user_id == order.user_id and bet.remaining_minor:
                bet = reduced(bet, early.size_minor, now, "cancelled before it was taken")
        if not bet.remaining_minor:
            self._told.changed(number, bet)
            self._note(order, "cancelled before it was taken", "taken")
            return
        try:
            live = self._market(order.market_id)
            if order.event_id != live.state.market.event_id:
                raise OrderRefused(
                    OrderRefusal.WRONG_EVENT, f"market {order.market_id} is not of event {order.event_id}"
                )
            if order.currency != CURRENCY:
                raise OrderRefused(OrderRefusal.CURRENCY, f"{order.currency}; allowed is {CURRENCY}")
            live.check(
                NewOrder(
                    user_id=order.user_id,
                    market_id=order.market_id,
                    selection_id=order.selection_id,
                    handicap=order.handicap,
                    side=order.side,
                    odds=order.odds,
                    stake_minor=order.stake_minor,
                )
            )
        except OrderRefused as refusal:
            self._refuse(order, number, bet, refusal, now)
            return
        waiting = self._waiting(live, number, now_us, market_order=order.odds is None)
        if waiting is not None:
            wait(live, bet, waiting, now)
        else:
            live.match(number, bet, bet.remaining_minor, now, market_order=order.odds is None)
        self._note(order, "waits" if waiting is not None else "placed", "taken")

    def _cancel(self, order: CancelOrder, now: datetime) -> None:
        live = self._markets.get(order.market_id)
        number = live.number_of(order.bet_id) if live is not None else None
        if live is None or number is None:
            if order.bet_id in self._tick.bets or self._journal.taken_bet(order.bet_id) is not None:
                self._note(order, f"refused: {OrderRefusal.NOT_RESTING.value}", "refused")
            else:
                self._tick.orders[order.order_id] = TakenOrder(
                    order.order_id, order.bet_id, "early", encode_order(order)
                )
                self.counts["taken"] += 1
            return
        try:
            bet = live.bets[number]
            if bet.user_id != order.user_id:
                raise OrderRefused(
                    OrderRefusal.NOT_THE_OWNERS, f"bet {order.bet_id} is not {order.user_id}'s"
                )
            if bet.status is BetStatus.PENDING:
                cancel_waiting(live, number, order.size_minor, now)
            else:
                live.cancel(number, order.size_minor, now)
        except OrderRefused as refusal:
            self._note(order, f"refused: {refusal}", "refused")
        else:
            self._note(order, "cancelled", "taken")

    def _replace(self, order: ReplaceOrder, now_us: int, now: datetime) -> None:
        if not self._can_answer(order, order.new_bet_id, order.new_version):
            return
        live = self._markets.get(order.market_id)
        replaced = live.number_of(order.bet_id) if live is not None else None
        old = live.bets[replaced] if live is not None and replaced is not None else None
        if old is None:
            old = self._tick.bets.get(order.bet_id) or self._journal.taken_bet(order.bet_id)
        if old is None or old.market_id != order.market_id:
            self._note(
                order, f"bet {order.bet_id} was never taken in market {order.market_id}", "unanswerable"
            )
            return
        bet = BetUpdate(
            bet_id=order.new_bet_id,
            version=order.new_version,
            user_id=order.user_id,
            event_id=old.event_id,
            market_id=old.market_id,
            selection_id=old.selection_id,
            handicap=old.handicap,
            side=old.side,
            odds=order.odds,
            currency=old.currency,
            stake_minor=order.stake_minor,
            remaining_minor=order.stake_minor,
            status=BetStatus.PENDING,
            number_of_winners=old.number_of_winners,
            number_of_selections=old.number_of_selections,
            placed_at=order.ordered_at,
            updated_at=now,
        )
        number = self._number()
        self._tick.bets[order.new_bet_id] = bet
        try:
            if old.user_id != order.user_id:
                raise OrderRefused(
                    OrderRefusal.NOT_THE_OWNERS, f"bet {order.bet_id} is not {order.user_id}'s"
                )
            live = self._market(order.market_id)
            live.check_open()
            check_ladder(order.odds)
            if replaced is None or old.status is not BetStatus.OPEN:
                raise OrderRefused(OrderRefusal.NOT_RESTING, f"bet {order.bet_id}")
        except OrderRefused as refusal:
            self._refuse(order, number, bet, refusal, now)
            return
        waiting = self._waiting(live, number, now_us, replaces=replaced)
        if waiting is not None:
            wait(live, bet, waiting, now)
        else:
            replace(live, number, bet, replaced, now)
        self._note(order, "waits" if waiting is not None else "replaced", "taken")

    def _market(self, market_id: str) -> LiveMarket:
        """The market, if it is one that has opened and is not done with. Raises `OrderRefused`."""
        live = self._markets.get(market_id)
        if live is None:
            announced = self._is_announced(market_id)
            raise OrderRefused(
                OrderRefusal.MARKET_INACTIVE if announced else OrderRefusal.UNKNOWN_MARKET,
                f"market {market_id}",
            )
        return live

    def _waiting(
        self,
        live: LiveMarket,
        number: int,
        now_us: int,
        *,
        market_order: bool = False,
        replaces: int | None = None,
    ) -> WaitingOrder | None:
        """How the bet has to wait; None: not at all."""
        delay_s = live.state.bet_delay_s if live.state.phase is Phase.IN_PLAY else 0.0
        if not delay_s:
            return None
        return WaitingOrder(number, now_us + int(delay_s * 1e6), market_order, replaces)

    def _can_answer(self, order: Order, bet_id: str, version: int) -> bool:
        """Whether the bet is a new one, and one that may be reported under its id."""
        if bet_id in self._tick.bets or self._journal.taken_bet(bet_id) is not None:
            self.counts["repeats"] += 1
            return False
        if bet_id.isascii() and bet_id.isdigit() and len(bet_id) <= _MAX_DIGITS:
            self._note(order, f"bet id {bet_id}: short numbers are the exchange's own", "unanswerable")
            return False
        if version > _MAX_VERSION:
            self._note(order, f"version {version} leaves none for the answers", "unanswerable")
            return False
        return True

    def _early(self, bet_id: str) -> list[CancelOrder]:
        """The cancels that came before their bet."""
        sent = self._journal.early_orders(bet_id)
        sent += [
            one.early for one in self._tick.orders.values() if one.bet_id == bet_id and one.early is not None
        ]
        cancels: list[CancelOrder] = []
        for data in sent:
            order = decode_order(data)
            if isinstance(order, CancelOrder):
                cancels.append(order)
        return cancels

    def _refuse(
        self, order: Order, number: int, bet: BetUpdate, refusal: OrderRefused, now: datetime
    ) -> None:
        self._told.changed(number, refused(bet, str(refusal), now))
        self._note(order, f"refused: {refusal}", "refused")

    def _note(self, order: Order, outcome: str, counted: str) -> None:
        self._tick.orders[order.order_id] = TakenOrder(order.order_id, order.bet_id, outcome)
        self.counts[counted] += 1
        if counted == "unanswerable":
            log.warning("order %s can't be answered: %s", order.order_id, outcome)

    def _number(self) -> int:
        number = self._numbers.next_bet
        self._numbers.next_bet += 1
        return number


def decoded(data: bytes) -> Order | None:
    """The order, or None, said in the log, for bytes that are none: nobody can be answered."""
    try:
        return decode_order(data)
    except UndecodableRecord as error:
        log.warning("an order can't be decoded and is passed over: %s; it was %r", error, data[:200])
        return None
