"""Betfair's recorded streams: reading their files, and what was executed by them. Not here: publishing it (replay.py).

A file is text or bz2, one JSON message a line (messages.py).
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from pathlib import Path
from typing import IO, Generic, TypeVar

import msgspec

from exchange_platform.bets import IllegalBet
from exchange_platform.exchanges.betfair.messages import (
    MarketDefinition,
    Message,
    RunnerChange,
    Undecodable,
    decode_line,
)
from exchange_platform.records import Execution
from exchange_platform.stores.restatements import Restatement, RestatementClass

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line is damage: an image of the largest market is some hundred kilobytes."""

UNKNOWN_EVENT = "unknown"
"""The event of a market whose definition was not seen yet."""

_PROBED_LINES = 1000
_KEPT = 100
_BOM = b"\xef\xbb\xbf"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO, _TWO = Decimal(0), Decimal(2)
# Wide enough for differences, sums and halves of all that decode_line lets through.
_EXACT = Context(prec=80)

_REMOVAL_SHOWS_MS = 60_000
_RESULTS = frozenset({"WINNER", "LOSER", "PLACED"})
_RE_RATED = Decimal("0.01")
_ROUNDING = Decimal("0.02")


class NotARecording(ValueError):
    """A file is no recording of a market stream: refuse it. The message says what it is instead, and what to give."""


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A line that could not be read, and was passed over; or where a file breaks off."""

    file: Path
    line: int
    reason: str


_T = TypeVar("_T")


@dataclass(slots=True)
class FirstOf(Generic[_T]):
    """How many there were, and the first hundred of them: a wholly damaged file fills no memory."""

    count: int = 0
    first: list[_T] = field(default_factory=list)

    def add(self, some: Sequence[_T]) -> None:
        """Count them, and keep those that are among the first."""
        self.count += len(some)
        self.first.extend(some[: max(0, _KEPT - len(self.first))])

    def include(self, others: FirstOf[_T]) -> None:
        """Count those of another too."""
        self.add(others.first)
        self.count += others.count - len(others.first)


class Refused(msgspec.Struct, frozen=True):
    """A trade that no execution record can hold, and why."""

    execution_id: str
    reason: str


@dataclass(slots=True)
class Derived:
    """What one message says was executed and restated, in its order, and the trades that no record can hold."""

    executions: list[Execution] = field(default_factory=list)
    restatements: list[Restatement] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


class VolumeLadders:
    """The cumulative volume traded at each price of each selection, and what each message adds to it. Pure; one a recording.

    The rule: an image sets what is known of its market and yields nothing. Otherwise each entry of a selection's `trd` is
    compared with what is known: if any of them fell, the selection's change is a restatement; if not, each rise is an
    execution of half of it, since volume counts both sides. Either way the new sizes are then known.

    The classes of restatements are guesses from what the stream tells, tried in this order:
    `removed runner`: the selection is REMOVED, or a runner of its market was removed at most a minute of stream time ago;
    `after result`: the market is CLOSED, the selection has a result, or all its volume goes while the market is SUSPENDED (Betfair clears
    volume just before it closes a market);
    `currency re-rating`: no size fell by more than 1% or 0.02, what rounding moves (volume in other currencies is converted anew every hour);
    `void`: the market is SUSPENDED, or opens again in the same message; `other`: none of these.
    """

    def __init__(self) -> None:
        self._markets: dict[str, _Market] = {}

    def apply(self, message: Message, line_number: int) -> Derived:
        """Derive executions and restatements from the recording's next message.

        Ids are `<market>-<pt>-<line>-<place>`, the place counting the message's traded prices: the same whenever the recording
        is read, and sorting in its order.
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


def _store(volume: dict[Decimal, Decimal], traded: Sequence[tuple[Decimal, Decimal]]) -> bool:
    """Store new sizes by the price's value; whether that left nothing."""
    for price, size in traded:
        if size:
            volume[price] = size
        else:
            volume.pop(price, None)
    return not volume


class _Market:
    """What is known of a market: its definition's parts that matter here, and its volume by (selection, handicap) and price."""

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
    """Where volume changed: a selection's change in a message. `place` is its first entry's in the message."""

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
                derived.refused.append(Refused(execution_id, str(error)))

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


class Recording:
    """One recorded file, known to hold at least one market message.

    `bytes_read` of `total_bytes` tell how far it was read, compressed where the file is. `damaged` holds the lines that could not be
    understood, and the break of a file that ends before its time.
    """

    def __init__(self, path: Path) -> None:
        """Look into the file. Raises `NotARecording`; nothing stays open."""
        self.path = path
        self.bytes_read = 0
        self.messages = 0
        self.damaged: FirstOf[DamagedLine] = FirstOf()
        self.total_bytes, self.first_published_at_ms = _probe(path)

    def __iter__(self) -> Iterator[tuple[int, Message]]:
        """Each market message with its line's number, from 1. The file is opened at the first and closed after the last."""
        self.bytes_read, self.messages, self.damaged = 0, 0, FirstOf()
        number = 0
        try:
            with self.path.open("rb") as raw, _unpacked(raw) as lines:
                for number, line in _lines(lines):
                    self.bytes_read = raw.tell()
                    if line is None:
                        self._report(number, f"longer than {MAX_LINE_BYTES} bytes")
                        continue
                    if not line:
                        continue
                    try:
                        message = decode_line(line)
                    except Undecodable as damage:
                        self._report(number, str(damage))
                        continue
                    if message is not None:
                        self.messages += 1
                        yield number, message
        except (OSError, EOFError) as error:
            self._report(number + 1, f"the file breaks here: {error}")
        self.bytes_read = self.total_bytes

    def _report(self, line: int, reason: str) -> None:
        self.damaged.add([DamagedLine(self.path, line, reason)])


def _unpacked(raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(3)
    raw.seek(0)
    return bz2.BZ2File(raw) if magic == b"BZh" else raw


def _lines(lines: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines without what surrounds them; None for one that is too long."""
    number = 0
    while line := lines.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := lines.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        else:
            yield number, (line.removeprefix(_BOM) if number == 1 else line).strip()


def _probe(path: Path) -> tuple[int, int]:
    """The file's size, and the time of its first market message."""
    if path.is_dir():
        raise NotARecording(f"{path} is a directory; give the recorded files in it")
    if not path.exists():
        raise NotARecording(f"{path} does not exist")
    if not path.is_file():
        raise NotARecording(f"{path} is no regular file; give a recorded file, as text or bz2")
    reason = "its lines are not JSON messages"
    try:
        size = path.stat().st_size
        if not size:
            raise NotARecording(f"{path} is empty")
        with path.open("rb") as raw, _unpacked(raw) as lines:
            for number, line in _lines(lines):
                if number > _PROBED_LINES:
                    break
                try:
                    message = decode_line(line) if line else None
                except Undecodable as damage:
                    if number == 1:
                        reason = f"line 1: {damage}"
                    continue
                if message is not None and message.pt is not None:
                    return size, message.pt
                if line:
                    reason = "it has messages, but none of a market stream (mcm)"
    except (OSError, EOFError) as error:
        raise NotARecording(f"{path} can't be read: {error}") from error
    raise NotARecording(
        f"{path} is no recorded market stream: {reason}; give Betfair's files, unpacked from their archive, as text or bz2"
    )
