"""Bets: their states, legal transitions, conserved sums, and what they can cost. Pure; no I/O, no clock."""

from __future__ import annotations

import enum
import functools
import heapq
import operator
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated

import msgspec

from exchange_platform.domain.odds import MAX_ODDS, MIN_ODDS

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
"""An identifier: 1 to 64 printable ASCII characters without spaces."""

SelectionId = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
MinorUnits = Annotated[int, msgspec.Meta(ge=0, le=10**13)]
"""An amount in minor units (pence): 0 to 10^13, a hundred thousand million pounds."""

SignedMinorUnits = Annotated[int, msgspec.Meta(ge=-(10**13), le=10**13)]
Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]

_EARLIEST_YEAR, _LATEST_YEAR = 2000, 2100


class Side(enum.Enum):
    """Which way a bet stands: `BACK` that the selection wins, or `LAY` that it does not."""

    BACK = "back"
    """It wins if the selection does."""
    LAY = "lay"
    """It wins if the selection does not."""

    __hash__ = object.__hash__  # an enum's own is in Python, and asked for several times a record


class BetStatus(enum.Enum):
    """Where a bet is in its life."""

    PENDING = "PENDING"
    """The platform took it, and reserved for it; the exchange has not answered."""
    OPEN = "OPEN"
    """Some of it rests on the exchange and can be matched; some may be matched already."""
    MATCHED = "MATCHED"
    """All that is left of it is matched; its result is awaited."""
    SETTLED = "SETTLED"
    """Its result is known and booked."""
    UNSETTLED = "UNSETTLED"
    """Its settlement was taken back: another follows, or it is voided."""
    REJECTED = "REJECTED"
    """The exchange, or the platform, did not take it."""
    CANCELLED = "CANCELLED"
    """Its rest was taken out on request, with nothing of it matched."""
    LAPSED = "LAPSED"
    """Its rest ended by the exchange's rules, with nothing of it matched."""
    VOIDED = "VOIDED"
    """It counts as never made: stakes are free again."""

    __hash__ = object.__hash__  # as above


class BetResult(enum.Enum):
    """How a settled bet ended."""

    WON = "won"
    """It was right."""
    LOST = "lost"
    """It was wrong."""
    VOID = "void"
    """It was neither: nothing is won or lost."""

    __hash__ = object.__hash__  # as above


_S = BetStatus
NEXT: Mapping[BetStatus, frozenset[BetStatus]] = {
    _S.PENDING: frozenset({_S.PENDING, _S.OPEN, _S.MATCHED, _S.REJECTED, _S.CANCELLED, _S.LAPSED, _S.VOIDED}),
    _S.OPEN: frozenset({_S.OPEN, _S.MATCHED, _S.CANCELLED, _S.LAPSED, _S.VOIDED, _S.SETTLED}),
    _S.MATCHED: frozenset({_S.MATCHED, _S.SETTLED, _S.VOIDED}),
    _S.SETTLED: frozenset({_S.SETTLED, _S.UNSETTLED, _S.VOIDED}),
    _S.UNSETTLED: frozenset({_S.UNSETTLED, _S.SETTLED, _S.VOIDED}),
    _S.REJECTED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.LAPSED: frozenset(),
    _S.VOIDED: frozenset(),
}
"""From a status, the statuses that the very next version may have. A part-matched bet whose rest is cancelled
or lapses is `MATCHED` with that remainder in `cancelled` or `lapsed`; `CANCELLED` and `LAPSED` mean nothing
matched.
"""


def _reachable() -> Mapping[BetStatus, frozenset[BetStatus]]:
    def after(status: BetStatus) -> frozenset[BetStatus]:
        seen: set[BetStatus] = set()
        todo = [status]
        while todo:
            for following in NEXT[todo.pop()]:
                if following not in seen:
                    seen.add(following)
                    todo.append(following)
        return frozenset(seen)

    return {status: after(status) for status in BetStatus}


REACHABLE = _reachable()
"""From a status, every status that some later version may have (updates between may have been missed)."""

LIVE = frozenset({_S.PENDING, _S.OPEN, _S.MATCHED, _S.UNSETTLED})
"""Statuses in which a bet can still cost its owner money."""


class IllegalBet(ValueError):
    """A bet's own numbers contradict each other: a broken sum, a status that its amounts deny."""


class IllegalTransition(ValueError):
    """A bet can not go from the stored state to this one."""


