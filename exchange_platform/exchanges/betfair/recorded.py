"""Betfair's recorded streams: reading their files. Not here: what follows from them (volumes.py, states.py),
publishing it (replay.py).

A file is text or bz2, one JSON message a line (messages.py).
"""

from __future__ import annotations

import bz2
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Generic, TypeVar

from exchange_platform.exchanges.betfair.messages import (
    Message,
    SportsMessage,
    Undecodable,
    decode_line,
    decode_sports_line,
)

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line is damage: an image of the largest market is some hundred kilobytes."""

_PROBED_LINES = 1000
_KEPT = 100
_BOM = b"\xef\xbb\xbf"


class NotARecording(ValueError):
    """A file is no recording of a market stream: refuse it. The message says what it is instead, and what to
    give.
    """


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


class RecordedFile(Generic[_T]):
    """One recorded file, known to hold at least one message of its kind.

    `bytes_read` of `total_bytes` tell how far it was read, compressed where the file is. `damaged` holds the
    lines that could not be understood, and the break of a file that ends before its time.
    """

    def __init__(self, path: Path, decode: Callable[[bytes], _T | None], kind: str) -> None:
        """Look into the file. Raises `NotARecording`; nothing stays open."""
        self.path = path
        self.bytes_read = 0
        self.messages = 0
        self.damaged: FirstOf[DamagedLine] = FirstOf()
        self._decode = decode
        self.total_bytes, first = _probe(path, decode, kind)
        self.first_published_at_ms = published_at_ms(first)

    def __iter__(self) -> Iterator[tuple[int, _T]]:
        """Each message of the kind with its line's number, from 1. The file is opened at the first and closed
        after the last.
        """
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
                        message = self._decode(line)
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


class Recording(RecordedFile[Message]):
    """A recorded market stream."""

    def __init__(self, path: Path) -> None:
        """Look into the file. Raises `NotARecording`."""
        super().__init__(path, decode_line, "market stream (mcm)")


class SportsRecording(RecordedFile[SportsMessage]):
    """Recorded sports data."""

    def __init__(self, path: Path) -> None:
        """Look into the file. Raises `NotARecording`."""
        super().__init__(path, decode_sports_line, "sports data (ccm)")


def open_recording(path: Path) -> Recording | SportsRecording:
    """The file as what it is. Raises `NotARecording`."""
    try:
        return Recording(path)
    except NotARecording:
        with contextlib.suppress(NotARecording):
            return SportsRecording(path)
        raise


def sports_data_beside(files: Sequence[Path]) -> list[Path]:
    """The sports data that lies beside market streams (`1.2.sportsdata.bz2` beside `1.2.bz2`) and is not
    among the files itself.
    """
    named = {path.resolve() for path in files}
    found: dict[Path, Path] = {}
    for path in files:
        stem = path.name.removesuffix(".bz2")
        for ending in (".sportsdata.bz2", ".sportsdata"):
            beside = path.with_name(f"{stem}{ending}")
            if beside.is_file():
                if beside.resolve() not in named:
                    found.setdefault(beside.resolve(), beside)
                break
    return list(found.values())


def published_at_ms(message: object) -> int:
    """When a message was published, in milliseconds since 1970 UTC."""
    return getattr(message, "pt", None) or 0


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


def _probe(path: Path, decode: Callable[[bytes], _T | None], kind: str) -> tuple[int, _T]:
    """The file's size, and its first message of the kind."""
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
                    message = decode(line) if line else None
                except Undecodable as damage:
                    if number == 1:
                        reason = f"line 1: {damage}"
                    continue
                if message is not None:
                    return size, message
                if line:
                    reason = f"it has messages, but none of a {kind}"
    except (OSError, EOFError) as error:
        raise NotARecording(f"{path} can't be read: {error}") from error
    raise NotARecording(
        f"{path} is no recorded {kind.partition(' (')[0]}: {reason};"
        " give Betfair's files, unpacked from their archive, as text or bz2"
    )
