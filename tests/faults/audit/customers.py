"""What the customers wrote down of their own: who they are, what they paid in, and which bets were
acknowledged to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A bet as its customer asked for it and was answered. `odds` is None for a market order; a replacement's
    stake is what was left.
    """

    bet_id: str
    market_id: str
    selection_id: int
    side: str
    odds: Decimal | None
    stake_minor: int


@dataclass(slots=True)
class Customer:
    """One customer's notes. Bets and deposits are noted under the ids that they were asked for with, once
    they were answered.
    """

    account_id: str
    email: str
    confirmed: bool = False
    deposits: dict[str, int] = field(default_factory=dict)
    bets: dict[str, Acknowledged] = field(default_factory=dict)
    cancels: dict[str, str] = field(default_factory=dict)
    """The bets that cancels were acknowledged for."""
    unanswered: list[str] = field(default_factory=list)
    """What was asked for and never answered: then nobody can say what should be there."""
