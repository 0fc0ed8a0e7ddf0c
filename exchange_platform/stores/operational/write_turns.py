"""Turns among the processes that write one SQLite file: whoever waited comes before whoever has just written.

SQLite itself has no queue. A waiting writer looks again after pauses of up to 0.1 s, so one that writes in
transactions back to back, with microseconds between them, keeps everybody else out for as long as it has
work: a heartbeat was seen to wait for 20 s and more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_WITHOUT_TURNS_S = 60.0
_FIRST_LOOK_S, _MAX_LOOK_S = 0.0001, 0.002
"""Transactions take from a tenth of a millisecond to seconds: looks soon at first, and then less often."""


class WriteTurns:
    """The turns at one file, between threads and processes. The locks are the kernel's: a killed process
    leaves none behind.

    They only order writers: that one transaction is written at a time is SQLite's to see to. So whoever gets
    no turn for `patience_s`, since a process was stopped that had it, writes without turns for a minute. The
    lock files are kept open by thread: taking a turn then costs some microseconds, a tenth of what `filelock`
    takes.
    """

    def __init__(self, place: str, *, patience_s: float = 10.0) -> None:
        self._place = place
        self._patience_s = patience_s
        self._without_until_s = 0.0
        self._mine = threading.local()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the one whose turn it is to write."""
        if time.monotonic() < self._without_until_s:
            yield
            return
        turn, writer = self._files()
        until_s = time.monotonic() + self._patience_s
        # Whoever waits holds the turn, so that a writer which has just finished does not come first again.
        has_turn = _acquire(turn, until_s)
        is_writer = has_turn and _acquire(writer, until_s)
        if has_turn:
            fcntl.flock(turn.descriptor, fcntl.LOCK_UN)
        if not is_writer:
            self._without_until_s = time.monotonic() + _WITHOUT_TURNS_S
        try:
            yield
        finally:
            if is_writer:
                fcntl.flock(writer.descriptor, fcntl.LOCK_UN)

    def _files(self) -> tuple[_LockFile, _LockFile]:
        if not hasattr(self._mine, "files"):
            self._mine.files = tuple(_LockFile(f"{self._place}.{kind}") for kind in ("turn", "writer"))
        turn, writer = self._mine.files
        return turn, writer


def _acquire(file: _LockFile, until_s: float) -> bool:
    """Lock the file; says whether that came about in time."""
    pause_s = _FIRST_LOOK_S
    while True:
        try:
            fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                return False
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_LOOK_S)
        else:
            return True


class _LockFile:
    """A file that is there to be locked, open for as long as this object lives: as long as its thread."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self.descriptor)
