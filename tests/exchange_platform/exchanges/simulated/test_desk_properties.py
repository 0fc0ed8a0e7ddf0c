"""Whatever customers order, in whatever order it arrives and whenever the exchange dies: each bet has one
legal history.
"""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_platform.domain.bets import BetStatus, Side, check_transition
from exchange_platform.domain.orders import CancelOrder, Order, PlaceOrder, ReplaceOrder
from exchange_platform.domain.records import BetUpdate, Execution, decode
from exchange_platform.exchanges.simulated.markets.market import FINAL
from exchange_platform.exchanges.simulated.states import Phase
from tests.exchange_platform.exchanges.simulated.running import MadeUpTime, RunningExchange

_ODDS = ("1.01", "1.5", "2", "2.01", "2.5", "3", "4", "8", "50", "900", "1000", "1000", None)
_STAKES = (99, 100, 250, 1000, 77_777, 10_000_000, 10_000_001)
_ACTIONS = st.lists(
    st.sampled_from(("place", "place", "place", "cancel", "replace", "repeat", "wait", "long wait", "die", "in play", "close")),
    min_size=4,
    max_size=30,
)  # fmt: skip


class _Customers:
    """Draws orders, most of them possible ones, and remembers them."""

    def __init__(self, running: RunningExchange, chance: random.Random) -> None:
        self.running = running
        self.chance = chance
        self.sent: list[Order] = []
        self.bets: dict[str, tuple[int, int]] = {}
        """Versions given by the platform, and stakes, by bet id."""
        self.markets: dict[str, str] = {}
        self.owners: dict[str, str] = {}

    def order(self, kind: str) -> Order:
        at = datetime.fromtimestamp(self.running.clock.us / 1e6, UTC)
        number = len(self.sent)
        user = self.chance.choice(("ann", "bob"))
        if kind == "place" or not self.bets:
            live = self.chance.choice(list(self.running.exchange.markets.values()))
            selection = self.chance.choice(live.state.market.selections)
            odds = self.chance.choice(_ODDS)
            order: Order = PlaceOrder(
                order_id=f"o{number}",
                bet_id=f"b{number}",
                version=self.chance.randrange(1, 5),
                user_id=user,
                market_id=live.market_id if self.chance.random() < 0.95 else "1.1",
                ordered_at=at,
                event_id=live.state.market.event_id,
                selection_id=selection.selection_id,
                handicap=selection.handicap,
                side=self.chance.choice(list(Side)),
                odds=None if odds is None else Decimal(odds),
                currency="GBP" if self.chance.random() < 0.97 else "EUR",
                stake_minor=self.chance.choice(_STAKES),
            )
        else:
            bet_id = self.chance.choice([*list(self.bets)[-6:], "b999"])
            market = self.markets.get(bet_id, "1.1")
            if self.chance.random() < 0.9:
                user = self.owners.get(bet_id, user)
            if kind == "cancel":
                size = self.chance.choice((None, 1, 60, 10**9))
                order = CancelOrder(
                    order_id=f"o{number}",
                    bet_id=bet_id,
                    user_id=user,
                    market_id=market,
                    ordered_at=at,
                    size_minor=size,
                )
            else:
                order = ReplaceOrder(
                    order_id=f"o{number}",
                    bet_id=bet_id,
                    user_id=user,
                    market_id=market,
                    ordered_at=at,
                    new_bet_id=f"b{number}",
                    new_version=self.chance.randrange(1, 5),
                    odds=Decimal(self.chance.choice(_ODDS[:-1]) or 2),
                    stake_minor=self.chance.choice((50, 1000, 77_777, 10**7)),
                )  # fmt: skip
        self.sent.append(order)
        if not isinstance(order, CancelOrder):
            new = order.bet_id if isinstance(order, PlaceOrder) else order.new_bet_id
            self.bets[new] = (
                order.version if isinstance(order, PlaceOrder) else order.new_version,
                order.stake_minor,
            )
            self.markets[new] = order.market_id
            self.owners[new] = order.user_id
        return order


