"""The whole exchange in made-up time: what it tells the world must add up."""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from exchange_platform.domain.bets import BetResult, BetStatus, Side, check_transition, winnings_minor
from exchange_platform.domain.money import commission_minor
from exchange_platform.domain.records import BetUpdate, Execution, Record, decode, encode
from exchange_platform.exchanges.simulated.fixtures import Fixtures, Selection
from exchange_platform.exchanges.simulated.markets.market import LiveMarket
from exchange_platform.exchanges.simulated.markets.orders import NewOrder, OrderRefusal, OrderRefused
from exchange_platform.exchanges.simulated.markets.settlement import COMMISSION_RATE
from exchange_platform.exchanges.simulated.programme import Programme
from exchange_platform.exchanges.simulated.states import Phase
from tests.exchange_platform.exchanges.simulated.running import MadeUpTime, RunningExchange


@pytest.fixture(scope="module")
def told(half_an_hour: RunningExchange) -> list[Record]:
    """All that an exchange tells in half an hour."""
    assert all(key == decode(data).market_id for key, data in half_an_hour.pairs)
    return [decode(data) for _, data in half_an_hour.pairs]


@pytest.fixture(scope="module")
def histories(told: list[Record]) -> dict[str, list[BetUpdate]]:
    updates: dict[str, list[BetUpdate]] = defaultdict(list)
    for record in told:
        if isinstance(record, BetUpdate):
            updates[record.bet_id].append(record)
    return updates


def test_every_record_is_one_that_the_platform_decodes_to_the_same_bytes(told: list[Record]) -> None:
    assert all(decode(encode(record)) == record for record in told)


def test_every_bet_goes_from_version_to_version_by_legal_transitions(
    histories: dict[str, list[BetUpdate]],
) -> None:
    for history in histories.values():
        assert [bet.version for bet in history] == list(range(1, len(history) + 1))
        for before, after in pairwise(history):
            check_transition(before, after)
            assert before.updated_at <= after.updated_at


def test_all_that_can_become_of_a_bet_does(histories: dict[str, list[BetUpdate]]) -> None:
    seen = {bet.status for history in histories.values() for bet in history}
    assert seen == set(BetStatus) - {BetStatus.PENDING, BetStatus.REJECTED}
    steps = {
        (before.status, after.status) for history in histories.values() for before, after in pairwise(history)
    }
    assert (BetStatus.UNSETTLED, BetStatus.SETTLED) in steps
    assert (BetStatus.MATCHED, BetStatus.VOIDED) in steps
    ends = [history[-1] for history in histories.values()]
    assert any(bet.matched_minor and bet.lapsed_minor for bet in ends)
    assert any(bet.matched_minor and bet.cancelled_minor for bet in ends)
    assert {len(history) for history in histories.values()} > {1, 2, 3, 4, 5}


def test_executions_account_for_every_match_and_every_pennys_winnings(
    told: list[Record], histories: dict[str, list[BetUpdate]]
) -> None:
    matched: dict[str, int] = defaultdict(int)
    won: dict[str, int] = defaultdict(int)
    ids = set()
    for record in told:
        if isinstance(record, Execution):
            assert record.execution_id not in ids
            ids.add(record.execution_id)
            stake = int(record.stake * 100)
            back, lay = record.back_bet_id, record.lay_bet_id
            assert back is not None
            assert lay is not None
            for bet_id, side in ((back, Side.BACK), (lay, Side.LAY)):
                matched[bet_id] += stake
                won[bet_id] += winnings_minor(stake, record.odds)
                first = histories[bet_id][0]
                assert first.side is side
                assert (first.market_id, first.selection_id, first.handicap) == (
                    record.market_id,
                    record.selection_id,
                    record.handicap,
                )
                better = record.odds >= first.odds if side is Side.BACK else record.odds <= first.odds
                assert better, "matched at worse odds than asked for"
    for bet_id, history in histories.items():
        most = max(history, key=lambda bet: (bet.matched_minor, bet.matched_winnings_minor))
        assert (most.matched_minor, most.matched_winnings_minor) == (matched[bet_id], won[bet_id])


def test_execution_ids_of_a_market_sort_in_the_order_of_its_executions(told: list[Record]) -> None:
    by_market: dict[str, list[Execution]] = defaultdict(list)
    for record in told:
        if isinstance(record, Execution):
            by_market[record.market_id].append(record)
    for executions in by_market.values():
        assert executions == sorted(executions, key=lambda one: (one.executed_at, one.execution_id))


