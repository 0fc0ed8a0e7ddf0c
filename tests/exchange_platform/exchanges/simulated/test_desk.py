"""Customers' orders from `bet-orders`: each is taken once and answered with its bet's state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exchange_platform.domain.bets import BetResult, BetStatus, Side, check_transition
from exchange_platform.domain.money import commission_minor
from exchange_platform.domain.orders import CancelOrder, PlaceOrder, ReplaceOrder
from exchange_platform.domain.records import BetUpdate, Execution, decode
from exchange_platform.exchanges.simulated.markets.market import LiveMarket
from exchange_platform.exchanges.simulated.markets.orders import NewOrder
from exchange_platform.exchanges.simulated.markets.settlement import COMMISSION_RATE
from exchange_platform.exchanges.simulated.states import Fate, Phase
from tests.exchange_platform.exchanges.simulated.running import SHARD, MadeUpTime, RunningExchange

CUSTOMER = "customer-7"


@pytest.fixture
def running(tmp_path: Path) -> RunningExchange:
    """An exchange on which hardly any trader trades, with some quotes on its books."""
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime(), rate=0.001)
    running.run(0.1)
    return running


def now(running: RunningExchange) -> datetime:
    return datetime.fromtimestamp(running.clock.us / 1e6, UTC)


def place(
    running: RunningExchange,
    live: LiveMarket,
    bet_id: str,
    *,
    odds: str | None = "900",
    stake: int = 1000,
    side: Side = Side.BACK,
    **changes: Any,
) -> PlaceOrder:
    selection = live.state.market.selections[0]
    order = PlaceOrder(
        order_id=f"order-of-{bet_id}",
        bet_id=bet_id,
        user_id=CUSTOMER,
        market_id=live.market_id,
        ordered_at=now(running),
        event_id=live.state.market.event_id,
        selection_id=selection.selection_id,
        handicap=selection.handicap,
        side=side,
        odds=None if odds is None else Decimal(odds),
        currency="GBP",
        stake_minor=stake,
    )
    return msgspec.structs.replace(order, **changes)


def cancel(
    running: RunningExchange,
    live: LiveMarket,
    bet_id: str,
    size: int | None = None,
    user: str = CUSTOMER,
    n: int = 1,
) -> CancelOrder:
    return CancelOrder(
        order_id=f"cancel-{n}-of-{bet_id}",
        bet_id=bet_id,
        user_id=user,
        market_id=live.market_id,
        ordered_at=now(running),
        size_minor=size,
    )


def replace(
    running: RunningExchange, live: LiveMarket, bet_id: str, new: str, odds: str, stake: int, **changes: Any
) -> ReplaceOrder:
    order = ReplaceOrder(
        order_id=f"order-of-{new}",
        bet_id=bet_id,
        user_id=CUSTOMER,
        market_id=live.market_id,
        ordered_at=now(running),
        new_bet_id=new,
        odds=Decimal(odds),
        stake_minor=stake,
    )
    return msgspec.structs.replace(order, **changes)


def offer(live: LiveMarket, running: RunningExchange, odds: str, stake: int, side: Side = Side.LAY) -> None:
    """Let a trader offer something on the first selection's book, after everybody else's offers have been
    taken.
    """
    selection = live.state.market.selections[0]
    whole = NewOrder(
        user_id="trader-0001",
        market_id=live.market_id,
        selection_id=selection.selection_id,
        handicap=selection.handicap,
        side=side,
        odds=Decimal(odds),
        stake_minor=stake,
    )
    running.exchange.place(whole)


def clear(live: LiveMarket, running: RunningExchange) -> None:
    """Take all offers off the market's books."""
    for book in live.books.values():
        for order in list(book):
            running.exchange.cancel(live.bets[order.number].bet_id)


def turn_in_play(live: LiveMarket, running: RunningExchange) -> None:
    live.state.phase, live.state.bet_delay_s = Phase.IN_PLAY, 5.0
    live.state.in_play_at_us = running.clock.us - 1


