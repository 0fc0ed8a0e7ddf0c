"""Time, passed in: so that tests decide what time it is, and nothing sleeps where a test can't wake it."""

from __future__ import annotations

import threading
import time
from typing import Protocol


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