def test_a_markets_settlement_moves_money_only_between_customers_and_into_commission(
    told: list[Record], histories: dict[str, list[BetUpdate]]
) -> None:
    by_market: dict[str, list[list[BetUpdate]]] = defaultdict(list)
    for history in histories.values():
        by_market[history[0].market_id].append(history)
    checked = 0
    for market in by_market.values():
        for nth in range(2):
            settled = [
                [bet for bet in history if bet.status is BetStatus.SETTLED][nth : nth + 1]
                for history in market
                if any(bet.matched_minor for bet in history)
            ]
            if not all(settled) or not settled:
                continue  # void, not settled (again), or still in play at the end
            checked += 1
            net: dict[str, int] = defaultdict(int)
            charged: dict[str, int] = defaultdict(int)
            for (bet,) in settled:
                net[bet.user_id] += bet.profit_minor
                charged[bet.user_id] += bet.commission_minor
                assert bet.commission_minor <= max(0, bet.profit_minor)
                expected = {BetResult.WON: bet.profit_minor >= 0, BetResult.LOST: bet.profit_minor <= 0}
                assert bet.result is not None
                assert expected[bet.result]
            assert sum(net.values()) == 0
            assert charged == {
                user: commission_minor(result, COMMISSION_RATE) for user, result in net.items()
            }
    assert checked > 100


def test_a_corrected_result_is_another_one(histories: dict[str, list[BetUpdate]]) -> None:
    twice = [
        [bet.result for bet in history if bet.status is BetStatus.SETTLED] for history in histories.values()
    ]
    assert any(results[0] is not results[1] for results in twice if len(results) == 2)


@pytest.mark.parametrize("rate", [1, 50, 400])
def test_executions_come_at_the_rate_asked_for(tmp_path: Path, rate: int) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime(), rate=rate)
    for _ in range(3):
        before = running.exchange.executions
        running.run(10, published=None)
        assert abs(running.exchange.executions - before - 10 * rate) <= max(1, rate)


@pytest.mark.long
def test_books_stay_small_and_finished_markets_are_forgotten(tmp_path: Path) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime(), rate=5)
    seen: set[str] = set()
    for _ in range(90):
        running.run(10, published=None, tick_s=0.2)
        seen.update(running.exchange.markets)
        assert len(running.exchange.markets) <= 22
        for live in running.exchange.markets.values():
            assert all(len(book) <= 40 for book in live.books.values())
    assert len(seen) > 40
    restored = running.journal.restore(0)
    assert {state.market.market_id for state, _ in restored.markets} == set(running.exchange.markets)
    rows = running.journal._db.execute("SELECT count(DISTINCT market_id) FROM bets").fetchone()[0]
    assert rows <= len(running.exchange.markets)


@pytest.mark.long
def test_the_same_seed_and_time_make_the_same_exchange(tmp_path: Path) -> None:
    one = RunningExchange(tmp_path / "one.sqlite", MadeUpTime(), seed=5)
    same = RunningExchange(tmp_path / "same.sqlite", MadeUpTime(), seed=5)
    other = RunningExchange(tmp_path / "other.sqlite", MadeUpTime(), seed=6)
    assert one.run(30) == same.run(30)
    assert one.pairs != other.run(30)


@pytest.fixture
def quiet(tmp_path: Path) -> RunningExchange:
    """An exchange that hardly anyone trades on."""
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime(), rate=0.001)
    running.run(0.1)
    return running


def _open_market(running: RunningExchange, *, lapsing: bool = False) -> tuple[LiveMarket, Selection]:
    live = next(
        live
        for live in running.exchange.markets.values()
        if live.state.open and (live.state.market.lapses_in_play or not lapsing)
    )
    return live, live.state.market.selections[0]


def _order(
    live: LiveMarket, selection: Selection, side: Side, odds: str | None, stake: int, user: str = "me"
) -> NewOrder:
    return NewOrder(
        user_id=user,
        market_id=live.market_id,
        selection_id=selection.selection_id,
        handicap=selection.handicap,
        side=side,
        odds=None if odds is None else Decimal(odds),
        stake_minor=stake,
    )


def test_a_customer_places_changes_and_cancels(quiet: RunningExchange) -> None:
    exchange = quiet.exchange
    live, selection = _open_market(quiet)
    back = exchange.place(_order(live, selection, Side.BACK, "900", 1000))
    assert (back.status, back.remaining_minor) == (BetStatus.OPEN, 1000)
    less = exchange.cancel(back.bet_id, 300)
    assert (less.status, less.remaining_minor, less.cancelled_minor) == (BetStatus.OPEN, 700, 300)
    moved = exchange.replace(back.bet_id, Decimal(950))
    assert moved.bet_id != back.bet_id
    assert (moved.odds, moved.stake_minor) == (Decimal(950), 700)
    gone = exchange.cancel(moved.bet_id)
    assert (gone.status, gone.cancelled_minor) == (BetStatus.CANCELLED, 700)
    with pytest.raises(OrderRefused) as refused:
        exchange.cancel(moved.bet_id)
    assert refused.value.refusal is OrderRefusal.NOT_RESTING


