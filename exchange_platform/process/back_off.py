"""How long to wait after failures in a row: one schedule for whoever tries again. Pure; who waits, and on
which clock, is the caller's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

_MAX_EXPONENT = 64
"""2.0 to the power of 1,024 is no float any more, and a service may be away for thousands of tries. 2 to the
64th of any unit is past every `max_s`.
"""


@dataclass(frozen=True, slots=True)
class BackOff:
    """Pauses that grow by `factor` with each failure in a row, from `first_s` to `max_s` seconds.

    `jitter` is the part of a pause by which `jittered_s` varies it, so that many who failed together do not
    try again together.
    """

    first_s: float
    max_s: float
    factor: float = 2.0
    jitter: float = 0.25

    def __post_init__(self) -> None:
        if not (0 < self.first_s <= self.max_s and self.factor > 1 and 0 <= self.jitter < 1):
            raise ValueError(
                f"{self}: 0 < first_s <= max_s, factor > 1 and 0 <= jitter < 1 are what a back-off allows"
            )

    def pause_s(self, failures: int) -> float:
        """The pause after so many failures in a row: `first_s` after the first, none without a failure. Any
        count is allowed.
        """
        if failures < 1:
            return 0.0
        exponent = min(failures - 1, _MAX_EXPONENT)
        return min(self.max_s, self.first_s * self.factor**exponent)

    def jittered_s(self, failures: int, rng: random.Random) -> float:
        """The same pause, up to `jitter` of it longer or shorter; so up to `max_s` and that part more."""
        return self.pause_s(failures) * rng.uniform(1 - self.jitter, 1 + self.jitter)