@pytest.mark.parametrize("lives", [12, pytest.param(50, marks=pytest.mark.faults)])
def test_every_answered_bet_has_one_legal_history_that_executions_account_for(lives: int) -> None:
    settings(max_examples=lives)(given(_ACTIONS, st.integers(0, 2**20))(_live))()


def _live(actions: list[str], seed: int) -> None:
    """Let an exchange live through these actions, and account for all that came of them."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.sqlite"
        running = RunningExchange(path, MadeUpTime(), rate=30, seed=seed)
        running.run(0.2)
        customers = _Customers(running, chance)
        pairs = []
        for action in actions:
            markets = list(running.exchange.markets.values())
            if action in ("place", "cancel", "replace"):
                running.order(*(customers.order(action) for _ in range(chance.randrange(1, 4))))
            elif action == "repeat" and customers.sent:
                again = chance.choices(customers.sent, k=3)
                renamed = [
                    msgspec.structs.replace(one, order_id=f"{one.order_id}-again")
                    for one in again
                    if not isinstance(one, CancelOrder)
                ]
                running.order(*again, *renamed)
            elif action == "in play":
                live = chance.choice(markets)
                live.state.in_play_at_us = min(live.state.in_play_at_us, running.clock.us)
            elif action == "close":
                chance.choice(markets).state.closes_at_us = running.clock.us
            elif action == "die":
                pairs += running.pairs
                running = RunningExchange(path, running.clock, rate=30, seed=seed)
                customers.running = running
            else:
                running.run(0.3 if action == "wait" else 7)
        for live in running.exchange.markets.values():
            live.state.closes_at_us = running.clock.us
        running.run(0.2)
        for live in running.exchange.markets.values():
            assert live.state.phase is not Phase.PRE_PLAY or live.state.closes_at_us > running.clock.us
        pairs += running.pairs
        _check(customers, [decode(data) for _, data in pairs], running)


def _check(customers: _Customers, told: list[object], running: RunningExchange) -> None:
    histories: dict[str, list[BetUpdate]] = defaultdict(list)
    matched: dict[str, int] = defaultdict(int)
    for record in told:
        if isinstance(record, BetUpdate):
            histories[record.bet_id].append(record)
        else:
            assert isinstance(record, Execution)
            for bet_id in (record.back_bet_id, record.lay_bet_id):
                assert bet_id is not None
                matched[bet_id] += int(record.stake * 100)
    placed = {order.bet_id for order in customers.sent if isinstance(order, PlaceOrder)}
    assert placed <= set(histories), "every order to place is answered"
    for bet_id, (version, stake) in customers.bets.items():
        history = histories.get(bet_id, [])
        if not history:
            replaced = next(
                one.bet_id
                for one in customers.sent
                if isinstance(one, ReplaceOrder) and one.new_bet_id == bet_id
            )
            assert replaced not in histories, "every replacement of a bet that was taken is answered"
            continue
        assert [bet.version for bet in history] == list(range(version + 1, version + 1 + len(history)))
        assert history[0].stake_minor == stake
        pending = msgspec.structs.replace(
            history[0],
            version=version,
            status=BetStatus.PENDING,
            remaining_minor=stake,
            matched_minor=0,
            cancelled_minor=0,
            lapsed_minor=0,
            voided_minor=0,
            matched_winnings_minor=0,
            result=None,
        )
        for before, after in pairwise([pending, *history]):
            check_transition(before, after)
        assert max(bet.matched_minor for bet in history) == matched[bet_id]
        assert running.journal.taken_bet(bet_id) == history[-1]
        assert history[-1].status in (*FINAL, BetStatus.MATCHED, BetStatus.SETTLED, BetStatus.UNSETTLED)
    for bet in histories.values():
        assert len({one.version for one in bet}) == len(bet)
    for order in customers.sent:
        if isinstance(order, ReplaceOrder) and (new := histories.get(order.new_bet_id)):
            answer = next((bet for bet in new if bet.status is not BetStatus.PENDING), None)
            if answer is not None and answer.status in (BetStatus.OPEN, BetStatus.MATCHED):
                taken_over = answer.stake_minor - answer.cancelled_minor
                old = histories[order.bet_id]
                assert max(bet.cancelled_minor for bet in old) >= taken_over > 0, "both or neither"
