"""Time, passed in: so that tests decide what time it is, and nothing sleeps where a test can't wake it."""

from __future__ import annotations

import math
import threading
import time
from typing import Protocol

MAX_SKEW_S = 60.0
"""By how much the clocks of two machines may differ."""


def elapsed_s(since_us: int, now_us: int) -> float:
    """How long ago that was, for whoever waits until some time has passed; `math.inf` if it lies further
    ahead than clocks differ.

    A clock that was set back leaves such times behind. To wait for them would take as long as it was set
    back.
    """
    passed_s = (now_us - since_us) / 1e6
    return math.inf if passed_s < -MAX_SKEW_S else max(0.0, passed_s)


def ahead_us(now_us: int) -> int:
    """From when on a time lies further ahead than clocks differ: for statements, which `elapsed_s` can't be
    used in.
    """
    return now_us + int(MAX_SKEW_S * 1e6)


class Clock(Protocol):
    """Wall-clock time for people and records, monotonic time for durations."""

    def now_us(self) -> int:
        """Wall-clock microseconds since 1970 UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that only ever grow, from an arbitrary start."""
        ...

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        """Wait until `wake` is set or so many seconds have passed; says whether it was set."""
        ...


class SystemClock:
    """The machine's own time."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """Seconds since some start."""
        return time.monotonic()

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        """Wait on the event."""
        return wake.wait(max(0.0, timeout_s))


SYSTEM_CLOCK = SystemClock()