def test_a_limit_order_rests_and_its_answer_is_the_bet_that_was_ordered(running: RunningExchange) -> None:
    live = running.open_market()
    order = place(running, live, "bet-a", version=3)
    (bet,) = running.order(order)
    assert (bet.version, bet.status, bet.remaining_minor) == (4, BetStatus.OPEN, 1000)
    for name in ("bet_id", "user_id", "event_id", "market_id", "selection_id", "handicap", "side", "odds", "currency", "stake_minor"):  # fmt: skip
        assert getattr(bet, name) == getattr(order, name)
    assert bet.placed_at == order.ordered_at
    market = live.state.market
    assert (bet.number_of_winners, bet.number_of_selections) == (
        market.number_of_winners,
        len(market.selections),
    )


def test_an_order_is_matched_with_what_traders_offer_and_told_as_executions(running: RunningExchange) -> None:
    live = running.open_market()
    clear(live, running)
    offer(live, running, "2.5", 600)
    offer(live, running, "2.4", 700)
    before = len(running.pairs)
    (bet,) = running.order(place(running, live, "bet-a", odds="2.4", stake=1000))
    assert (bet.status, bet.matched_minor, bet.remaining_minor) == (BetStatus.MATCHED, 1000, 0)
    assert bet.matched_winnings_minor == 900 + 560
    told = [decode(data) for _, data in running.pairs[before:]]
    executions = [one for one in told if isinstance(one, Execution) and one.back_bet_id == "bet-a"]
    assert [(one.odds, one.stake) for one in executions] == [
        (Decimal("2.5"), Decimal("6.00")),
        (Decimal("2.4"), Decimal("4.00")),
    ]


def test_a_resting_order_is_matched_when_a_trader_crosses_it(running: RunningExchange) -> None:
    live = running.open_market()
    clear(live, running)
    running.order(place(running, live, "bet-a", odds="2.4", stake=1000))
    offer(live, running, "2.4", 400)
    running.run(0.05)
    bet = running.journal.taken_bet("bet-a")
    assert bet is not None
    assert (bet.status, bet.version, bet.matched_minor, bet.remaining_minor) == (BetStatus.OPEN, 3, 400, 600)


def test_a_market_order_takes_what_there_is_and_its_rest_is_cancelled(running: RunningExchange) -> None:
    live = running.open_market()
    clear(live, running)
    offer(live, running, "2.5", 600)
    (bet,) = running.order(place(running, live, "bet-a", odds=None, stake=1000))
    assert (bet.status, bet.matched_minor, bet.cancelled_minor) == (BetStatus.MATCHED, 600, 400)
    assert bet.odds == Decimal("1.01")
    (nothing,) = running.order(place(running, live, "bet-b", odds=None, side=Side.LAY))
    assert (nothing.status, nothing.cancelled_minor, nothing.odds) == (
        BetStatus.CANCELLED,
        1000,
        Decimal(1000),
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"market_id": "1.1"}, "unknown market: market 1.1"),
        ({"selection_id": 1}, "unknown selection: selection 1 with handicap"),
        ({"handicap": Decimal("3.5")}, "unknown selection"),
        ({"event_id": "77"}, "market of another event"),
        ({"currency": "EUR"}, "currency not taken: EUR; allowed is GBP"),
        ({"odds": Decimal("2.01")}, "invalid odds: 2.01 is not on the price ladder"),
        ({"stake_minor": 99}, "invalid stake: 99 minor units; allowed are 100 to 10000000"),
        ({"stake_minor": 10**12}, "invalid stake"),
    ],
)
def test_an_order_that_is_not_taken_is_answered_with_a_rejected_bet_and_the_reason(
    running: RunningExchange, changes: dict[str, Any], reason: str
) -> None:
    live = running.open_market()
    order = place(running, live, "bet-a", **changes)
    (bet,) = running.order(order)
    assert bet.status is BetStatus.REJECTED
    assert bet.reason is not None
    assert bet.reason.startswith(reason)
    assert (bet.version, bet.cancelled_minor, bet.stake_minor) == (2, order.stake_minor, order.stake_minor)
    assert running.journal.taken_bet("bet-a") == bet
    assert running.exchange.desk.counts == {"refused": 1, "undecodable": 0}


