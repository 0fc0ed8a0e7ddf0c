"""Strikes at random processes of every kind: some are killed, some stopped for a while. What they are lives
in running.py.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

Find = Callable[[], Mapping[str, Sequence[psutil.Process]]]

BETWEEN_S = (2.0, 5.0)
STOPPED_S = (1.0, 15.0)
_KILLED = 0.6


@dataclass(frozen=True, slots=True)
class Strike:
    """What was done to which process; `stopped_s` None: it was killed."""

    at_s: float
    kind: str
    pid: int
    stopped_s: float | None

    def __str__(self) -> str:
        how = "killed" if self.stopped_s is None else f"stopped for {self.stopped_s:.1f} s"
        return f"{self.at_s:6.1f} s  {self.kind} ({self.pid}) {how}"


class Tormentor:
    """Every kind has its turn before one comes again, in an order that the `Random` draws."""

    def __init__(
        self,
        find: Find,
        rng: random.Random,
        *,
        say: Callable[[str], None] = print,
        between_s: tuple[float, float] = BETWEEN_S,
        stopped_s: tuple[float, float] = STOPPED_S,
    ) -> None:
        """`between_s` and `stopped_s` are the shortest and the longest time between strikes, and that a
        process is stopped for.
        """
        self._find = find
        self._between_s = between_s
        self._stopped_s = stopped_s
        self._rng = rng
        self._say = say
        self._turns: list[str] = []
        self._stopped: list[tuple[float, psutil.Process]] = []
        self._began_s = time.monotonic()
        self.strikes: list[Strike] = []

    def strike(self, number: int, waiting: threading.Event) -> None:
        """Strike so often, 2 to 5 s apart; `waiting` set ends it early. Whatever was stopped goes on by the
        end.
        """
        try:
            for _ in range(number):
                if self._wait(self._rng.uniform(*self._between_s), waiting):
                    return
                self._strike_one()
        finally:
            for _, process in self._stopped:
                _signal(process, signal.SIGCONT)
            self._stopped.clear()

    def summary(self) -> str:
        """How often each kind was struck."""
        counts = Counter((strike.kind, strike.stopped_s is None) for strike in self.strikes)
        kinds = sorted({kind for kind, _ in counts})
        return "\n".join(
            f"  {kind:<28} {counts[kind, True]:3} killed {counts[kind, False]:3} stopped" for kind in kinds
        )

    def _strike_one(self) -> None:
        while True:
            found = self._find()
            held = {process.pid for _, process in self._stopped}
            kind = self._next_kind({kind: some for kind, some in found.items() if some})
            if kind is None:
                time.sleep(0.2)  # everything is being started again
                continue
            process = self._rng.choice(sorted(found[kind], key=lambda one: one.pid))
            stop = process.pid not in held and self._rng.random() >= _KILLED
            for_s = self._rng.uniform(*self._stopped_s) if stop else None
            if _signal(process, signal.SIGSTOP if stop else signal.SIGKILL):
                break
        now_s = time.monotonic()
        if for_s is not None:
            self._stopped.append((now_s + for_s, process))
        self.strikes.append(Strike(now_s - self._began_s, kind, process.pid, for_s))
        self._say(str(self.strikes[-1]))

    def _next_kind(self, found: Mapping[str, object]) -> str | None:
        """The next kind of those that run; the others keep their turn."""
        if not found:
            return None
        for kind in self._turns:
            if kind in found:
                self._turns.remove(kind)
                return kind
        if len(found) == 1:
            return None  # a supervisor that was just started again: killed each time, it would start nothing
        self._turns = sorted(found)
        self._rng.shuffle(self._turns)
        return self._turns.pop(0)

    def _wait(self, seconds: float, waiting: threading.Event) -> bool:
        """Wait so long, letting go on what was stopped long enough; whether the end was asked for."""
        end_s = time.monotonic() + seconds
        while (now_s := time.monotonic()) < end_s:
            for due in [one for one in self._stopped if one[0] <= now_s]:
                _signal(due[1], signal.SIGCONT)
                self._stopped.remove(due)
            next_s = min([end_s, *(at_s for at_s, _ in self._stopped)])
            if waiting.wait(max(0.01, next_s - now_s)):
                return True
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    """Send it, unless the process is gone (psutil knows it from a later one of its number)."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True
