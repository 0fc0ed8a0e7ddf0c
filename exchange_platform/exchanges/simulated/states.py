"""What of events and markets must be stored to go on after a restart. Not here: bets, and what changes any of
it.
"""

from __future__ import annotations

import enum

import msgspec

from exchange_platform.domain.events import EventStatus
from exchange_platform.exchanges.simulated.fixtures import Event, Market


class Phase(enum.Enum):
    """Where a market is in its life."""

    PRE_PLAY = "pre-play"
    """It takes bets; play has not begun."""
    IN_PLAY = "in play"
    """It takes bets while it is played, but for suspensions."""
    CLOSED = "closed"
    """Play is over; the result is awaited."""
    SETTLING = "settling"
    """Its bets are being settled, some each tick."""
    SETTLED = "settled"
    """Every bet is settled; a correction may follow."""
    UNSETTLING = "unsettling"
    """Settlements are being taken back."""
    VOIDING = "voiding"
    """Its bets are being voided."""
    FINISHED = "finished"
    """Nothing more will happen in it."""


TRADED = (Phase.PRE_PLAY, Phase.IN_PLAY)


class Fate(enum.Enum):
    """What is to become of a market; drawn when it opens."""

    SETTLED = "settled"
    """One result, which stays."""
    CORRECTED = "settled, taken back, settled otherwise"
    """Two results: the first is taken back."""
    ANNULLED = "settled, taken back, void"
    """A result that is taken back; then the market is void."""
    VOID = "void at the close"
    """Void when play is over."""
    ABANDONED = "void in the middle of play"
    """Void while it is played."""


class WaitingOrder(msgspec.Struct, frozen=True):
    """A customer's bet that waits for its bet delay. `replaces` is the bet whose rest it is to take over, if
    it is a replacement.
    """

    number: int
    due_us: int
    market_order: bool = False
    replaces: int | None = None


class MarketState(msgspec.Struct, kw_only=True):
    """All of a market that is not bets: what must be stored to go on after a restart. Instants in
    microseconds.
    """

    market: Market
    event_name: str
    sport: str
    fate: Fate
    phase: Phase = Phase.PRE_PLAY
    suspended_until_us: int = 0
    in_play_at_us: int
    closes_at_us: int
    next_step_at_us: int = 0
    next_drift_at_us: int = 0
    next_execution: int = 1
    chances: list[float]
    noise: list[float] = []
    """How far each selection's chance is from what the play says, as a logarithm."""
    winners: list[int] = []
    """Places of the winning selections in `market.selections`."""
    settlements: int = 0
    settled_at_us: int = 0
    """When it was settled or void; 0 while it is not."""
    void: bool = False
    bet_delay_s: float = 0.0
    waiting: list[WaitingOrder] = []
    traded_minor: int = 0
    feed_version: int = 0
    """The version of its newest update in the feed."""

    @property
    def suspended(self) -> bool:
        """Whether orders are refused for now."""
        return self.suspended_until_us > 0

    @property
    def open(self) -> bool:
        """Whether orders are taken."""
        return self.phase in TRADED and not self.suspended_until_us


class EventState(msgspec.Struct, kw_only=True):
    """An event from when it is announced to when the last of its markets is done with. Instants in
    microseconds.
    """

    event: Event
    seed: int
    """What its course of play is made from."""
    opens_at_us: int
    """When its markets open."""
    starts_at_us: int
    ends_at_us: int
    fates: list[Fate]
    """What is to become of each of its markets."""
    abandoned_at: float = 0.0
    """The share of play after which it is abandoned; 0: it is not."""
    status: EventStatus = EventStatus.SCHEDULED
    opened: bool = False
    step: int = -1
    """Where in its course it is; -1: before the start."""
    version: int = 0
    """The version of its newest update in the feed, and of its markets' while they have not opened."""
