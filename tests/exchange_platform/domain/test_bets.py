"""Bets: sums, transitions, exposure against brute force."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_platform.domain.bets import (
    FLAT,
    LIVE,
    NEXT,
    REACHABLE,
    Bet,
    BetResult,
    BetStatus,
    IllegalBet,
    IllegalTransition,
    Position,
    Side,
    check_transition,
    lay_liability_minor,
    market_exposure_minor,
    winnings_minor,
)
from exchange_platform.domain.odds import CLASSIC

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def bet(**changes: Any) -> Bet:
    values: dict[str, Any] = {
        "bet_id": "b1",
        "version": 1,
        "user_id": "u1",
        "event_id": "e1",
        "market_id": "m1",
        "selection_id": 1,
        "side": Side.BACK,
        "odds": Decimal(3),
        "currency": "GBP",
        "stake_minor": 1000,
        "remaining_minor": 1000,
        "status": BetStatus.OPEN,
        "placed_at": NOW,
        "updated_at": NOW,
    }
    return Bet(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"remaining_minor": 999}, "broken sum"),
        ({"status": BetStatus.MATCHED}, "remaining"),
        ({"status": BetStatus.MATCHED, "remaining_minor": 0, "cancelled_minor": 1000}, "nothing matched"),
        ({"status": BetStatus.OPEN, "remaining_minor": 0, "matched_minor": 1000}, "nothing remaining"),
        (
            {"status": BetStatus.CANCELLED, "remaining_minor": 0, "matched_minor": 1, "cancelled_minor": 999},
            "matched",
        ),
        ({"status": BetStatus.SETTLED, "remaining_minor": 0, "matched_minor": 1000}, "without a result"),
        ({"profit_minor": 5}, "only SETTLED"),
        ({"odds": Decimal("1.005")}, "out of range"),
        ({"odds": Decimal("NaN")}, "out of range"),
        ({"odds": Decimal("2.00001")}, "more than 3 decimals"),
        ({"handicap": Decimal("0.333")}, "handicap"),
        ({"placed_at": datetime(1970, 1, 1, tzinfo=UTC)}, "out of range"),
        ({"matched_winnings_minor": 5}, "nothing matched"),
    ],
)
def test_a_bet_that_contradicts_itself_can_not_be_made(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(IllegalBet, match=reason):
        bet(**changes)


def test_final_statuses_lead_nowhere_and_settlement_can_be_taken_back() -> None:
    for status in (BetStatus.REJECTED, BetStatus.CANCELLED, BetStatus.LAPSED, BetStatus.VOIDED):
        assert not NEXT[status]
        assert not REACHABLE[status]
    assert BetStatus.UNSETTLED in NEXT[BetStatus.SETTLED]
    assert BetStatus.SETTLED in NEXT[BetStatus.UNSETTLED]
    assert BetStatus.SETTLED in REACHABLE[BetStatus.PENDING]
    assert BetStatus.SETTLED not in NEXT[BetStatus.PENDING]


def test_what_a_bet_is_about_never_changes() -> None:
    before = bet()
    for changes in (
        {"user_id": "u2"},
        {"market_id": "m2"},
        {"selection_id": 2},
        {"side": Side.LAY},
        {"stake_minor": 2000, "remaining_minor": 2000},
        {"currency": "EUR"},
    ):
        with pytest.raises(IllegalTransition, match="fixed for a bet's life"):
            check_transition(before, bet(version=2, **changes))


def test_a_missed_version_allows_what_a_path_of_legal_steps_reaches() -> None:
    pending = bet(status=BetStatus.PENDING)
    settled = {
        "status": BetStatus.SETTLED,
        "remaining_minor": 0,
        "matched_minor": 1000,
        "matched_winnings_minor": 2000,
    }
    with pytest.raises(IllegalTransition, match=r"PENDING .* SETTLED"):
        check_transition(pending, bet(version=2, result=BetResult.WON, **settled))
    check_transition(pending, bet(version=3, result=BetResult.WON, **settled))


def test_matched_money_is_only_undone_by_a_void() -> None:
    part = bet(matched_minor=600, remaining_minor=400, matched_winnings_minor=1200)
    with pytest.raises(IllegalTransition, match="matched"):
        check_transition(
            part, bet(version=2, matched_minor=500, remaining_minor=500, matched_winnings_minor=1000)
        )
    check_transition(part, bet(version=2, status=BetStatus.VOIDED, remaining_minor=0, voided_minor=1000))


# Exposure against brute force: every set of winners, and every resting bet matched in full or not at all.


@dataclass(frozen=True)
class Stake:
    selection: int
    side: Side
    odds: Decimal
    matched: int
    remaining: int


stakes = st.builds(
    Stake,
    selection=st.integers(0, 3),
    side=st.sampled_from(Side),
    odds=st.sampled_from(list(CLASSIC)),
    matched=st.integers(0, 5000),
    remaining=st.integers(0, 5000),
).filter(lambda stake: stake.matched + stake.remaining > 0)


def as_bet(stake: Stake, number: int = 0) -> Bet:
    return bet(
        bet_id=f"b{number}",
        selection_id=stake.selection,
        side=stake.side,
        odds=stake.odds,
        stake_minor=stake.matched + stake.remaining,
        matched_minor=stake.matched,
        remaining_minor=stake.remaining,
        matched_winnings_minor=winnings_minor(stake.matched, stake.odds) if stake.matched else 0,
        status=BetStatus.OPEN if stake.remaining else BetStatus.MATCHED,
        number_of_selections=4,
    )


def worst_loss(portfolio: list[Stake], winners: int, selections: int) -> int:
    def result(stake: Stake, amount: int, wins: bool) -> int:
        gain = winnings_minor(amount, stake.odds) if amount else 0
        if stake.side is Side.BACK:
            return gain if wins else -amount
        return -gain if wins else amount

    def cost(stake: Stake, wins: bool) -> int:
        """Of what is unmatched, rounded up."""
        if stake.side is Side.BACK:
            return 0 if wins else stake.remaining
        return math.ceil(stake.remaining * (stake.odds - 1)) if wins else 0

    worst = 0
    for winning in itertools.combinations(range(selections), winners):
        total = 0
        for stake in portfolio:
            wins = stake.selection in winning
            total += result(stake, stake.matched, wins)
            total += min(0, -cost(stake, wins))
        worst = min(worst, total)
    return -worst


def exposure(portfolio: list[Stake], winners: int, selections: int) -> int:
    positions: dict[int, Position] = {}
    for stake in portfolio:
        positions[stake.selection] = positions.get(stake.selection, FLAT) + as_bet(stake).position()
    return market_exposure_minor(positions.values(), winners, selections)


@given(st.lists(stakes, max_size=6), st.integers(1, 3), st.integers(4, 6))
def test_exposure_is_the_worst_case_over_every_outcome(
    portfolio: list[Stake], winners: int, selections: int
) -> None:
    assert exposure(portfolio, winners, selections) == worst_loss(portfolio, winners, selections)


@given(st.lists(stakes, max_size=5), stakes)
def test_laying_off_what_was_backed_never_raises_exposure(portfolio: list[Stake], back: Stake) -> None:
    backed = Stake(back.selection, Side.BACK, back.odds, back.matched + back.remaining, 0)
    laid = Stake(back.selection, Side.LAY, back.odds, back.matched + back.remaining, 0)
    alone = exposure(portfolio, 1, 4)
    assert exposure([*portfolio, backed, laid], 1, 4) == alone


@given(stakes)
def test_liability_is_the_exposure_of_a_bet_alone_among_many_selections(stake: Stake) -> None:
    one = as_bet(stake)
    assert one.liability_minor == market_exposure_minor([one.position()], 1, 10)


@given(st.sampled_from(sorted(set(BetStatus) - LIVE, key=str)), stakes)
def test_a_bet_that_is_over_costs_nothing_more(status: BetStatus, stake: Stake) -> None:
    over = msgspec.structs.replace(
        bet(),
        remaining_minor=0,
        **(
            {"status": status, "cancelled_minor": 1000}
            if status is not BetStatus.SETTLED
            else {"status": status, "matched_minor": 1000, "result": BetResult.LOST, "profit_minor": -1000}
        ),
    )
    assert over.position() == FLAT
    assert over.liability_minor == 0


@settings(max_examples=50)
@given(st.integers(1, 10**9), st.sampled_from(list(CLASSIC)))
def test_winnings_are_rounded_down_and_liabilities_up(stake: int, odds: Decimal) -> None:
    exact = stake * (odds - 1)
    assert 0 <= exact - winnings_minor(stake, odds) < 1
    assert 0 <= lay_liability_minor(stake, odds) - exact < 1


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12), st.sampled_from(list(CLASSIC)), st.data())
def test_a_lay_never_costs_more_than_was_set_aside_for_it_however_it_is_filled(
    fills: list[int], odds: Decimal, data: st.DataObject
) -> None:
    stake = sum(fills)
    paid = 0
    left = stake
    set_aside = lay_liability_minor(stake, odds)
    for fill in fills:
        at = data.draw(st.sampled_from([odds, min(odds, Decimal("1.01")), (odds + 1) / 2]))
        paid += winnings_minor(fill, at)
        left -= fill
        assert paid + lay_liability_minor(left, odds) <= set_aside
