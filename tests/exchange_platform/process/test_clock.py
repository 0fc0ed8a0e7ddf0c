"""How long ago something was, when clocks differ and when one was set back."""

from __future__ import annotations

import math

import pytest

from exchange_platform.process.clock import MAX_SKEW_S, ahead_us, elapsed_s

NOW_US = 1_800_000_000_000_000


@pytest.mark.parametrize(
    ("since_s", "elapsed"),
    [
        (-5.0, 5.0),
        (0.0, 0.0),
        (30.0, 0.0),
        (MAX_SKEW_S, 0.0),
        (MAX_SKEW_S + 1, math.inf),
        (3600.0, math.inf),
    ],
)
def test_what_lies_further_ahead_than_clocks_differ_is_over(since_s: float, elapsed: float) -> None:
    since_us = NOW_US + int(since_s * 1e6)
    assert elapsed_s(since_us, NOW_US) == elapsed
    assert (since_us > ahead_us(NOW_US)) == math.isinf(elapsed)
