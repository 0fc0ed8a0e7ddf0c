"""Looks at the machine while `up` runs, and says each fault once: when it begins and when it is over.

What the machine is asked for stands in machine.py.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exchange_platform.local.processes import ProcessState
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.process.machine import (
    FULL_BYTES,
    LOW_BYTES,
    MIB,
    Fault,
    faults_of,
    out_of_memory_kills,
    room_at,
)

LOOK_S = 5.0
JUMP_S = 5.0
"""What the wall clock may run ahead of or behind the other one between two looks; NTP slews by less."""
REMEMBERED_S = 600.0
"""What was over in a moment, a jump of the clock or a killed process, is reported for so long."""
RESERVE_BYTES = 32 * MIB
ENOUGH_BYTES = FULL_BYTES + RESERVE_BYTES + 64 * MIB
"""With so much free again after the disk was full, whoever was held goes on."""


class Reserve:
    """A file that holds some room, given up when the disk is full: so that Dagster can still record that, and
    why.
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size

    def keep(self) -> None:
        """Take the room, where the file system can promise it."""
        if self._path.exists():
            return
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError:
            self.give_up()

    def give_up(self) -> None:
        """Free the room."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


@dataclass(slots=True)
class MachineNews:
    """What a look found: `begun` and `over` are lines to be said once, `faults` is everything that is wrong
    now.
    """

    begun: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    has_room: bool = True
    """Whether those who write much may go on."""
    set_back: bool = False
    """Whether the clock was set back since the last look."""


class MachineWatch:
    """Remembers what was said. For one thread."""

    def __init__(
        self,
        data_dir: Path,
        *,
        clock: Clock = SYSTEM_CLOCK,
        faults: Callable[[Path], list[Fault]] = faults_of,
        free_bytes: Callable[[Path], int] = lambda path: room_at(path, probe=False).free_bytes,
        kills: Callable[[], int | None] = out_of_memory_kills,
    ) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._faults_of = faults
        self._free_bytes = free_bytes
        self._kills_of = kills
        self._reserve = Reserve(data_dir / "run" / "reserve")
        self._said: dict[str, bool] = {}
        self._held = False
        self._kills = kills()
        self._deaths: dict[str, int] = {}
        self._times: tuple[int, float] | None = None
        self._remembered: dict[str, tuple[Fault, float]] = {}
        self._news = MachineNews()
        self._looked_at_s: float | None = None

    def look(self, states: Sequence[ProcessState]) -> MachineNews:
        """What is wrong now; what was found less than `LOOK_S` ago is returned again, with nothing
        new in it.
        """
        now_s = self._clock.monotonic_s()
        if self._looked_at_s is not None and now_s - self._looked_at_s < LOOK_S:
            return MachineNews(faults=self._news.faults, has_room=self._news.has_room)
        self._looked_at_s = now_s
        jumped_s = self._jumped_s(now_s)
        self._remember(_jump_fault(jumped_s), now_s)
        self._remember(self._killed(states), now_s)
        faults = self._faults_of(self._data_dir)
        disk = next((fault for fault in faults if fault.part == "disk"), None)
        self._hold_or_go_on(full=disk is not None and disk.stops)
        faults += [fault for fault, until_s in self._remembered.values() if now_s < until_s]
        news = MachineNews(faults=faults, has_room=not self._held, set_back=jumped_s < 0)
        for fault in faults:
            if self._said.get(fault.part) is None or (fault.stops and not self._said[fault.part]):
                news.begun.append(fault.text)
            self._said[fault.part] = fault.stops or self._said.get(fault.part, False)
        for part in self._said.keys() - {fault.part for fault in faults}:
            del self._said[part]
            if part not in self._remembered:
                news.over.append(f"{part}: well again")
        self._news = news
        return news

    def close(self) -> None:
        """Leave no reserve behind."""
        self._reserve.give_up()

    def _hold_or_go_on(self, *, full: bool) -> None:
        if full:
            self._held = True
            self._reserve.give_up()
        else:
            free = self._free_bytes(self._data_dir)
            self._held = self._held and free < ENOUGH_BYTES
            if free >= LOW_BYTES + RESERVE_BYTES:
                self._reserve.keep()

    def _jumped_s(self, now_s: float) -> float:
        """By how much more than the time that has passed the wall clock went on since the last look."""
        wall_us, before = self._clock.now_us(), self._times
        self._times = (wall_us, now_s)
        if before is None:
            return 0.0
        jumped_s = (wall_us - before[0]) / 1e6 - (now_s - before[1])
        return jumped_s if abs(jumped_s) >= JUMP_S else 0.0

    def _killed(self, states: Sequence[ProcessState]) -> Fault | None:
        """A process that the kernel killed for want of memory; which one, if it is one of these."""
        kills, before = self._kills_of(), self._kills
        died = [
            state.name
            for state in states
            if state.deaths > self._deaths.get(state.name, 0) and "SIGKILL" in state.last_exit
        ]
        self._deaths = {state.name: state.deaths for state in states}
        self._kills = kills
        if kills is None or before is None or kills <= before:
            return None
        who = ", ".join(died) or "a run, or another program of this machine"
        return Fault(
            "out of memory",
            f"the kernel killed {kills - before} processes: {who}",
            "give the machine or its control group more memory; what was killed is started again",
        )

    def _remember(self, fault: Fault | None, now_s: float) -> None:
        if fault is not None:
            self._remembered[fault.part] = (fault, now_s + REMEMBERED_S)
            self._said.pop(fault.part, None)
        self._remembered = {part: kept for part, kept in self._remembered.items() if now_s < kept[1]}


def _jump_fault(jumped_s: float) -> Fault | None:
    if not jumped_s:
        return None
    how = "forwards: it was set, or the machine slept" if jumped_s > 0 else "back: it was set"
    return Fault(
        "clock",
        f"it went {abs(jumped_s):,.0f} s {how}",
        "nothing is lost; windows, limits and mails follow the new time. Have it kept right (chrony, systemd-timesyncd)",
    )
