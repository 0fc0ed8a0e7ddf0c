"""Finds and ends the processes of one `up`, grandchildren too, by the mark in their environment. Reads /proc.

Dagster's run workers are started by its code server, so no supervisor of ours knows them. Not here: starting
processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

UP_ID = "EXCHANGE_PLATFORM_UP_ID"
DATA_DIR = "EXCHANGE_PLATFORM_DATA_DIR"
_PROC = Path("/proc")


def marked(up_id: str) -> list[int]:
    """The processes of this `up`, zombies and the caller left out."""
    mark = f"{UP_ID}={up_id}".encode()
    return _matching(lambda environment: mark in environment)


def marked_for(data_dir: Path, *, but: str) -> list[int]:
    """The processes that any other `up` on this data directory left behind."""
    where = f"{DATA_DIR}={data_dir}".encode()
    own = f"{UP_ID}={but}".encode()
    prefix = f"{UP_ID}=".encode()
    return _matching(
        lambda environment: (
            where in environment
            and own not in environment
            and any(entry.startswith(prefix) for entry in environment)
        )
    )


def end(find: Callable[[], list[int]], *, grace_s: float = 0.0, patience_s: float = 5.0) -> list[int]:
    """Ask the processes that `find` finds to end, kill them after `grace_s`; returns those still there after
    `patience_s`.
    """
    began = time.monotonic()
    if grace_s > 0:
        for pid in find():
            _send(pid, signal.SIGTERM)
        while find() and time.monotonic() - began < grace_s:
            time.sleep(0.05)
    while True:
        left = find()
        if not left or time.monotonic() - began > grace_s + patience_s:
            return left
        for pid in left:
            _send(pid, signal.SIGKILL)
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs (a zombie does not)."""
    try:
        state = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in (b"Z", b"X")


def _matching(matches: Callable[[list[bytes]], bool]) -> list[int]:
    found: list[int] = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        if matches(environment) and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
