"""Where a process runs, and whether it still does. Reads /proc. What a silence means for a consumer is in
liveness.py.

A process is known by its machine's boot, its namespace of process ids, its id, and when it started: an id
alone may belong to another process by now, and containers on one machine count their processes separately.
psutil is not used, since its start times move with the wall clock.
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")
_STATE, _START_TICKS = 0, 19
"""Fields of /proc/PID/stat, counted from behind the name, which may hold spaces and brackets."""


class Life(enum.Enum):
    """What can be said of a process."""

    LIVES = "lives"
    """It runs."""
    GONE = "gone"
    """It does not run any more; another may have its number."""
    UNKNOWN = "unknown"
    """It runs elsewhere, or this system does not say."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, unmistakably: no other one is ever equal to it."""

    host: str
    """The boot of a machine and a namespace of its process ids."""
    pid: int
    start_ticks: int
    """Clock ticks from the machine's boot to the process's start."""


def this_process() -> ProcessId | None:
    """The calling process; None where the system does not say (no /proc)."""
    return process_of(os.getpid())


def process_of(pid: int) -> ProcessId | None:
    """The process that has this id now; None where there is none, or the system does not say."""
    host, stat = _host(), _stat(pid)
    if host is None or stat is None:
        return None
    return ProcessId(host, pid, int(stat[_START_TICKS]))


def life_of(process: ProcessId | None) -> Life:
    """Whether the process runs. A stopped one does, a zombie does not."""
    if process is None or process.host != _host():
        return Life.UNKNOWN
    stat = _stat(process.pid)
    if stat is None:
        return Life.UNKNOWN if _exists(process.pid) else Life.GONE
    if int(stat[_START_TICKS]) != process.start_ticks or stat[_STATE] in (b"Z", b"X"):
        return Life.GONE
    return Life.LIVES


def kill(process: ProcessId) -> bool:
    """Kill this process and no other, nor the caller's own; says whether it was there to be killed. It is
    gone a moment later.
    """
    if life_of(process) is not Life.LIVES or process == this_process():
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process.pid, signal.SIGKILL)
        return True
    return False


@lru_cache(maxsize=1)
def _host() -> str | None:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _stat(pid: int) -> list[bytes] | None:
    try:
        return (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None


def _exists(pid: int) -> bool:
    """Whether there is such a process though /proc does not show it (`hidepid`)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
