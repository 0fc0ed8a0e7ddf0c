"""Settlement: zero-sum to the penny, commission shared to the penny."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.bets import BetResult, BetStatus, Side, winnings_minor
from exchange_platform.domain.money import commission_minor
from exchange_platform.domain.records import BetUpdate
from exchange_platform.exchanges.simulated.markets.ladder import PRICES
from exchange_platform.exchanges.simulated.markets.settlement import COMMISSION_RATE, settle

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def _matched(number: int, user: int, selection: int, side: Side, odds: Decimal, stake: int) -> BetUpdate:
    return BetUpdate(
        bet_id=str(number),
        version=2,
        user_id=f"user-{user}",
        event_id="e",
        market_id="m",
        selection_id=selection,
        side=side,
        odds=odds,
        currency="GBP",
        stake_minor=stake,
        matched_minor=stake,
        matched_winnings_minor=winnings_minor(stake, odds),
        status=BetStatus.MATCHED,
        placed_at=NOW,
        updated_at=NOW,
    )


_MATCH = st.tuples(
    st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.sampled_from(PRICES), st.integers(1, 10**6)
)


@given(st.lists(_MATCH, max_size=40), st.sets(st.integers(0, 3)))
def test_gross_profits_sum_to_zero_and_commission_to_each_customers_share(
    matches: list[tuple[int, int, int, Decimal, int]], winning: set[int]
) -> None:
    bets: list[BetUpdate] = []
    for number, (backer, layer, selection, odds, stake) in enumerate(matches):
        bets.append(_matched(2 * number, backer, selection, Side.BACK, odds, stake))
        bets.append(_matched(2 * number + 1, layer, selection, Side.LAY, odds, stake))
    outcomes = settle(bets, {(selection, Decimal(0)) for selection in winning})
    assert sum(outcome.profit_minor for outcome in outcomes.values()) == 0
    for user in {bet.user_id for bet in bets}:
        own = [outcomes[bet.bet_id] for bet in bets if bet.user_id == user]
        net = sum(outcome.profit_minor for outcome in own)
        assert sum(outcome.commission_minor for outcome in own) == commission_minor(net, COMMISSION_RATE)
        assert commission_minor(net, COMMISSION_RATE) == round(Decimal(max(0, net)) / 20)
        assert all(outcome.commission_minor <= max(0, outcome.profit_minor) for outcome in own)
    for bet in bets:
        won = (bet.selection_id in winning) is (bet.side is Side.BACK)
        assert outcomes[bet.bet_id].result is (BetResult.WON if won else BetResult.LOST)
