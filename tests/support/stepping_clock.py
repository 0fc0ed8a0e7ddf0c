"""A clock for budgets of time: each look at it takes a second, and waiting takes none."""

from __future__ import annotations

import threading

NOW_US = 1_800_000_000_000_000


class SteppingClock:
    """Each look at the time takes a second; waiting takes none, and is counted."""

    def __init__(self) -> None:
        self.s = 0.0
        self.waited: list[float] = []

    def now_us(self) -> int:
        return NOW_US

    def monotonic_s(self) -> float:
        self.s += 1.0
        return self.s

    def wait(self, _wake: threading.Event, timeout_s: float) -> bool:
        self.waited.append(timeout_s)
        return False
