"""How often something may be done: buckets of tokens in this process's memory. Not here: who is bounded
(rates.py).
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from exchange_platform.process.clock import Clock

_MAX_CALLERS = 50_000


class Buckets:
    """A bucket of tokens for each caller: `burst` at first and at most, `rate_per_s` more each second.
    Thread-safe.

    Remembers a bounded number of callers; the one that has not called for longest is forgotten, which gives
    it a full bucket.
    """

    def __init__(self, rate_per_s: float, burst: float, *, clock: Clock, most: int = _MAX_CALLERS) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._clock = clock
        self._most = most
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str) -> float:
        """Take a token; 0 if there was one, else how many seconds until there is."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            tokens, at_s = self._held.pop(caller, (self._burst, now_s))
            tokens = min(self._burst, tokens + (now_s - at_s) * self._rate_per_s)
            wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._rate_per_s
            self._held[caller] = (tokens if wait_s else tokens - 1, now_s)
            if len(self._held) > self._most:
                self._held.popitem(last=False)
        return wait_s
