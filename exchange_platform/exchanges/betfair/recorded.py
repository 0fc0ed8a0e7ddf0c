"""Betfair's recorded market streams: reading them, and deriving executions from traded volume. Pure but for reading files.

A recording is Betfair's own history format: one JSON message a line, bz2-compressed or plain. Not here: publishing (replay.py).
Source: Betfair Exchange Stream API documentation, `mcm` messages; every number is kept as an exact decimal.
"""

from __future__ import annotations

import bz2
import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO

import msgspec

from exchange_platform.records import Execution

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RE_RATED = Decimal("0.05")


class NotARecording(ValueError):
    """The file is no recorded Betfair market stream. The message says why, and what would be."""


class RunnerChange(msgspec.Struct, frozen=True):
    """`rc`: what changed of a selection. `trd` is [odds, new cumulative size of both sides]."""

    id: int
    hc: Decimal = Decimal(0)
    trd: list[tuple[Decimal, Decimal]] = []


class RunnerDefinition(msgspec.Struct, frozen=True):
    """A selection as its market's definition has it."""

    id: int
    hc: Decimal = Decimal(0)
    status: str = "ACTIVE"


class MarketDefinition(msgspec.Struct, frozen=True, rename={"event_id": "eventId"}):
    """The parts of a market's definition that the derivation needs."""

    event_id: str = "unknown"
    status: str = "OPEN"
    runners: list[RunnerDefinition] = []


class MarketChange(msgspec.Struct, frozen=True, rename={"definition": "marketDefinition"}):
    """`mc`: what changed of a market. An image replaces everything known of it."""

    id: str
    img: bool = False
    definition: MarketDefinition | None = None
    rc: list[RunnerChange] | None = None


class Message(msgspec.Struct, frozen=True):
    """One line of a recording."""

    op: str
    pt: int
    mc: list[MarketChange] | None = None


class RestatementClass(enum.Enum):
    """Why recorded volume fell, as far as the recording tells."""

    AFTER_RESULT = "after result"
    """The market was closed: its volume is cleared."""
    REMOVED_RUNNER = "removed runner"
    """A selection of the market had been removed: its matched bets were repriced or voided."""
    VOID = "void"
    """Some prices lost all of their volume."""
    RE_RATING = "currency re-rating"
    """No price changed by more than a twentieth: amounts in other currencies were converted anew."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Restatement:
    """Volume of one selection that was taken back or converted anew. It yields no execution."""

    restatement_id: str
    market_id: str
    selection_id: int
    handicap: Decimal
    restated_at: datetime
    kind: RestatementClass
    volume_change: Decimal
    """Of both sides, major units; the sum over all prices."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What one message says."""

    executions: list[Execution] = field(default_factory=list)
    restatements: list[Restatement] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Executions that no stream record can carry, with the reason: odds below 1.01, say."""


_Selection = tuple[int, Decimal]


@dataclass(slots=True)
class _Market:
    event_id: str = "unknown"
    status: str = "OPEN"
    removed: set[_Selection] = field(default_factory=set)
    ladders: dict[_Selection, dict[Decimal, Decimal]] = field(default_factory=dict)


class VolumeLadders:
    """Derives executions from messages, in order: what the traded volume of each price grew by, halved.

    The rule: an image sets the ladders and yields nothing; a selection's change with any negative difference is a restatement and
    yields nothing else; otherwise each growth is one execution of half of it (volume counts both sides), at the message's
    time. Ids depend on the message and its place alone, and sort as the recording does.
    """

    def __init__(self) -> None:
        self._markets: dict[str, _Market] = {}

    def apply(self, message: Message, line: int) -> Derived:
        """What the message, the recording's `line`-th, adds to what is known."""
        derived = Derived()
        at = _EPOCH + timedelta(milliseconds=message.pt)
        for change in message.mc or ():
            market = self._markets.setdefault(change.id, _Market())
            if change.definition is not None:
                market.event_id = change.definition.event_id
                market.status = change.definition.status
                market.removed |= {
                    (runner.id, runner.hc)
                    for runner in change.definition.runners
                    if runner.status in ("REMOVED", "REMOVED_VACANT")
                }
            if change.img:
                market.ladders.clear()
            for runner in change.rc or ():
                if runner.trd:
                    self._trade(
                        derived, change, market, runner, at, f"{change.id}-{line:08d}-{message.pt:013d}"
                    )
        return derived

    def _trade(
        self,
        derived: Derived,
        change: MarketChange,
        market: _Market,
        runner: RunnerChange,
        at: datetime,
        prefix: str,
    ) -> None:
        ladder = market.ladders.setdefault((runner.id, runner.hc), {})
        known = [ladder.get(odds, Decimal(0)) for odds, _ in runner.trd]
        differences = [size - before for (_, size), before in zip(runner.trd, known, strict=True)]
        for odds, size in runner.trd:
            if size:
                ladder[odds] = size
            else:
                ladder.pop(odds, None)
        if change.img:
            return
        if min(differences) < 0:
            place = len(derived.restatements)
            derived.restatements.append(
                Restatement(
                    restatement_id=f"{prefix}-{place:05d}",
                    market_id=change.id,
                    selection_id=runner.id,
                    handicap=runner.hc,
                    restated_at=at,
                    kind=_class_of(market, runner, known, differences),
                    volume_change=sum(differences, Decimal(0)),
                )
            )
            return
        for (odds, _), difference in zip(runner.trd, differences, strict=True):
            if difference > 0:
                place = len(derived.executions) + len(derived.refused)
                try:
                    derived.executions.append(
                        Execution(
                            execution_id=f"{prefix}-{place:05d}",
                            event_id=market.event_id,
                            market_id=change.id,
                            selection_id=runner.id,
                            handicap=runner.hc,
                            odds=odds,
                            stake=difference / 2,
                            executed_at=at,
                        )
                    )
                except ValueError as error:
                    derived.refused.append(f"{prefix}-{place:05d}: {error}")