def test_a_market_takes_nothing_before_it_opens_while_it_is_suspended_and_after_its_close(
    running: RunningExchange,
) -> None:
    live = running.open_market()
    announced = running.exchange._programme.upcoming[0].event.markets[0]
    (early,) = running.order(place(running, live, "bet-a", market_id=announced.market_id))
    assert early.reason == f"market not open yet: market {announced.market_id}"
    live.state.suspended_until_us = running.clock.us + 10**9
    (suspended,) = running.order(place(running, live, "bet-b"))
    assert suspended.reason == f"market suspended: market {live.market_id}"
    live.state.suspended_until_us, live.state.closes_at_us = 0, running.clock.us
    (closed,) = running.order(place(running, live, "bet-c"))
    assert closed.reason == f"market closed: market {live.market_id} is closed"
    assert {early.status, suspended.status, closed.status} == {BetStatus.REJECTED}


def test_a_repeat_by_order_or_by_bet_changes_nothing_in_the_same_tick_later_and_after_a_restart(
    running: RunningExchange, tmp_path: Path
) -> None:
    live = running.open_market()
    order = place(running, live, "bet-a")
    again = msgspec.structs.replace(order, order_id="another")
    assert len(running.order(order, order, again)) == 1
    assert running.order(order, again) == []
    restarted = RunningExchange(tmp_path / "journal.sqlite", running.clock, rate=0.001)
    assert restarted.order(order, again) == []
    assert restarted.exchange.desk.counts["repeats"] == 2


def test_a_bet_is_cancelled_in_part_and_whole_and_only_by_its_owner(running: RunningExchange) -> None:
    live = running.open_market()
    running.order(place(running, live, "bet-a"))
    (less,) = running.order(cancel(running, live, "bet-a", 300))
    assert (less.status, less.remaining_minor, less.cancelled_minor) == (BetStatus.OPEN, 700, 300)
    assert running.order(cancel(running, live, "bet-a", user="somebody-else", n=2)) == []
    assert running.order(cancel(running, live, "bet-a", 300)) == []  # the first one, repeated
    (gone,) = running.order(cancel(running, live, "bet-a", n=3))
    assert (gone.status, gone.cancelled_minor) == (BetStatus.CANCELLED, 1000)
    assert running.order(cancel(running, live, "bet-a", n=4)) == []
    assert running.exchange.desk.counts["refused"] == 2


def test_a_cancel_that_comes_before_its_bet_is_kept_for_it(running: RunningExchange, tmp_path: Path) -> None:
    live = running.open_market()
    assert running.order(cancel(running, live, "bet-a", 300), cancel(running, live, "bet-b")) == []
    restarted = RunningExchange(tmp_path / "journal.sqlite", running.clock, rate=0.001)
    one, other = restarted.order(place(running, live, "bet-a"), place(running, live, "bet-b"))
    assert (one.status, one.remaining_minor, one.cancelled_minor) == (BetStatus.OPEN, 700, 300)
    assert (other.status, other.cancelled_minor) == (BetStatus.CANCELLED, 1000)


