"""One selection's order book: price-time priority, partial fills. Pure: no clock, no money beyond stakes, no
records.

A back wants high odds and a lay low ones. A back at `p` meets resting lays at `p` or more, highest first; a
lay at `p` meets resting backs at `p` or less, lowest first. Orders of one price are met in the order in which
they arrived. A fill's odds are the resting order's. An order without odds is a market order: it meets
whatever there is, and its rest never rests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from sortedcontainers import SortedDict

from exchange_platform.domain.bets import Side


@dataclass(slots=True)
class RestingOrder:
    """An unmatched order, or the unmatched rest of one."""

    number: int
    side: Side
    odds: Decimal
    remaining_minor: int


@dataclass(frozen=True, slots=True)
class Fill:
    """One match of an arriving order with a resting one, at the resting order's odds; the backer's stake."""

    resting: int
    odds: Decimal
    stake_minor: int


class OrderBook:
    """The resting orders of one selection. Never crossed: the highest lay is below the lowest back."""

    def __init__(self) -> None:
        self._levels: dict[Side, SortedDict[Decimal, dict[int, RestingOrder]]] = {
            Side.BACK: SortedDict(),
            Side.LAY: SortedDict(),
        }
        self._orders: dict[int, RestingOrder] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, number: int) -> bool:
        return number in self._orders

    def __iter__(self) -> Iterator[RestingOrder]:
        return iter(self._orders.values())

    def place(self, number: int, side: Side, odds: Decimal | None, stake_minor: int) -> list[Fill]:
        """Match an arriving order and let the rest of a limit order rest; the fills in the order they
        happened.

        What of the stake is in no fill rests if `odds` is given, and is the caller's to cancel if it is not.
        """
        opposite = self._levels[_against(side)]
        fills: list[Fill] = []
        left = stake_minor
        while left and opposite:
            best: Decimal = opposite.keys()[0 if side is Side.LAY else -1]
            if odds is not None and (best > odds if side is Side.LAY else best < odds):
                break
            level = opposite[best]
            while left and level:
                resting = next(iter(level.values()))
                taken = min(left, resting.remaining_minor)
                fills.append(Fill(resting.number, best, taken))
                left -= taken
                resting.remaining_minor -= taken
                if not resting.remaining_minor:
                    del level[resting.number]
                    del self._orders[resting.number]
            if not level:
                del opposite[best]
        if left and odds is not None:
            self._rest(RestingOrder(number, side, odds, left))
        return fills

    def restore(self, number: int, side: Side, odds: Decimal, remaining_minor: int) -> None:
        """Put an order back as it rested before a restart; call it in the orders' first order of arrival."""
        self._rest(RestingOrder(number, side, odds, remaining_minor))

    def reduce(self, number: int, by_minor: int | None = None) -> int:
        """Take so much of a resting order's remainder out, all of it by default; how much went. Its place is
        kept.

        Raises KeyError for an order that does not rest here.
        """
        order = self._orders[number]
        taken = order.remaining_minor if by_minor is None else min(by_minor, order.remaining_minor)
        order.remaining_minor -= taken
        if not order.remaining_minor:
            del self._orders[number]
            levels = self._levels[order.side]
            level = levels[order.odds]
            del level[number]
            if not level:
                del levels[order.odds]
        return taken

    def best(self, side: Side) -> RestingOrder | None:
        """The order of this side that the next arriving order of the other side would meet first."""
        levels = self._levels[side]
        if not levels:
            return None
        odds = levels.keys()[0 if side is Side.BACK else -1]
        return next(iter(levels[odds].values()))

    def depth(self, side: Side) -> int:
        """How many prices of this side have resting orders."""
        return len(self._levels[side])

    def _rest(self, order: RestingOrder) -> None:
        self._orders[order.number] = order
        levels = self._levels[order.side]
        level = levels.get(order.odds)
        if level is None:
            level = levels[order.odds] = {}
        level[order.number] = order


def _against(side: Side) -> Side:
    return Side.LAY if side is Side.BACK else Side.BACK
