"""The order book: priority, conservation, never crossed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.bets import Side
from exchange_platform.exchanges.simulated.markets.book import Fill, OrderBook
from exchange_platform.exchanges.simulated.markets.ladder import (
    PLACE,
    PRICES,
    is_on_ladder,
    place_near,
    price_at,
)


def test_the_ladder_has_the_350_classic_prices() -> None:
    assert len(PRICES) == 350
    assert (PRICES[0], PRICES[-1]) == (Decimal("1.01"), Decimal(1000))
    for on in ("2", "2.02", "3.05", "4.1", "6.2", "10.5", "21", "32", "55", "110"):
        assert is_on_ladder(Decimal(on))
        assert price_at(PLACE[Decimal(on)]) == Decimal(on)
    for off in ("2.01", "3.02", "4.05", "6.1", "10.2", "20.5", "31", "52", "105", "1", "1010"):
        assert not is_on_ladder(Decimal(off))
    assert price_at(place_near(2.019)) == 2
    assert price_at(place_near(0.5)) == Decimal("1.01")


@dataclass
class _Naive:
    number: int
    side: Side
    odds: Decimal
    left: int


class _NaiveBook:
    """The rule as its sentence says it: among all resting orders that fit, the best price, then the first to
    arrive.
    """

    def __init__(self) -> None:
        self.orders: list[_Naive] = []

    def place(self, number: int, side: Side, odds: Decimal | None, stake: int) -> list[Fill]:
        fills: list[Fill] = []
        while stake:
            fitting = [
                order
                for order in self.orders
                if order.side is not side
                and (odds is None or (order.odds >= odds if side is Side.BACK else order.odds <= odds))
            ]
            if not fitting:
                break
            best = min(fitting, key=lambda order: -order.odds if side is Side.BACK else order.odds)
            taken = min(stake, best.left)
            fills.append(Fill(best.number, best.odds, taken))
            stake -= taken
            best.left -= taken
            if not best.left:
                self.orders.remove(best)
        if stake and odds is not None:
            self.orders.append(_Naive(number, side, odds, stake))
        return fills

    def reduce(self, number: int, by: int | None) -> int:
        order = next(order for order in self.orders if order.number == number)
        taken = order.left if by is None else min(by, order.left)
        order.left -= taken
        if not order.left:
            self.orders.remove(order)
        return taken


_PLACE = st.tuples(
    st.just("place"),
    st.sampled_from(Side),
    st.one_of(st.none(), st.sampled_from(PRICES[98:108])),
    st.integers(1, 500),
)
_REDUCE = st.tuples(
    st.just("reduce"),
    st.integers(0, 60),
    st.one_of(st.none(), st.integers(1, 300)),
    st.just(0),
)


@given(st.lists(st.one_of(_PLACE, _PLACE, _REDUCE), max_size=60))
def test_any_run_of_orders_is_matched_as_the_naive_book_matches_it(
    steps: list[tuple[str, object, object, int]],
) -> None:
    book, naive = OrderBook(), _NaiveBook()
    staked: dict[int, int] = {}
    gone: dict[int, int] = {}
    for number, (what, first, second, stake) in enumerate(steps):
        if what == "place":
            assert isinstance(first, Side)
            assert second is None or isinstance(second, Decimal)
            staked[number] = stake
            fills = book.place(number, first, second, stake)
            assert fills == naive.place(number, first, second, stake)
            for fill in fills:
                for bet in (number, fill.resting):
                    gone[bet] = gone.get(bet, 0) + fill.stake_minor
            if second is None:
                gone[number] = stake
        elif isinstance(first, int) and first in book:
            assert second is None or isinstance(second, int)
            taken = book.reduce(first, second)
            assert taken == naive.reduce(first, second)
            gone[first] = gone.get(first, 0) + taken
        lay, back = book.best(Side.LAY), book.best(Side.BACK)
        assert lay is None or back is None or lay.odds < back.odds, "crossed"
    resting = {order.number: order.remaining_minor for order in book}
    assert resting == {order.number: order.left for order in naive.orders}
    for number, stake in staked.items():
        assert gone.get(number, 0) + resting.get(number, 0) == stake


@given(st.lists(_PLACE, max_size=40), st.lists(_PLACE, min_size=1, max_size=10))
def test_a_book_restored_in_order_of_arrival_matches_as_the_one_it_was(
    before: list[tuple[str, Side, Decimal | None, int]], after: list[tuple[str, Side, Decimal | None, int]]
) -> None:
    book = OrderBook()
    for number, (_, side, odds, stake) in enumerate(before):
        book.place(number, side, odds, stake)
    restored = OrderBook()
    for order in sorted(book, key=lambda order: order.number):
        restored.restore(order.number, order.side, order.odds, order.remaining_minor)
    for number, (_, side, odds, stake) in enumerate(after, start=len(before)):
        assert restored.place(number, side, odds, stake) == book.place(number, side, odds, stake)