def test_a_replacement_takes_over_what_rests_and_the_old_bet_keeps_what_was_matched(
    running: RunningExchange,
) -> None:
    live = running.open_market()
    clear(live, running)
    running.order(place(running, live, "bet-a", odds="2.4", stake=1000))
    offer(live, running, "2.4", 400)
    running.order(replace(running, live, "bet-a", "bet-b", "3", 1000, new_version=5))
    old, new = (running.journal.taken_bet(one) for one in ("bet-a", "bet-b"))
    assert old is not None
    assert new is not None
    assert (old.status, old.matched_minor, old.cancelled_minor) == (BetStatus.MATCHED, 400, 600)
    assert (new.status, new.version, new.odds) == (BetStatus.OPEN, 6, Decimal(3))
    assert (new.stake_minor, new.remaining_minor, new.cancelled_minor) == (1000, 600, 400)
    assert new.reason == "less of the replaced bet rested by then"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"odds": Decimal("3.01")}, "invalid odds: 3.01 is not on the price ladder"),
        ({"user_id": "somebody-else"}, "bet of somebody else: bet bet-a is not somebody-else's"),
    ],
)
def test_a_replacement_that_is_not_taken_leaves_the_old_bet_as_it_is(
    running: RunningExchange, change: dict[str, Any], reason: str
) -> None:
    live = running.open_market()
    running.order(place(running, live, "bet-a"))
    order = msgspec.structs.replace(replace(running, live, "bet-a", "bet-b", "3", 1000), **change)
    (new,) = running.order(order)
    assert (new.bet_id, new.status, new.reason) == ("bet-b", BetStatus.REJECTED, reason)
    assert new.user_id == change.get("user_id", CUSTOMER)
    old = running.journal.taken_bet("bet-a")
    assert old is not None
    assert (old.status, old.version) == (BetStatus.OPEN, 2)


def test_a_replacement_of_what_rests_no_more_is_rejected_and_one_of_nothing_known_can_not_be_answered(
    running: RunningExchange,
) -> None:
    live = running.open_market()
    running.order(place(running, live, "bet-a"), cancel(running, live, "bet-a"))
    (new,) = running.order(replace(running, live, "bet-a", "bet-b", "3", 1000))
    assert (new.status, new.reason) == (BetStatus.REJECTED, "bet not resting: bet bet-a")
    assert running.order(replace(running, live, "nobody's", "bet-c", "3", 1000)) == []
    assert running.exchange.desk.counts["unanswerable"] == 1


def test_a_bet_that_came_and_ended_in_the_same_tick_is_known_to_its_cancel_and_its_replacement(
    running: RunningExchange,
) -> None:
    live = running.open_market()
    refused = place(running, live, "bet-a", stake=1)
    told = running.order(
        refused, cancel(running, live, "bet-a"), replace(running, live, "bet-a", "bet-b", "3", 1000)
    )
    assert [(bet.bet_id, bet.status) for bet in told] == [
        ("bet-a", BetStatus.REJECTED),
        ("bet-b", BetStatus.REJECTED),
    ]
    assert running.exchange.desk.counts["unanswerable"] == 0


@pytest.mark.parametrize("bet_id", ["1795000000000001", "7"])
def test_ids_that_could_be_the_exchanges_own_are_not_taken(running: RunningExchange, bet_id: str) -> None:
    live = running.open_market()
    assert running.order(place(running, live, bet_id)) == []
    assert running.exchange.desk.counts["unanswerable"] == 1


def test_an_order_so_old_that_it_could_be_a_forgotten_repeat_is_not_taken(running: RunningExchange) -> None:
    live = running.open_market()
    order = place(running, live, "bet-a", ordered_at=now(running) - timedelta(days=6, minutes=1))
    assert running.order(order) == []
    assert running.journal.taken_bet("bet-a") is None


def test_in_play_an_order_waits_for_its_bet_delay_and_is_then_placed(
    running: RunningExchange, tmp_path: Path
) -> None:
    live = running.open_market()
    turn_in_play(live, running)
    (waiting,) = running.order(place(running, live, "bet-a"))
    assert (waiting.status, waiting.version, waiting.reason) == (BetStatus.PENDING, 2, "bet delay of 5 s")
    restarted = RunningExchange(tmp_path / "journal.sqlite", running.clock, rate=0.001)
    restarted.run(4.8)
    assert restarted.journal.taken_bet("bet-a") == waiting
    restarted.run(0.3)
    bet = restarted.journal.taken_bet("bet-a")
    assert bet is not None
    assert (bet.status, bet.version, bet.reason) == (BetStatus.OPEN, 3, None)


