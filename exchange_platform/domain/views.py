"""What applications are shown of bets and money: one definition, which the API answers with and its Python
client returns. Not here: how they are written as JSON (api/routes), what a bet is (bets.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from exchange_platform.domain.bets import Bet, BetResult, BetStatus, Side

_OVER = frozenset(
    {BetStatus.SETTLED, BetStatus.REJECTED, BetStatus.CANCELLED, BetStatus.LAPSED, BetStatus.VOIDED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BetView:
    """A bet at a version. stake = matched + remaining + lapsed + cancelled + voided, in minor units of
    `currency`.
    """

    bet_id: str
    version: int
    account_id: str
    event_id: str
    market_id: str
    selection_id: int
    handicap: Decimal
    side: Side
    odds: Decimal
    currency: str
    status: BetStatus
    result: BetResult | None
    stake_minor: int
    matched_minor: int
    remaining_minor: int
    lapsed_minor: int
    cancelled_minor: int
    voided_minor: int
    average_matched_odds: Decimal | None
    profit_minor: int
    commission_minor: int
    reason: str | None
    placed_at: datetime
    updated_at: datetime

    @property
    def over(self) -> bool:
        """Whether nothing more is to be expected of it, save that a settlement may be taken back."""
        return self.status in _OVER

    @classmethod
    def of(cls, bet: Bet) -> BetView:
        """The bet as it is shown, its decimals without trailing zeros."""
        average = bet.average_matched_odds
        return cls(
            bet_id=bet.bet_id,
            version=bet.version,
            account_id=bet.user_id,
            event_id=bet.event_id,
            market_id=bet.market_id,
            selection_id=bet.selection_id,
            handicap=_short(bet.handicap),
            side=bet.side,
            odds=_short(bet.odds),
            currency=bet.currency,
            status=bet.status,
            result=bet.result,
            stake_minor=bet.stake_minor,
            matched_minor=bet.matched_minor,
            remaining_minor=bet.remaining_minor,
            lapsed_minor=bet.lapsed_minor,
            cancelled_minor=bet.cancelled_minor,
            voided_minor=bet.voided_minor,
            average_matched_odds=_short(average) if average is not None else None,
            profit_minor=bet.profit_minor,
            commission_minor=bet.commission_minor,
            reason=bet.reason,
            placed_at=bet.placed_at,
            updated_at=bet.updated_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletView:
    """An account's money now, in minor units of `currency`: balance = deposited - withdrawn + profit -
    commission; available, what may be bet or withdrawn, = balance - exposure.
    """

    account_id: str
    currency: str
    balance_minor: int
    exposure_minor: int
    available_minor: int
    deposited_minor: int
    withdrawn_minor: int
    profit_minor: int
    commission_minor: int


def _short(value: Decimal) -> Decimal:
    return Decimal(f"{value.normalize():f}") if value else Decimal(0)
