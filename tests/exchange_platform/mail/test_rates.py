"""The token bucket, by a clock that tests move."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.mail.rates import SendingRate


class MovedClock:
    """Time that passes by waiting alone."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now_us(self) -> int:
        return int(self.now_s * 1e6)

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        self.now_s += max(0.0, timeout_s)
        return wake.is_set()


@given(per_s=st.floats(0.5, 1000), pauses=st.lists(st.floats(0, 3), min_size=2, max_size=60))
def test_over_any_span_there_are_no_more_than_the_rate_allows(per_s: float, pauses: list[float]) -> None:
    clock = MovedClock()
    rate = SendingRate(per_s, clock=clock)
    taken: list[float] = []
    for pause in pauses:
        clock.now_s += pause
        assert rate.take(threading.Event())
        taken.append(clock.now_s)
    for first, began in enumerate(taken):
        for last in range(first + 1, len(taken)):
            assert last - first <= (taken[last] - began) * per_s + 1e-6


def test_whoever_gives_up_waits_no_longer() -> None:
    clock = MovedClock()
    rate = SendingRate(1.0, clock=clock)
    giving_up = threading.Event()
    assert rate.take(giving_up)
    giving_up.set()
    assert not rate.take(giving_up)