def _class_of(
    market: _Market, runner: RunnerChange, known: Sequence[Decimal], differences: Sequence[Decimal]
) -> RestatementClass:
    if market.status == "CLOSED":
        return RestatementClass.AFTER_RESULT
    if market.removed:
        return RestatementClass.REMOVED_RUNNER
    if any(before and not size for (_, size), before in zip(runner.trd, known, strict=True)):
        return RestatementClass.VOID
    if all(
        not change or (before and abs(change) <= before * _RE_RATED)
        for change, before in zip(differences, known, strict=True)
    ):
        return RestatementClass.RE_RATING
    return RestatementClass.OTHER


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A line that could not be read, and was passed over."""

    file: Path
    line: int
    reason: str


class Recording:
    """One recorded file, opened and known to be a market stream.

    Raises `NotARecording` when constructed on anything else: a missing or empty file, a directory, another format, a stream of
    another kind. Lines that are damaged further on are kept in `damaged` and passed over; so is a file that breaks off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: list[DamagedLine] = []
        self.bytes_read = 0
        try:
            self.size = path.stat().st_size
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise NotARecording(f"{path}: {error.strerror or error}") from None
        if path.is_dir():
            raise NotARecording(f"{path} is a directory; name a recorded file")
        compressed = self._file.read(3) == b"BZh"
        self._file.seek(0)
        self._lines: IO[bytes] = bz2.BZ2File(self._file) if compressed else self._file
        self._first = self._check_first()

    def __iter__(self) -> Iterator[tuple[int, Message]]:
        """(line number, message) in order."""
        number = 0
        line = self._first
        while line:
            number += 1
            if line.strip():
                try:
                    message = _decoder.decode(line)
                    if message.op == "mcm":
                        yield number, message
                except (msgspec.MsgspecError, UnicodeDecodeError, ArithmeticError) as error:
                    self.damaged.append(DamagedLine(self.path, number, str(error)[:200]))
            self.bytes_read = self._file.tell()
            try:
                line = self._lines.readline()
            except (EOFError, OSError) as error:
                self.damaged.append(DamagedLine(self.path, number + 1, f"the file breaks off: {error}"))
                return
        self.bytes_read = self.size

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
        self._file.close()

    def _check_first(self) -> bytes:
        try:
            first = self._lines.readline(10_000_000)
        except (EOFError, OSError) as error:
            raise NotARecording(f"{self.path}: damaged from its first line on: {error}") from None
        if not first.strip():
            raise NotARecording(f"{self.path} is empty; a recorded stream has a JSON message a line")
        try:
            message = _decoder.decode(first)
        except (msgspec.MsgspecError, UnicodeDecodeError, ArithmeticError) as error:
            raise NotARecording(
                f"{self.path} is no recorded Betfair stream (one JSON message a line, .bz2 or plain): {str(error)[:200]}"
            ) from None
        if message.op != "mcm":
            raise NotARecording(f"{self.path} carries {message.op!r} messages; market streams carry 'mcm'")
        return first


_decoder = msgspec.json.Decoder(Message)