def test_a_market_order_takes_what_there_is_and_never_rests(quiet: RunningExchange) -> None:
    exchange = quiet.exchange
    live, selection = _open_market(quiet)
    exchange.place(_order(live, selection, Side.LAY, None, 10_000_000))  # empties that side
    lay = exchange.place(_order(live, selection, Side.LAY, "1.01", 500))
    exchange.place(_order(live, selection, Side.BACK, None, 10_000_000))
    assert live.books[selection.selection_id, selection.handicap].best(Side.LAY) is None
    nothing = exchange.place(_order(live, selection, Side.BACK, None, 500))
    assert (nothing.status, nothing.cancelled_minor) == (BetStatus.CANCELLED, 500)
    assert live.bets[int(lay.bet_id)].status is BetStatus.MATCHED


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"market_id": "1.1"}, OrderRefusal.UNKNOWN_MARKET),
        ({"selection_id": 1}, OrderRefusal.UNKNOWN_SELECTION),
        ({"odds": Decimal("2.01")}, OrderRefusal.INVALID_ODDS),
        ({"odds": Decimal("NaN")}, OrderRefusal.INVALID_ODDS),
        ({"odds": Decimal("sNaN")}, OrderRefusal.INVALID_ODDS),
        ({"odds": Decimal("Infinity")}, OrderRefusal.INVALID_ODDS),
        ({"stake_minor": 99}, OrderRefusal.INVALID_STAKE),
    ],
)
def test_a_refused_order_says_why_and_changes_nothing(
    quiet: RunningExchange, change: dict[str, object], refusal: OrderRefusal
) -> None:

    live, selection = _open_market(quiet)
    order = msgspec.structs.replace(_order(live, selection, Side.BACK, "2", 500), **change)
    before = dict(live.bets)
    with pytest.raises(OrderRefused) as refused:
        quiet.exchange.place(order)
    assert refused.value.refusal is refusal
    assert live.bets == before


def test_a_suspended_market_takes_no_orders_and_what_rested_has_lapsed(quiet: RunningExchange) -> None:
    live, selection = _open_market(quiet, lapsing=True)
    bet = quiet.exchange.place(_order(live, selection, Side.BACK, "900", 1000))
    for _ in range(20 * 300):
        quiet.run(0.05)
        if live.state.suspended:
            break
    with pytest.raises(OrderRefused) as refused:
        quiet.exchange.place(_order(live, selection, Side.BACK, "900", 1000))
    assert refused.value.refusal is OrderRefusal.MARKET_SUSPENDED
    newest = [
        record
        for record in (decode(data) for _, data in quiet.pairs)
        if isinstance(record, BetUpdate) and record.bet_id == bet.bet_id
    ][-1]
    assert (newest.status, newest.lapsed_minor) == (BetStatus.LAPSED, 1000)


def test_a_bet_that_waits_to_be_voided_is_no_longer_its_owners_to_cancel(quiet: RunningExchange) -> None:
    live, selection = _open_market(quiet)
    placed = [
        quiet.exchange.place(_order(live, selection, Side.BACK, "900", 1000)).bet_id for _ in range(300)
    ]
    live.state.phase, live.state.next_step_at_us = Phase.VOIDING, 0
    quiet.run(0.05)
    waiting = [bet_id for bet_id in placed if int(bet_id) in live.bets]
    assert 0 < len(waiting) < len(placed), "the void is to be cut off in the middle"
    with pytest.raises(OrderRefused) as refused:
        quiet.exchange.cancel(waiting[-1])
    assert refused.value.refusal is OrderRefusal.MARKET_CLOSED
    with pytest.raises(OrderRefused) as refused:
        quiet.exchange.replace(waiting[-1], Decimal(950))
    assert refused.value.refusal is OrderRefusal.MARKET_CLOSED
    quiet.run(5)
    newest = {
        record.bet_id: record
        for record in (decode(data) for _, data in quiet.pairs)
        if isinstance(record, BetUpdate)
    }
    assert {newest[bet_id].status for bet_id in placed} == {BetStatus.VOIDED}


@pytest.mark.long
def test_markets_whose_time_passed_during_a_long_stop_are_settled_to_the_penny(tmp_path: Path) -> None:
    clock = MadeUpTime()
    before = RunningExchange(tmp_path / "journal.sqlite", clock, rate=100)
    before.run(60)
    were = set(before.exchange.markets)
    clock.us += 3600 * 1_000_000
    after = RunningExchange(tmp_path / "journal.sqlite", clock, rate=100)
    for _ in range(120):
        after.run(1)
        if not were & set(after.exchange.markets):
            break
    assert not were & set(after.exchange.markets)
    newest: dict[str, BetUpdate] = {}
    for record in (decode(data) for _, data in before.pairs + after.pairs):
        if isinstance(record, BetUpdate) and record.market_id in were:
            newest[record.bet_id] = record
    assert newest
    assert all(bet.status is BetStatus.SETTLED for bet in newest.values() if bet.matched_minor)
    assert not any(bet.remaining_minor for bet in newest.values())
    for market_id in were:
        assert sum(bet.profit_minor for bet in newest.values() if bet.market_id == market_id) == 0


def test_at_twice_the_pace_markets_live_half_as_long() -> None:
    def lives_us(pace: float) -> list[int]:
        programme = Programme(Fixtures(random.Random(2), 1), random.Random(1), pace=pace)
        programme.plan(0)
        return [state.ends_at_us - state.opens_at_us for state in programme.upcoming]

    usual, hurried = lives_us(1), lives_us(2)
    assert min(usual) >= 90 * 1_000_000
    assert all(abs(one - 2 * other) <= 2 for one, other in zip(usual, hurried, strict=True))
