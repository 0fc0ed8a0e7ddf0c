"""The traders: they quote around a drifting true price, cross at the set rate, cancel what is stale. Through
orders only.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Protocol

from exchange_platform.domain.bets import Bet, Side
from exchange_platform.exchanges.simulated.markets.book import OrderBook
from exchange_platform.exchanges.simulated.markets.ladder import PLACE, place_near, price_at
from exchange_platform.exchanges.simulated.markets.market import LiveMarket
from exchange_platform.exchanges.simulated.markets.orders import MAX_STAKE_MINOR, MIN_STAKE_MINOR, NewOrder
from exchange_platform.exchanges.simulated.states import Phase

TRADERS = 500
PRICES_QUOTED = 3
"""How many prices each side of a book should have."""
MAX_RESTING = 24
STALE_AFTER = timedelta(seconds=30)
FARTHEST_PLACES, MAX_GIVEN_AWAY = 12, 3
"""A quote that is so many ladder places worse for its owner than the true price, or so far on the other side
that nobody will take it, is taken back.
"""
_LONGEST_GAP_S = 0.5
"""Time in which nobody could trade is not made up for beyond this."""


class Venue(Protocol):
    """What a trader can do on the exchange."""

    @property
    def executions(self) -> int:
        """Executions so far."""
        ...

    def place(self, order: NewOrder) -> Bet:
        """Place an order."""
        ...

    def cancel(self, bet_id: str, size_minor: int | None = None) -> Bet:
        """Cancel a resting bet's remainder, or so much of it."""
        ...

    def replace(self, bet_id: str, odds: Decimal) -> Bet:
        """Cancel a resting bet's remainder and place it again at other odds."""
        ...


class Traders:
    """All traders at once: each order is a random one's. The same `Random` and markets give the same
    orders.
    """

    def __init__(self, venue: Venue, chance: random.Random, *, rate: float) -> None:
        """`rate` is executions a second."""
        self._venue = venue
        self._chance = chance
        self._rate = rate
        self._due = 0.0
        self._visits_due = 0.0
        self._names = [f"trader-{number:04d}" for number in range(1, TRADERS + 1)]
        self._are_traders = frozenset(self._names)

    def act(self, markets: Iterable[LiveMarket], elapsed_s: float, now: datetime) -> None:
        """Do what falls into `elapsed_s` seconds: as many executions as the rate asks for, and the quoting
        around them.
        """
        elapsed_s = min(elapsed_s, _LONGEST_GAP_S)
        places: list[tuple[LiveMarket, int]] = []
        weights: list[float] = []
        for live in markets:
            state = live.state
            if state.open:
                popularity = 3.0 if state.phase is Phase.IN_PLAY else 1.0
                for place, chance in enumerate(state.chances):
                    places.append((live, place))
                    weights.append(popularity * (chance**0.5))
        if not places:
            return
        self._due = min(self._due + self._rate * elapsed_s, max(1.0, self._rate))
        self._visits_due += elapsed_s * min(40.0, 4.0 + self._rate)
        visits, self._visits_due = divmod(self._visits_due, 1.0)
        before = self._venue.executions
        for live, place in self._chance.choices(places, k=int(visits)):
            self._tend(live, place, now)
        self._due -= self._venue.executions - before
        cumulative = list(accumulate(weights))
        tries = 2 * int(self._due) + 2
        while self._due >= 1.0 and tries > 0:
            several = min(tries, int(self._due))
            tries -= several
            for live, place in self._chance.choices(places, cum_weights=cumulative, k=several):
                before = self._venue.executions
                self._cross(live, place)
                self._due -= self._venue.executions - before
                if self._due < 1.0:
                    break

    def _cross(self, live: LiveMarket, place: int) -> None:
        """Take what someone offers; where too little is offered, someone offers first."""
        chance = self._chance
        side = Side.BACK if chance.random() < 0.5 else Side.LAY
        opposite = Side.LAY if side is Side.BACK else Side.BACK
        book = live.books[live.keys[place]]
        if book.depth(opposite) < 2:
            self._quote(live, place, opposite)
        best = book.best(opposite)
        if best is None:
            return
        kind = chance.random()
        if kind < 0.12:
            stake = best.remaining_minor
        elif kind < 0.16:
            stake = int(best.remaining_minor * chance.uniform(1.1, 2.0))
        else:
            stake = int(best.remaining_minor * chance.uniform(0.1, 0.6))
        stake = min(max(stake, MIN_STAKE_MINOR), MAX_STAKE_MINOR)
        self._order(live, place, side, None if chance.random() < 0.08 else best.odds, stake)

    def _quote(self, live: LiveMarket, place: int, side: Side) -> None:
        """Offer a back above the true price, or a lay below it."""
        chance = self._chance
        true = place_near(1 / live.state.chances[place])
        away = 1 + int(chance.expovariate(0.7))
        at = true + away if side is Side.BACK else true + 1 - away
        opposite = live.books[live.keys[place]].best(Side.LAY if side is Side.BACK else Side.BACK)
        if opposite is not None:  # who quotes does not cross
            meets = PLACE[opposite.odds]
            at = max(at, meets + 1) if side is Side.BACK else min(at, meets - 1)
        pounds = chance.lognormvariate(3.9, 0.8)
        stake = max(200, int(pounds) * 100 if chance.random() < 0.6 else int(pounds * 100))
        self._order(live, place, side, price_at(at), min(stake, 200_000))

    def _tend(self, live: LiveMarket, place: int, now: datetime) -> None:
        """Look at one book: take stale quotes back, change one now and then, and quote where a side
        is thin.
        """
        key = live.keys[place]
        book = live.books[key]
        true = place_near(1 / live.state.chances[place])
        for number in self._stale(live, book, true, now):
            self._venue.cancel(str(number))
        for side in Side:
            if book.depth(side) < PRICES_QUOTED:
                self._quote(live, place, side)
        kind = self._chance.random()
        best = book.best(Side.BACK if self._chance.random() < 0.5 else Side.LAY)
        if best is None or live.bets[best.number].user_id not in self._are_traders:
            return
        if kind < 0.04:
            self._venue.cancel(str(best.number), max(1, best.remaining_minor // 3))
        elif kind < 0.08 and best.remaining_minor >= MIN_STAKE_MINOR:
            farther = 1 if best.side is Side.BACK else -1
            odds = price_at(PLACE[best.odds] + farther)
            if odds != best.odds:
                self._venue.replace(str(best.number), odds)

    def _stale(self, live: LiveMarket, book: OrderBook, true: int, now: datetime) -> list[int]:
        own = [order for order in book if live.bets[order.number].user_id in self._are_traders]
        too_many = len(own) - MAX_RESTING
        stale: list[int] = []
        for order in own:  # the oldest first
            bet = live.bets[order.number]
            old = now - bet.placed_at > STALE_AFTER
            beyond = PLACE[order.odds] - true if order.side is Side.BACK else true + 1 - PLACE[order.odds]
            far = not -MAX_GIVEN_AWAY < beyond < FARTHEST_PLACES
            if old or far or len(stale) < too_many:
                stale.append(order.number)
        return stale

    def _order(self, live: LiveMarket, place: int, side: Side, odds: Decimal | None, stake: int) -> None:
        selection_id, handicap = live.keys[place]
        self._venue.place(
            NewOrder(
                user_id=self._names[int(self._chance.random() * TRADERS)],
                market_id=live.market_id,
                selection_id=selection_id,
                handicap=handicap,
                side=side,
                odds=odds,
                stake_minor=stake,
            )
        )
