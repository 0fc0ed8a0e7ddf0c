"""What follows from bets, worked out a second time: changes that owners are notified of, positions,
exposures, profiles. Pure.

Exposure is found by going through every outcome of the market, which is slow and shares no formula with the
platform.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from itertools import combinations

from tests.faults.audit.records import Bet

_LIVE = frozenset({"PENDING", "OPEN", "MATCHED", "UNSETTLED"})
_SAID_BY_STATUS = {
    "REJECTED": "rejected",
    "CANCELLED": "cancelled",
    "LAPSED": "lapsed",
    "VOIDED": "voided",
    "UNSETTLED": "unsettled",
}


@dataclass(frozen=True, slots=True)
class Position:
    """What a user wins or loses, in pence, if a selection wins and if it loses."""

    if_wins: int
    if_loses: int


def placed(first: Bet) -> Bet:
    """A customer's bet at version 1, as the platform recorded it before the exchange answered with
    `first`.
    """
    return replace(
        first,
        version=1,
        status="PENDING",
        remaining_minor=first.stake_minor,
        matched_minor=0,
        lapsed_minor=0,
        cancelled_minor=0,
        voided_minor=0,
        matched_winnings_minor=0,
        result=None,
        profit_minor=0,
        commission_minor=0,
        reason=None,
    )


def change(before: Bet | None, after: Bet) -> str | None:
    """What the owner is notified of; None where it is nothing."""
    if after.status == "SETTLED":
        if before is None or before.status != "SETTLED":
            return "settled"
        same = (before.result, before.profit_minor, before.commission_minor) == (
            after.result,
            after.profit_minor,
            after.commission_minor,
        )
        return None if same else "settled"
    if (before is None or before.status != after.status) and after.status in _SAID_BY_STATUS:
        return _SAID_BY_STATUS[after.status]
    if after.matched_minor > (before.matched_minor if before is not None else 0):
        return "matched"
    if before is None:
        return "accepted" if after.status != "PENDING" else None
    if before.status == "PENDING" and after.status == "OPEN":
        return "accepted"
    for said in ("voided", "lapsed", "cancelled"):
        if getattr(after, f"{said}_minor") > getattr(before, f"{said}_minor"):
            return said
    return None


def position(bet: Bet) -> Position:
    """What one bet can still win or cost, its unmatched part at its worst."""
    if bet.status not in _LIVE:
        return Position(0, 0)
    if bet.side == "back":
        return Position(bet.matched_winnings_minor, -(bet.matched_minor + bet.remaining_minor))
    unmatched = int((bet.remaining_minor * (bet.odds - 1)).to_integral_value(ROUND_CEILING))
    return Position(-bet.matched_winnings_minor - unmatched, bet.matched_minor)


def positions(bets: Iterable[Bet]) -> dict[tuple[str, str, int, Decimal], Position]:
    """By (user, market, selection, handicap), those that are not 0 both ways."""
    sums: dict[tuple[str, str, int, Decimal], list[int]] = defaultdict(lambda: [0, 0])
    for bet in bets:
        one = position(bet)
        both = sums[bet.user_id, bet.market_id, bet.selection_id, bet.handicap]
        both[0] += one.if_wins
        both[1] += one.if_loses
    return {key: Position(wins, loses) for key, (wins, loses) in sums.items() if wins or loses}


def exposure(held: Sequence[Position], winners: int, selections: int) -> int:
    """The most that can be lost over every set of winners there can be."""
    if not held:
        return 0
    without_bets = max(0, selections - len(held))
    worst: int | None = None
    number = min(winners, len(held) + without_bets)
    for of_held in range(max(0, number - without_bets), min(number, len(held)) + 1):
        for win in combinations(range(len(held)), of_held):
            outcome = sum(one.if_wins if place in win else one.if_loses for place, one in enumerate(held))
            worst = outcome if worst is None else min(worst, outcome)
    return max(0, -(worst or 0))


def exposures(bets: Iterable[Bet]) -> dict[tuple[str, str], int]:
    """By (user, market), for every one in which the user has a position."""
    newest = list(bets)
    shape = {bet.market_id: (bet.number_of_winners, bet.number_of_selections) for bet in newest}
    held: dict[tuple[str, str], list[Position]] = defaultdict(list)
    for (user_id, market_id, _, _), one in positions(newest).items():
        held[user_id, market_id].append(one)
    return {key: exposure(some, *shape[key[1]]) for key, some in held.items()}


def profile(bets: Sequence[Bet], deposited: int) -> dict[str, int]:
    """The counts and sums of one user's profile, exposure and version left out."""
    counted = [bet for bet in bets if bet.status != "REJECTED"]
    profit = sum(bet.profit_minor for bet in bets)
    commission = sum(bet.commission_minor for bet in bets)
    return {
        "balance_minor": deposited + profit - commission,
        "profit_minor": profit,
        "commission_minor": commission,
        "deposited_minor": deposited,
        "withdrawn_minor": 0,
        "bets": len(counted),
        "open_bets": sum(bet.status in _LIVE for bet in bets),
        "matched_bets": sum(bet.matched_minor > 0 for bet in bets),
        "settled_bets": sum(bet.status == "SETTLED" for bet in bets),
        "won_bets": sum(bet.result == "won" for bet in bets),
        "lost_bets": sum(bet.result == "lost" for bet in bets),
        "staked_minor": sum(bet.stake_minor for bet in counted),
        "matched_minor": sum(bet.matched_minor for bet in bets),
    }
