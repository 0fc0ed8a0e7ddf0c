"""Keeping within a rate: a token bucket. Not here: the limit itself (settings)."""

from __future__ import annotations

import threading

from exchange_platform.process.clock import SYSTEM_CLOCK, Clock

NOTIFICATIONS_SHARE, CONFIRMATIONS_SHARE = 0.8, 0.2
"""Two runs send mail, each on its own: these are their shares of `mail_rate_per_s`, so that both together
keep within it.
"""


class SendingRate:
    """At most so many a second, over any second, shared by threads; up to `burst` at once after a pause."""

    def __init__(self, per_s: float, *, burst: float = 1.0, clock: Clock = SYSTEM_CLOCK) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at_s = clock.monotonic_s() - burst / per_s

    def take(self, giving_up: threading.Event) -> bool:
        """Wait for one's turn; False if `giving_up` is set before it comes. Turns are handed out in the order
        of asking.
        """
        with self._lock:
            now_s = self._clock.monotonic_s()
            self._free_at_s = max(self._free_at_s, now_s - self._burst / self._per_s) + 1 / self._per_s
            turn_s = self._free_at_s
        pause_s = turn_s - now_s
        return not (pause_s > 0 and self._clock.wait(giving_up, pause_s))
