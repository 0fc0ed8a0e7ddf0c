"""Turns among the processes that write one SQLite file: whoever waited comes before whoever has just written.

SQLite itself has no queue. A waiting writer looks again after pauses of up to 0.1 s, so one that writes in transactions back to back, with
microseconds between them, keeps everybody else out for as long as it has work: a heartbeat was seen to wait for 20 s and more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from exchange_platform.stores.checkpoints import StoreUnavailable

_FIRST_LOOK_S, _MAX_LOOK_S = 0.0001, 0.002
"""Transactions take from a tenth of a millisecond to seconds: looks soon at first, and then less often."""


class WriteTurns:
    """The turns at one file, between threads and processes. The locks are the kernel's: a killed process leaves none behind.

    They only order writers: that one transaction is written at a time is SQLite's to see to. The lock files are kept open by thread, since
    taking a turn then costs some microseconds, a tenth of what `filelock` takes.
    """

    def __init__(self, place: str, *, timeout_s: float) -> None:
        self._place = place
        self._timeout_s = timeout_s
        self._mine = threading.local()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the one who may write. Raises `StoreUnavailable` where others have written for too long."""
        turn, writer = self._files()
        until_s = time.monotonic() + self._timeout_s
        # Whoever waits holds the turn, so that a writer which has just finished does not come first again.
        self._acquire(turn, until_s)
        try:
            self._acquire(writer, until_s)
        finally:
            fcntl.flock(turn.descriptor, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(writer.descriptor, fcntl.LOCK_UN)

    def _files(self) -> tuple[_LockFile, _LockFile]:
        if not hasattr(self._mine, "files"):
            self._mine.files = tuple(_LockFile(f"{self._place}.{kind}") for kind in ("turn", "writer"))
        turn, writer = self._mine.files
        return turn, writer

    def _acquire(self, file: _LockFile, until_s: float) -> None:
        pause_s = _FIRST_LOOK_S
        while True:
            try:
                fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until_s:
                    raise StoreUnavailable(
                        f"operational database: others have been writing for {self._timeout_s:g} s"
                    ) from None
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _MAX_LOOK_S)
            else:
                return


class _LockFile:
    """A file that is there to be locked, open for as long as this object lives: as long as its thread."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self.descriptor)
