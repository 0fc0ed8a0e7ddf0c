"""Bets' lives for tests of the operational stores: single steps, and random legal lives.

Not here: streams of many users' bets (tests/support/workload.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

from exchange_platform.domain.bets import Bet, BetResult, BetStatus, Side, check_transition, winnings_minor

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
Change = Callable[[Bet], Bet]


def opened(**changes: Any) -> Bet:
    """An open back of 10.00 at 3.0."""
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
        "number_of_selections": 3,
        "placed_at": NOW,
        "updated_at": NOW,
    }
    return Bet(**(values | changes))


def later(bet: Bet, **changes: Any) -> Bet:
    return msgspec.structs.replace(
        bet, version=bet.version + 1, updated_at=bet.updated_at + timedelta(seconds=1), **changes
    )


def matched(bet: Bet) -> Bet:
    return later(
        bet,
        status=BetStatus.MATCHED,
        matched_minor=bet.stake_minor,
        remaining_minor=0,
        matched_winnings_minor=winnings_minor(bet.stake_minor, bet.odds),
    )


def settled(bet: Bet, result: BetResult) -> Bet:
    gain, loss = bet.matched_winnings_minor, bet.matched_minor
    if bet.side is Side.LAY:
        gain, loss = loss, gain
    profit = {BetResult.WON: gain, BetResult.LOST: -loss, BetResult.VOID: 0}[result]
    return later(
        bet,
        status=BetStatus.SETTLED,
        result=result,
        profit_minor=profit,
        commission_minor=max(0, profit) // 50,
    )


def unsettled(bet: Bet) -> Bet:
    return later(bet, status=BetStatus.UNSETTLED, result=None, profit_minor=0, commission_minor=0)


def voided(bet: Bet) -> Bet:
    return later(
        bet,
        status=BetStatus.VOIDED,
        result=None,
        profit_minor=0,
        commission_minor=0,
        matched_minor=0,
        matched_winnings_minor=0,
        remaining_minor=0,
        voided_minor=bet.voided_minor + bet.matched_minor + bet.remaining_minor,
    )


def part_matched(bet: Bet) -> Bet:
    return later(bet, matched_minor=400, remaining_minor=600, matched_winnings_minor=800)


def rest_cancelled(bet: Bet) -> Bet:
    return later(bet, status=BetStatus.MATCHED, remaining_minor=0, cancelled_minor=bet.remaining_minor)


def rest_lapsed(bet: Bet) -> Bet:
    return later(bet, status=BetStatus.MATCHED, remaining_minor=0, lapsed_minor=bet.remaining_minor)


def part_voided(bet: Bet) -> Bet:
    return later(
        bet,
        matched_minor=bet.matched_minor - 100,
        matched_winnings_minor=bet.matched_winnings_minor - 200,
        voided_minor=100,
    )


def won(bet: Bet) -> Bet:
    return settled(bet, BetResult.WON)


def lost(bet: Bet) -> Bet:
    return settled(bet, BetResult.LOST)


def untouched(bet: Bet) -> Bet:
    return later(bet)


def accepted(bet: Bet) -> Bet:
    return later(bet, status=BetStatus.OPEN)


def ended_as(status: BetStatus, amount: str) -> Change:
    return lambda bet: later(bet, status=status, remaining_minor=0, **{amount: bet.remaining_minor})


MARKETS = {"m1": (1, 3), "m2": (2, 4)}
"""Winners and selections, a market."""


@st.composite
def lives(draw: st.DrawFn, number: int) -> list[Bet]:
    """Every version of one bet that lives legally."""
    market = draw(st.sampled_from(sorted(MARKETS)))
    winners, selections = MARKETS[market]
    stake = draw(st.integers(2, 5_000))
    bet = opened(
        bet_id=f"b{number}",
        user_id=draw(st.sampled_from(["u1", "u2"])),
        market_id=market,
        selection_id=draw(st.integers(1, selections)),
        side=draw(st.sampled_from(Side)),
        odds=draw(st.sampled_from([Decimal("1.01"), Decimal("2.5"), Decimal("7.40"), Decimal(1000)])),
        stake_minor=stake,
        remaining_minor=stake,
        number_of_winners=winners,
        number_of_selections=selections,
        status=draw(st.sampled_from([BetStatus.PENDING, BetStatus.OPEN])),
    )
    life = [bet]
    for _ in range(draw(st.integers(0, 6))):
        steps = STEPS[bet.status]
        if not steps:
            break
        bet = draw(st.sampled_from(steps))(bet, draw)
        life.append(bet)
    for before, after in itertools.pairwise(life):
        check_transition(before, after)
    return life


def _filled(bet: Bet, draw: st.DrawFn) -> Bet:
    size = draw(st.integers(1, bet.remaining_minor))
    rest = bet.remaining_minor - size
    return later(
        bet,
        status=BetStatus.OPEN if rest else BetStatus.MATCHED,
        matched_minor=bet.matched_minor + size,
        remaining_minor=rest,
        matched_winnings_minor=bet.matched_winnings_minor + winnings_minor(size, bet.odds),
    )


def _withdrawn(bet: Bet, draw: st.DrawFn) -> Bet:
    status, amount = draw(
        st.sampled_from(
            [(BetStatus.CANCELLED, "cancelled_minor"), (BetStatus.LAPSED, "lapsed_minor")],
        )
    )
    size = draw(st.sampled_from([bet.remaining_minor, 1]))
    rest = bet.remaining_minor - size
    if rest:
        status = bet.status
    elif bet.matched_minor:
        status = BetStatus.MATCHED
    return later(bet, status=status, remaining_minor=rest, **{amount: getattr(bet, amount) + size})


def _part_voided(bet: Bet, draw: st.DrawFn) -> Bet:
    if bet.matched_minor == 1:
        return voided(bet)
    kept = draw(st.integers(1, bet.matched_minor - 1))
    return later(
        bet,
        matched_minor=kept,
        matched_winnings_minor=bet.matched_winnings_minor * kept // bet.matched_minor,
        voided_minor=bet.voided_minor + bet.matched_minor - kept,
    )


def _settled(bet: Bet, draw: st.DrawFn) -> Bet:
    return settled(bet, draw(st.sampled_from(BetResult)))


Step = Callable[[Bet, st.DrawFn], Bet]
STEPS: dict[BetStatus, Sequence[Step]] = {
    BetStatus.PENDING: (
        lambda bet, draw: accepted(bet),
        _filled,
        lambda bet, draw: voided(bet),
        lambda bet, draw: ended_as(BetStatus.REJECTED, "cancelled_minor")(bet),
    ),
    BetStatus.OPEN: (_filled, _filled, _withdrawn, lambda bet, draw: voided(bet)),
    BetStatus.MATCHED: (_settled, _settled, _part_voided, lambda bet, draw: voided(bet)),
    BetStatus.SETTLED: (_settled, lambda bet, draw: unsettled(bet), lambda bet, draw: voided(bet)),
    BetStatus.UNSETTLED: (_settled, lambda bet, draw: voided(bet)),
    BetStatus.REJECTED: (),
    BetStatus.CANCELLED: (),
    BetStatus.LAPSED: (),
    BetStatus.VOIDED: (),
}


@st.composite
def feeds(draw: st.DrawFn) -> list[Bet]:
    """Several lives interleaved, some versions missing and some repeated out of order; the last of each life
    is there.
    """
    whole = [draw(lives(number)) for number in range(draw(st.integers(1, 6)))]
    order = draw(st.permutations([number for number, life in enumerate(whole) for _ in life]))
    waiting = [iter(life) for life in whole]
    updates: list[Bet] = []
    for number in order:
        bet = next(waiting[number])
        if bet is whole[number][-1] or draw(st.integers(0, 4)):
            updates.append(bet)
        if updates and not draw(st.integers(0, 4)):
            updates.append(draw(st.sampled_from(updates)))
    return updates
