"""What a customer asks of the exchange, and why it may refuse. Not here: doing it (market.py,
simulated/exchange.py).
"""

from __future__ import annotations

import enum
from decimal import Decimal

import msgspec

from exchange_platform.domain.bets import Side

MIN_STAKE_MINOR = 100
MAX_STAKE_MINOR = 10_000_000


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order to back or lay a selection; without odds it is a market order, met at once or not at all."""

    user_id: str
    market_id: str
    selection_id: int
    handicap: Decimal = Decimal(0)
    side: Side
    odds: Decimal | None
    stake_minor: int


class OrderRefusal(enum.Enum):
    """Why an order was not taken."""

    UNKNOWN_MARKET = "unknown market"
    UNKNOWN_SELECTION = "unknown selection"
    MARKET_SUSPENDED = "market suspended"
    MARKET_CLOSED = "market closed"
    MARKET_INACTIVE = "market not open yet"
    WRONG_EVENT = "market of another event"
    CURRENCY = "currency not taken"
    INVALID_ODDS = "invalid odds"
    INVALID_STAKE = "invalid stake"
    NOT_RESTING = "bet not resting"
    NOT_THE_OWNERS = "bet of somebody else"


class OrderRefused(Exception):
    """The exchange did not do what was asked, and nothing changed; `refusal` says why."""

    def __init__(self, refusal: OrderRefusal, detail: str) -> None:
        super().__init__(f"{refusal.value}: {detail}")
        self.refusal = refusal
