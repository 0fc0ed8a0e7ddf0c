"""A caller may do so much at once and so much a second after that, and callers do not count for each
other.
"""

from __future__ import annotations

import threading

from exchange_platform.api.http.buckets import Buckets


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def now_us(self) -> int:
        return int(self.now_s * 1e6)

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        raise NotImplementedError


def test_a_burst_is_allowed_then_a_rate() -> None:
    time = Time()
    buckets = Buckets(2.0, 3.0, clock=time)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    time.now_s += 0.25
    assert buckets.take("a") == 0.25
    time.now_s += 0.25
    assert buckets.take("a") == 0
    time.now_s += 1000
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_of_too_many_callers_the_one_silent_for_longest_is_forgotten() -> None:
    buckets = Buckets(1.0, 1.0, clock=Time(), most=2)
    for caller in ("a", "b", "a", "c"):
        buckets.take(caller)
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0