class Bet(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One customer's order, whole, at one version.

    Amounts are integers in minor units of `currency`. `matched_winnings_minor` is the sum over the bet's
    fills of `stake x (odds - 1)`, each rounded down to a minor unit by the exchange: what the backer of those
    fills wins from the layer if the selection wins. `profit_minor` is the bet's gross result and
    `commission_minor` the share of its market's commission charged to it; both are 0 unless `status` is
    `SETTLED`. `number_of_winners` and `number_of_selections` are the market's, as exposure depends on them.

    Raises `IllegalBet` when constructed or decoded with numbers that contradict each other.
    """

    bet_id: Id
    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    user_id: Id
    event_id: Id
    market_id: Id
    selection_id: SelectionId
    handicap: Decimal = Decimal(0)
    side: Side
    odds: Decimal
    currency: Currency
    stake_minor: Annotated[int, msgspec.Meta(ge=1, le=10**13)]
    matched_minor: MinorUnits = 0
    remaining_minor: MinorUnits = 0
    lapsed_minor: MinorUnits = 0
    cancelled_minor: MinorUnits = 0
    voided_minor: MinorUnits = 0
    matched_winnings_minor: MinorUnits = 0
    status: BetStatus
    result: BetResult | None = None
    profit_minor: SignedMinorUnits = 0
    commission_minor: MinorUnits = 0
    reason: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    number_of_winners: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    number_of_selections: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 2
    placed_at: Instant
    updated_at: Instant

    def __post_init__(self) -> None:
        accounted = (
            self.matched_minor
            + self.remaining_minor
            + self.lapsed_minor
            + self.cancelled_minor
            + self.voided_minor
        )
        if accounted != self.stake_minor:
            raise IllegalBet(
                f"broken sum: matched {self.matched_minor} + remaining {self.remaining_minor} + lapsed {self.lapsed_minor}"
                f" + cancelled {self.cancelled_minor} + voided {self.voided_minor} = {accounted}, stake is {self.stake_minor}"
            )
        check_odds_in_range(self.odds)
        if self.handicap:
            check_handicap(self.handicap)
        if not _EARLIEST_YEAR <= self.placed_at.year < _LATEST_YEAR:
            check_instant("placed_at", self.placed_at)
        if not _EARLIEST_YEAR <= self.updated_at.year < _LATEST_YEAR:
            check_instant("updated_at", self.updated_at)
        status = self.status
        if self.remaining_minor and status not in (_S.PENDING, _S.OPEN):
            raise IllegalBet(
                f"status {status.value} with {self.remaining_minor} remaining; only PENDING and OPEN bets rest"
            )
        if self.matched_minor:
            if status in (_S.PENDING, _S.REJECTED, _S.CANCELLED, _S.LAPSED, _S.VOIDED):
                raise IllegalBet(f"status {status.value} with {self.matched_minor} matched; it allows none")
        elif status in (_S.MATCHED, _S.UNSETTLED):
            raise IllegalBet(f"status {status.value} with nothing matched")
        elif self.matched_winnings_minor:
            raise IllegalBet(f"matched_winnings {self.matched_winnings_minor} with nothing matched")
        if status is _S.OPEN and not self.remaining_minor:
            raise IllegalBet("status OPEN with nothing remaining; it is MATCHED, CANCELLED, LAPSED or VOIDED")
        if status is _S.SETTLED:
            if self.result is None:
                raise IllegalBet("status SETTLED without a result (won, lost or void)")
            if self.result is BetResult.VOID and (self.profit_minor or self.commission_minor):
                raise IllegalBet(
                    f"result void with profit {self.profit_minor} and commission {self.commission_minor}"
                )
        elif self.result is not None or self.profit_minor or self.commission_minor:
            raise IllegalBet(
                f"status {status.value} with a result, profit or commission; only SETTLED bets have them"
            )

    @property
    def net_profit_minor(self) -> int:
        """The bet's result after its share of commission, in minor units."""
        return self.profit_minor - self.commission_minor

    @property
    def average_matched_odds(self) -> Decimal | None:
        """The stake-weighted average of the matched odds, to 4 places; None while nothing is matched."""
        if not self.matched_minor:
            return None
        return (1 + Decimal(self.matched_winnings_minor) / self.matched_minor).quantize(
            Decimal("0.0001"), ROUND_HALF_EVEN
        )

    @property
    def liability_minor(self) -> int:
        """The most that this bet alone can cost its owner, in minor units: matched part and unmatched part
        together.
        """
        if self.status not in LIVE:
            return 0
        position = self.position()
        return max(0, -min(position.if_wins_minor, position.if_loses_minor))

    def position(self) -> Position:
        """What the bet contributes to its owner's position on its selection; nothing once it can cost no
        more.

        The unmatched part enters at its worst: a resting back loses its stake if the selection loses and
        gains nothing if it wins; a resting lay pays its liability if the selection wins and gains nothing if
        it loses.
        """
        if self.status not in LIVE:
            return FLAT
        if self.side is Side.BACK:
            return Position(self.matched_winnings_minor, -self.matched_minor - self.remaining_minor)
        return Position(
            -self.matched_winnings_minor - lay_liability_minor(self.remaining_minor, self.odds),
            self.matched_minor,
        )


IDENTITY = (
    "user_id",
    "event_id",
    "market_id",
    "selection_id",
    "handicap",
    "side",
    "currency",
    "stake_minor",
    "placed_at",
)
"""What is fixed for a bet's life."""

_identity = operator.attrgetter(*IDENTITY)


def check_transition(before: Bet, after: Bet) -> None:
    """Check that `after` can be a later version of `before`.

    Versions may be missing between the two; then any status that a path of legal steps reaches is allowed.
    Raises `IllegalTransition`, with both values, when a fixed field differs, the status can't be reached, or
    money that was matched is no longer accounted for.
    """
    if after.version <= before.version:
        raise IllegalTransition(f"version {after.version} does not follow version {before.version}")
    if _identity(before) != _identity(after):
        for name in IDENTITY:
            was, is_now = getattr(before, name), getattr(after, name)
            if was == is_now:
                continue
            raise IllegalTransition(
                f"{name} changed from {was!r} to {is_now!r}; it is fixed for a bet's life"
            )
    allowed = (NEXT if after.version == before.version + 1 else REACHABLE)[before.status]
    if after.status not in allowed:
        names = ", ".join(sorted(status.value for status in allowed)) or "nothing: it is final"
        raise IllegalTransition(
            f"from {before.status.value} (version {before.version}) to {after.status.value}"
            f" (version {after.version}); allowed: {names}"
        )
    if after.matched_minor + after.voided_minor < before.matched_minor + before.voided_minor:
        raise IllegalTransition(
            f"matched + voided fell from {before.matched_minor + before.voided_minor}"
            f" to {after.matched_minor + after.voided_minor}; a match is only ever undone by a void"
        )


class Position(msgspec.Struct, frozen=True):
    """What a customer wins (positive) or loses (negative) on a selection, in minor units, if it wins and if
    it loses.
    """

    if_wins_minor: int
    if_loses_minor: int

    def __add__(self, other: Position) -> Position:
        return Position(self.if_wins_minor + other.if_wins_minor, self.if_loses_minor + other.if_loses_minor)

    def __sub__(self, other: Position) -> Position:
        return Position(self.if_wins_minor - other.if_wins_minor, self.if_loses_minor - other.if_loses_minor)


FLAT = Position(0, 0)


def market_exposure_minor(
    positions: Iterable[Position], number_of_winners: int, number_of_selections: int
) -> int:
    """The most that a customer can lose in one market, in minor units, over every outcome; never negative.

    `positions` are the customer's, one a selection (and handicap). The worst case is the sum of all
    `if_loses` plus the `number_of_winners` smallest `if_wins - if_loses`, where a selection without a bet
    counts 0 (Betfair developer documentation, "Market exposure").
    """
    held = list(positions)
    if not held:
        return 0
    total = 0
    differences = []
    for position in held:
        loses = position.if_loses_minor
        total += loses
        differences.append(position.if_wins_minor - loses)
    unbacked = number_of_selections - len(held)
    if number_of_winners == 1:  # as nearly every market has
        worst = min(differences)
        if worst > 0 < unbacked:
            worst = 0
    else:
        differences.extend([0] * min(max(0, unbacked), number_of_winners))
        worst = sum(heapq.nsmallest(number_of_winners, differences))
    return -(total + worst) if total + worst < 0 else 0


def winnings_minor(stake_minor: int, odds: Decimal) -> int:
    """What a fill wins its backer, `stake x (odds - 1)`, rounded down to a minor unit.

    Rounded down, and what is still unmatched up, so that however many fills a lay is met in, it never costs
    more than was set aside for it.
    """
    numerator, denominator = _as_ratio(odds)
    return stake_minor * (numerator - denominator) // denominator


def lay_liability_minor(stake_minor: int, odds: Decimal) -> int:
    """The most that an unmatched lay can cost, `stake x (odds - 1)`, rounded up to a minor unit."""
    if not stake_minor:
        return 0
    numerator, denominator = _as_ratio(odds)
    return -(stake_minor * (denominator - numerator) // denominator)


@functools.lru_cache(maxsize=65_536)
def _as_ratio(odds: Decimal) -> tuple[int, int]:
    """The odds as whole numbers, exactly: with them a product costs a tenth of a decimal one."""
    return odds.as_integer_ratio()


@functools.lru_cache(maxsize=65_536)
def check_odds_in_range(odds: Decimal) -> None:
    """Raise `IllegalBet` unless the odds are a number from 1.01 to 1000 with at most 3 decimals.

    Matched odds can be off the price ladder (a removed runner reduces them), so the ladder is not asked for
    here.
    """
    if not odds.is_finite() or not MIN_ODDS <= odds <= MAX_ODDS:
        raise IllegalBet(f"odds {odds} out of range: allowed are {MIN_ODDS} to {MAX_ODDS}")
    exponent = odds.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -3 and odds != round(odds, 3):
        raise IllegalBet(f"odds {odds} have more than 3 decimals")


def check_handicap(handicap: Decimal) -> None:
    """Raise `IllegalBet` unless the handicap is a number from -1000 to 1000 with at most 2 decimals."""
    if not handicap.is_finite() or not -1000 <= handicap <= 1000 or handicap != round(handicap, 2):
        raise IllegalBet(
            f"handicap {handicap} out of range: allowed are -1000 to 1000 with at most 2 decimals"
        )


def check_instant(name: str, instant: datetime) -> None:
    """Raise `IllegalBet` unless the instant lies in the years 2000 to 2100."""
    if not _EARLIEST_YEAR <= instant.year < _LATEST_YEAR:
        raise IllegalBet(f"{name} {instant.isoformat()} out of range: the years 2000 to 2099 are allowed")