@pytest.mark.parametrize("stop", ["suspended", "closed", "abandoned"])
def test_an_order_that_waits_is_refused_when_its_market_stops_meanwhile(
    running: RunningExchange, stop: str
) -> None:
    live = running.open_market()
    turn_in_play(live, running)
    running.order(place(running, live, "bet-a"))
    at = datetime.fromtimestamp(running.clock.us / 1e6, UTC)
    if stop == "suspended":
        running.exchange._lifecycle.interrupt(live, running.clock.us, at)
    elif stop == "abandoned":
        running.exchange._lifecycle.abandon(live, running.clock.us, at)
    else:
        live.state.closes_at_us = running.clock.us
    running.run(0.05)
    bet = running.journal.taken_bet("bet-a")
    assert bet is not None
    assert (bet.status, bet.cancelled_minor) == (BetStatus.REJECTED, 1000)
    said = {"suspended": "market suspended", "closed": "market closed", "abandoned": "event abandoned"}[stop]
    assert bet.reason == f"{said} during the bet delay"
    assert live.state.waiting == []


def test_an_order_that_waits_can_be_cancelled_in_part_and_whole(running: RunningExchange) -> None:
    live = running.open_market()
    turn_in_play(live, running)
    running.order(place(running, live, "bet-a"), place(running, live, "bet-b"))
    (less,) = running.order(cancel(running, live, "bet-a", 300))
    assert (less.status, less.remaining_minor) == (BetStatus.PENDING, 700)
    (gone,) = running.order(cancel(running, live, "bet-b"))
    assert gone.status is BetStatus.CANCELLED
    running.run(5.1)
    bet = running.journal.taken_bet("bet-a")
    assert bet is not None
    assert (bet.status, bet.remaining_minor, bet.cancelled_minor) == (BetStatus.OPEN, 700, 300)
    assert running.journal.taken_bet("bet-b") == gone


def test_in_play_a_replacement_waits_too_and_the_old_bet_may_be_matched_meanwhile(
    running: RunningExchange,
) -> None:
    live = running.open_market()
    clear(live, running)
    running.order(
        place(running, live, "bet-a", odds="2.4", stake=1000),
        place(running, live, "bet-b", odds="2.6", stake=1000),
    )
    turn_in_play(live, running)
    told = running.order(
        replace(running, live, "bet-a", "new-a", "3", 1000),
        replace(running, live, "bet-b", "new-b", "3", 1000),
    )
    assert [(one.bet_id, one.status) for one in told] == [
        ("new-a", BetStatus.PENDING),
        ("new-b", BetStatus.PENDING),
    ]
    offer(live, running, "2.4", 1000)
    running.run(5.1)
    bets = {one: running.journal.taken_bet(one) for one in ("bet-a", "new-a", "bet-b", "new-b")}
    assert {name: bet and bet.status for name, bet in bets.items()} == {
        "bet-a": BetStatus.MATCHED,
        "new-a": BetStatus.REJECTED,
        "bet-b": BetStatus.CANCELLED,
        "new-b": BetStatus.OPEN,
    }


@pytest.mark.parametrize("lapsing", [True, False])
def test_what_rests_lapses_at_the_turn_in_play_where_the_market_says_so_and_everywhere_at_the_close(
    running: RunningExchange, lapsing: bool
) -> None:
    live = running.open_market(lapsing=lapsing)
    running.order(place(running, live, "bet-a"))
    live.state.in_play_at_us = running.clock.us
    live.state.closes_at_us = running.clock.us + 60_000_000
    running.run(0.05)
    assert live.state.suspended
    bet = running.journal.taken_bet("bet-a")
    assert bet is not None
    assert bet.status is (BetStatus.LAPSED if lapsing else BetStatus.OPEN)
    live.state.closes_at_us = running.clock.us
    running.run(0.05)
    bet = running.journal.taken_bet("bet-a")
    assert bet is not None
    assert (bet.status, bet.lapsed_minor) == (BetStatus.LAPSED, 1000)
    assert bet.reason == ("market turned in play" if lapsing else "market closed")


