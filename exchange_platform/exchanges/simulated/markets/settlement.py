"""What a result means for bets: gross profit, and commission per customer and market. Pure. Not here:
rounding (money.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from decimal import Decimal

import msgspec

from exchange_platform.domain.bets import BetResult, BetStatus, Side
from exchange_platform.domain.money import allocate, commission_minor
from exchange_platform.domain.records import BetUpdate

COMMISSION_RATE = Decimal("0.05")

SelectionKey = tuple[int, Decimal]
"""A selection's id and its handicap: what has a book and a result of its own."""


class Outcome(msgspec.Struct, frozen=True):
    """How one bet of a settled market ended."""

    result: BetResult
    profit_minor: int
    commission_minor: int


def settle(
    bets: Iterable[BetUpdate], winners: Collection[SelectionKey], rate: Decimal = COMMISSION_RATE
) -> dict[str, Outcome]:
    """Each matched bet's outcome, by bet id, if these selections win.

    A customer's commission is `max(0, net result in the market) x rate`, rounded half-even to a minor unit,
    and is shared among the customer's winning bets in proportion to their profit, to the last minor unit.
    Gross profits sum to 0 over a market in which every fill's two bets are given.
    """
    profits: dict[str, int] = {}
    results: dict[str, BetResult] = {}
    by_customer: dict[str, list[str]] = {}
    for bet in bets:
        if bet.matched_minor:
            selection_wins = (bet.selection_id, bet.handicap) in winners
            profits[bet.bet_id] = gross_profit_minor(bet, selection_wins)
            won = selection_wins is (bet.side is Side.BACK)
            results[bet.bet_id] = BetResult.WON if won else BetResult.LOST
            by_customer.setdefault(bet.user_id, []).append(bet.bet_id)
    commissions: dict[str, int] = {}
    for own in by_customer.values():
        commission = commission_minor(sum(profits[bet_id] for bet_id in own), rate)
        paying = [bet_id for bet_id in own if profits[bet_id] > 0]
        if commission:  # a net result above 0 has a bet that paid
            shares = allocate(commission, [profits[bet_id] for bet_id in paying])
            commissions.update(zip(paying, shares, strict=True))
    return {
        bet_id: Outcome(results[bet_id], profit, commissions.get(bet_id, 0))
        for bet_id, profit in profits.items()
    }


def gross_profit_minor(bet: BetUpdate, selection_wins: bool) -> int:
    """What the bet's matched part brings its owner, in minor units; negative is a loss."""
    if bet.side is Side.BACK:
        return bet.matched_winnings_minor if selection_wins else -bet.matched_minor
    return -bet.matched_winnings_minor if selection_wins else bet.matched_minor


def settled(bet: BetUpdate, outcome: Outcome, at: datetime) -> BetUpdate:
    """The bet's next version, settled."""
    return msgspec.structs.replace(
        bet,
        version=bet.version + 1,
        status=BetStatus.SETTLED,
        result=outcome.result,
        profit_minor=outcome.profit_minor,
        commission_minor=outcome.commission_minor,
        updated_at=at,
    )


def unsettled(bet: BetUpdate, at: datetime) -> BetUpdate:
    """The next version of a settled bet whose result is taken back."""
    return msgspec.structs.replace(
        bet,
        version=bet.version + 1,
        status=BetStatus.UNSETTLED,
        result=None,
        profit_minor=0,
        commission_minor=0,
        updated_at=at,
    )


def voided(bet: BetUpdate, at: datetime, reason: str) -> BetUpdate:
    """The next version of a bet whose matched and resting parts are void; what had lapsed or been cancelled
    stays so.
    """
    return msgspec.structs.replace(
        bet,
        version=bet.version + 1,
        status=BetStatus.VOIDED,
        result=None,
        profit_minor=0,
        commission_minor=0,
        matched_minor=0,
        matched_winnings_minor=0,
        remaining_minor=0,
        voided_minor=bet.voided_minor + bet.matched_minor + bet.remaining_minor,
        reason=reason,
        updated_at=at,
    )
