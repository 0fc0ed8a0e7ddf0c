"""A bet as a row of the operational database, and back. Not here: which rows are written (bets.py)."""

from __future__ import annotations

import functools
from decimal import Decimal
from typing import Any

from exchange_platform.domain.bets import Bet, BetResult, BetStatus, Side
from exchange_platform.stores.operational.database import from_us, to_us


@functools.lru_cache(maxsize=4096)
def decimal_text(value: Decimal) -> str:
    """One text for one number: 2.50 and 2.5 are `2.5`."""
    return f"{value.normalize():f}" if value else "0"


def bet_row(bet: Bet) -> tuple[Any, ...]:
    """The row of `bets` that holds the bet: its columns' values, in their order."""
    return (
        bet.bet_id,
        bet.version,
        bet.user_id,
        bet.event_id,
        bet.market_id,
        bet.selection_id,
        decimal_text(bet.handicap),
        bet.side._value_,
        decimal_text(bet.odds),
        bet.currency,
        bet.stake_minor,
        bet.matched_minor,
        bet.remaining_minor,
        bet.lapsed_minor,
        bet.cancelled_minor,
        bet.voided_minor,
        bet.matched_winnings_minor,
        bet.status._value_,
        bet.result._value_ if bet.result is not None else None,
        bet.profit_minor,
        bet.commission_minor,
        bet.reason,
        bet.number_of_winners,
        bet.number_of_selections,
        to_us(bet.placed_at),
        to_us(bet.updated_at),
    )


def bet_from_row(row: Any) -> Bet:
    """The bet that a row of `bets` holds. Raises `IllegalBet` if the row's numbers contradict each other."""
    return Bet(
        bet_id=row.bet_id,
        version=row.version,
        user_id=row.user_id,
        event_id=row.event_id,
        market_id=row.market_id,
        selection_id=row.selection_id,
        handicap=Decimal(row.handicap),
        side=Side(row.side),
        odds=Decimal(row.odds),
        currency=row.currency,
        stake_minor=row.stake_minor,
        matched_minor=row.matched_minor,
        remaining_minor=row.remaining_minor,
        lapsed_minor=row.lapsed_minor,
        cancelled_minor=row.cancelled_minor,
        voided_minor=row.voided_minor,
        matched_winnings_minor=row.matched_winnings_minor,
        status=BetStatus(row.status),
        result=BetResult(row.result) if row.result is not None else None,
        profit_minor=row.profit_minor,
        commission_minor=row.commission_minor,
        reason=row.reason,
        number_of_winners=row.number_of_winners,
        number_of_selections=row.number_of_selections,
        placed_at=from_us(row.placed_at_us),
        updated_at=from_us(row.updated_at_us),
    )
