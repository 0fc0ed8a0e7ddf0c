"""Traded volume in Betfair's market stream, and the executions that follow from it. Pure. Not here: files
(recorded.py), sockets (live.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal

import msgspec

from exchange_platform.domain.bets import IllegalBet
from exchange_platform.domain.records import Execution
from exchange_platform.exchanges.betfair.messages import MarketDefinition, Message, RunnerChange
from exchange_platform.stores.operational.bets.restatements import Restatement, RestatementClass

UNKNOWN_EVENT = "unknown"
"""The event of a market whose definition was not seen yet."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO, _TWO = Decimal(0), Decimal(2)
# Wide enough for differences, sums and halves of all that decode_line lets through.
_EXACT = Context(prec=80)

_REMOVAL_SHOWS_MS = 60_000
_RESULTS = frozenset({"WINNER", "LOSER", "PLACED"})
_RE_RATED = Decimal("0.01")
_ROUNDING = Decimal("0.02")


class VolumeRefused(msgspec.Struct, frozen=True):
    """A trade that no execution record can hold, and why."""

    execution_id: str
    reason: str


@dataclass(slots=True)
class Derived:
    """What one message says was executed and restated, in its order, and the trades that no record
    can hold.
    """

    executions: list[Execution] = field(default_factory=list)
    restatements: list[Restatement] = field(default_factory=list)
    refused: list[VolumeRefused] = field(default_factory=list)


class VolumeLadders:
    """The cumulative volume traded at each price of each selection, and what each message adds to it. Pure;
    one a recording.

    The rule: an image sets what is known of its market and yields nothing. Otherwise each entry of a
    selection's `trd` is compared with what is known: if any of them fell, the selection's change is a
    restatement; if not, each rise is an execution of half of it, since volume counts both sides. Either way
    the new sizes are then known.

    The classes of restatements are guesses from what the stream says, tried in this order: `removed runner`:
    the selection is REMOVED, or a runner of its market was removed at most a minute of stream time ago;
    `after result`: the market is CLOSED, the selection has a result, or all its volume goes while the market
    is SUSPENDED (Betfair clears volume just before it closes a market); `currency re-rating`: no size fell by
    more than 1% or 0.02, what rounding moves (volume in other currencies is converted again every hour);
    `void`: the market is SUSPENDED, or opens again in the same message; `other`: none of these.
    """

    def __init__(self) -> None:
        self._markets: dict[str, _Market] = {}

    def apply(self, message: Message, line_number: int) -> Derived:
        """Derive executions and restatements from the recording's next message.

        Ids are `<market>-<pt>-<line>-<place>`, the place counting the message's traded prices: the same
        whenever the recording is read, and sorting in its order.
        """
        derived = Derived()
        published_at_ms = message.pt or 0
        place = 0
        for change in message.mc or ():
            market = self._markets.setdefault(change.id, _Market())
            if change.definition is not None:
                market.define(change.definition, published_at_ms)
            if change.img:
                market.volumes.clear()
            for runner in change.rc or ():
                if not runner.trd:
                    continue
                origin = _Origin(change.id, market, runner, published_at_ms, line_number, place)
                place += len(runner.trd)
                volume = market.volumes.setdefault(origin.key, {})
                deltas = [_EXACT.subtract(size, volume.get(price, _ZERO)) for price, size in runner.trd]
                cleared = _store(volume, runner.trd)
                if change.img:
                    continue
                if any(delta < 0 for delta in deltas):
                    derived.restatements.append(origin.restatement(deltas, cleared=cleared))
                else:
                    origin.add_executions(deltas, derived)
            market.reopened = False
        return derived

    def traded(self, market_id: str) -> Decimal:
        """The backers' stake matched in a market, as far as its volume is known: half of it, since volume
        counts both sides.
        """
        total = _ZERO
        for volume in self._markets[market_id].volumes.values() if market_id in self._markets else ():
            for size in volume.values():
                total = _EXACT.add(total, size)
        return _EXACT.divide(total, _TWO)

    def forget(self, market_ids: Iterable[str]) -> None:
        """Forget markets of which no more will come."""
        for market_id in market_ids:
            self._markets.pop(market_id, None)


