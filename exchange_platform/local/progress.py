"""Whether something that is waited for still makes progress, so that a slow machine is not taken for a broken
platform.

Who waits, and for what, stands in up.py and health.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exchange_platform.process.clock import SYSTEM_CLOCK, Clock

STALL_S = 120.0
"""Nothing moves for so long: it never will."""
MAX_WAIT_S = 1800.0
"""However busy the processes are: one that turns in a circle is busy, too."""
BUSY = 0.3
"""The part of the time that a process uses or waits for a core, or for the disk, when it works. An idle one
of ours stays under 0.1.
"""
_LOOK_S = 2.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Signs:
    """What can be seen of the progress: what is still waited for, whether some process works, and the states
    of Dagster's runs.
    """

    waiting: frozenset[str]
    is_busy: bool = False
    runs: Mapping[str, str] = field(default_factory=dict)


class StartPatience:
    """Knows how long nothing has moved."""

    def __init__(
        self, *, clock: Clock = SYSTEM_CLOCK, stall_s: float = STALL_S, max_s: float = MAX_WAIT_S
    ) -> None:
        self._clock = clock
        self._stall_s = stall_s
        self._max_s = max_s
        self._began_s = self._moved_s = clock.monotonic_s()
        self._waiting: frozenset[str] | None = None
        self._seen: set[tuple[str, str]] = set()

    def note(self, signs: Signs) -> None:
        """Take in what is seen now. A run that comes to a state it was not in before is progress; one that
        failed is none.
        """
        steps = {step for step in signs.runs.items() if step[1] not in ("FAILURE", "CANCELED")}
        fewer = self._waiting is not None and signs.waiting < self._waiting
        if signs.is_busy or fewer or not steps <= self._seen:
            self._moved_s = self._clock.monotonic_s()
        self._waiting = signs.waiting
        self._seen |= steps

    def why_over(self) -> str | None:
        """Why there is no use in waiting any longer; None as long as there is."""
        now_s = self._clock.monotonic_s()
        if now_s - self._moved_s >= self._stall_s:
            return f"nothing has moved for {now_s - self._moved_s:.0f} s: no process worked, no run changed its state"
        if now_s - self._began_s >= self._max_s:
            return f"{now_s - self._began_s:.0f} s have passed, though processes still work"
        return None


class StartWork:
    """Looks at processes: does any of them use, or want, a core or the disk?"""

    def __init__(self, pids: Callable[[], list[int]], *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._pids = pids
        self._clock = clock
        self._busy_s: dict[int, float] = {}
        self._at_s: float | None = None
        self._is_busy = True

    def is_busy(self) -> bool:
        """Whether one worked over the last seconds, or has been started since; true until there is something
        to compare.
        """
        now_s = self._clock.monotonic_s()
        if self._at_s is not None and now_s - self._at_s < _LOOK_S:
            return self._is_busy
        busy_s = {pid: spent for pid in self._pids() if (spent := busy_seconds(pid)) is not None}
        if self._at_s is not None:
            least = BUSY * (now_s - self._at_s)
            self._is_busy = any(
                pid not in self._busy_s or spent - self._busy_s[pid] >= least for pid, spent in busy_s.items()
            )
        self._busy_s, self._at_s = busy_s, now_s
        return self._is_busy


def busy_seconds(pid: int, proc: Path = Path("/proc")) -> float | None:
    """How long the process's threads have run, waited for a core (schedstat) and for the disk (blkio delay);
    None: it is gone.
    """
    total = 0.0
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12]) + int(fields[39])) / _TICKS_PER_S  # utime, stime, blkio
        for task in (proc / str(pid) / "task").iterdir():
            total += _delay_s(task)
    except (OSError, IndexError, ValueError):
        return None
    return total


def _delay_s(task: Path) -> float:
    """How long a thread was ready to run and got no core: on a loaded machine that is most of its work."""
    try:
        return int((task / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # a kernel that does not count it, or a thread that has ended
        return 0.0