def _history(running: RunningExchange, bet_id: str) -> list[BetUpdate]:
    told = [decode(data) for _, data in running.pairs]
    return [one for one in told if isinstance(one, BetUpdate) and one.bet_id == bet_id]


def test_customers_are_settled_like_traders_with_commission_on_their_net_result(
    running: RunningExchange,
) -> None:
    live = running.open_market()
    live.state.fate = Fate.SETTLED
    clear(live, running)
    offer(live, running, "3", 5000)
    offer(live, running, "3.5", 3000, Side.BACK)
    running.order(
        place(running, live, "bet-a", odds="3", stake=5000),
        place(running, live, "bet-b", odds="3.5", stake=3000, side=Side.LAY),
    )
    live.state.closes_at_us = running.clock.us
    running.run(12)
    bets = [running.journal.taken_bet(one) for one in ("bet-a", "bet-b")]
    wins = 0 in live.state.winners
    net = sum(bet.profit_minor for bet in bets if bet is not None)
    assert net == (10_000 - 7_500 if wins else -5_000 + 3_000)
    assert sum(bet.commission_minor for bet in bets if bet is not None) == commission_minor(
        net, COMMISSION_RATE
    )
    for bet_id, won in (("bet-a", wins), ("bet-b", not wins)):
        history = _history(running, bet_id)
        assert [bet.version for bet in history] == list(range(2, 2 + len(history)))
        for before, after in pairwise(history):
            check_transition(before, after)
        assert history[-1].result is (BetResult.WON if won else BetResult.LOST)


def test_a_bet_is_answered_for_long_after_its_market_is_gone_and_forgotten_after_a_week(
    running: RunningExchange, tmp_path: Path
) -> None:
    live = running.open_market()
    live.state.fate = Fate.VOID
    running.order(place(running, live, "bet-a"))
    live.state.closes_at_us = running.clock.us
    running.run(30)
    assert live.market_id not in running.exchange.markets
    bet = running.journal.taken_bet("bet-a")
    assert bet is not None
    running.journal.forget(running.clock.us + 6 * 24 * 3600 * 1_000_000, {})
    again = RunningExchange(tmp_path / "journal.sqlite", running.clock, rate=0.001)
    assert again.journal.taken_bet("bet-a") == bet
    assert again.order(place(running, live, "bet-a")) == []
    again.journal.forget(running.clock.us + 7 * 24 * 3600 * 1_000_000 + 1, {})
    assert again.journal.taken_bet("bet-a") is None


def test_the_position_is_stored_with_what_the_orders_did(running: RunningExchange, tmp_path: Path) -> None:
    live = running.open_market()
    running.order(place(running, live, "bet-a"), place(running, live, "bet-b"))
    assert running.journal.positions() == {SHARD: "2"}
    # Taken, but the process dies before the tick's commit: it never was.
    desk = running.exchange.desk
    desk._take(place(running, live, "bet-c"), running.clock.us, now(running))
    again = RunningExchange(tmp_path / "journal.sqlite", running.clock, rate=0.001)
    assert again.journal.positions() == {SHARD: "2"}
    assert again.journal.taken_bet("bet-c") is None
    (bet,) = again.order(place(running, live, "bet-c"))
    assert bet.status is BetStatus.OPEN
    number = again.exchange.markets[live.market_id].number_of("bet-c")
    assert number is not None
    (gone,) = again.order(cancel(running, live, "bet-a"))
    assert gone.status is BetStatus.CANCELLED