def _store(volume: dict[Decimal, Decimal], traded: Sequence[tuple[Decimal, Decimal]]) -> bool:
    """Store new sizes by the price's value; whether that left nothing."""
    for price, size in traded:
        if size:
            volume[price] = size
        else:
            volume.pop(price, None)
    return not volume


class _Market:
    """What is known of a market: its definition's parts that matter here, and its volume by (selection,
    handicap) and price.
    """

    def __init__(self) -> None:
        self.event_id = UNKNOWN_EVENT
        self.status = ""
        self.reopened = False
        self.runner_status: dict[tuple[int, Decimal], str] = {}
        self.removed_at_ms: int | None = None
        self.volumes: dict[tuple[int, Decimal], dict[Decimal, Decimal]] = {}

    def define(self, definition: MarketDefinition, published_at_ms: int) -> None:
        self.event_id = definition.event_id or self.event_id
        status = definition.status or self.status
        self.reopened = self.status == "SUSPENDED" and status == "OPEN"
        self.status = status
        for runner in definition.runners or ():
            key = (runner.id, handicap_of(runner.hc))
            known = self.runner_status.get(key)
            if runner.status == "REMOVED" and known not in (None, "REMOVED"):
                self.removed_at_ms = published_at_ms
            if runner.status is not None:
                self.runner_status[key] = runner.status


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where volume changed: a selection's change in a message. `place` is its first entry's in the
    message.
    """

    market_id: str
    market: _Market
    runner: RunnerChange
    published_at_ms: int
    line: int
    place: int

    @property
    def key(self) -> tuple[int, Decimal]:
        return self.runner.id, handicap_of(self.runner.hc)

    def id_at(self, entry: int) -> str:
        return f"{self.market_id}-{self.published_at_ms:013d}-{self.line:08d}-{self.place + entry:05d}"

    @property
    def instant(self) -> datetime:
        return _EPOCH + timedelta(milliseconds=self.published_at_ms)

    def add_executions(self, deltas: Sequence[Decimal], derived: Derived) -> None:
        selection_id, handicap = self.key
        instant = self.instant
        for entry, delta in enumerate(deltas):
            if not delta:
                continue
            execution_id = self.id_at(entry)
            try:
                derived.executions.append(
                    Execution(
                        execution_id=execution_id,
                        event_id=self.market.event_id,
                        market_id=self.market_id,
                        selection_id=selection_id,
                        handicap=handicap,
                        odds=(self.runner.trd or ())[entry][0],
                        stake=_EXACT.divide(delta, _TWO),
                        executed_at=instant,
                    )
                )
            except IllegalBet as error:
                derived.refused.append(VolumeRefused(execution_id, str(error)))

    def restatement(self, deltas: Sequence[Decimal], *, cleared: bool) -> Restatement:
        total = _ZERO
        for delta in deltas:
            total = _EXACT.add(total, delta)
        return Restatement(
            self.id_at(0), self.market_id, *self.key, self.instant, self._classified(deltas, cleared), total
        )

    def _classified(self, deltas: Sequence[Decimal], cleared: bool) -> RestatementClass:
        market = self.market
        status = market.runner_status.get(self.key, "ACTIVE")
        removed_at_ms = market.removed_at_ms
        if status == "REMOVED" or (
            removed_at_ms is not None and self.published_at_ms - removed_at_ms <= _REMOVAL_SHOWS_MS
        ):
            return RestatementClass.REMOVED_RUNNER
        if market.status == "CLOSED" or status in _RESULTS or (cleared and market.status == "SUSPENDED"):
            return RestatementClass.AFTER_RESULT
        sizes = [size for _, size in self.runner.trd or ()]
        if all(
            delta >= -max(_ROUNDING, (size - delta) * _RE_RATED)
            for delta, size in zip(deltas, sizes, strict=True)
        ):
            return RestatementClass.CURRENCY_RE_RATING
        if market.status == "SUSPENDED" or market.reopened:
            return RestatementClass.VOID
        return RestatementClass.OTHER


def handicap_of(handicap: Decimal | None) -> Decimal:
    """One writing for each handicap, so that -0.0, 0 and none at all are the same selection's."""
    if not handicap:
        return _ZERO
    plain = handicap.normalize()
    return Decimal(int(plain)) if plain == int(plain) else plain
