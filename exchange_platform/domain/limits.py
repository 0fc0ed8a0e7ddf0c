"""How often something may happen: limits as text and the decision. Pure; no I/O, no clock. Not here: who is
limited, and the memory (accounts/limits.py).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

MAX_TIMES = 2000
PERIODS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_FORM = re.compile(r"(\d{1,9})/(second|minute|hour|day)")


class InvalidLimits(ValueError):
    """A text that names no limits. The message says what was wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most so many times in any period of so many seconds."""

    times: int
    period_s: int

    def __str__(self) -> str:
        name = next(name for name, seconds in PERIODS_S.items() if seconds == self.period_s)
        return f"{self.times}/{name}"


def parse_limits(text: str) -> tuple[RateLimit, ...]:
    """Read `1/minute, 5/day`: all of them hold. Raises `InvalidLimits`."""
    limits: list[RateLimit] = []
    for part in text.split(","):
        found = _FORM.fullmatch(part.strip())
        if found is None or not 1 <= int(found[1]) <= MAX_TIMES:
            raise InvalidLimits(
                f"{part.strip()!r} is no limit: it is written TIMES/PERIOD, with 1 to {MAX_TIMES} times and a second, minute,"
                " hour or day; several are separated by commas, as in 1/minute, 5/day"
            )
        limits.append(RateLimit(int(found[1]), PERIODS_S[found[2]]))
    return tuple(limits)


def wait_us(hits: Sequence[int], limits: Sequence[RateLimit], now_us: int) -> int:
    """How many microseconds until one more is allowed; 0: it is now. `hits` are the earlier times, ascending.

    Exact for every period, wherever it begins. Hits later than now (another machine's clock) count as well,
    but not those that are ahead by more than the period: a clock that was set back would shut everybody out
    for as long.
    """
    longest = 0
    for limit in limits:
        period_us = limit.period_s * 1_000_000
        believed = hits[: bisect_right(hits, now_us + period_us)]
        if len(believed) >= limit.times:
            allowed_at = believed[-limit.times] + period_us
            longest = max(longest, allowed_at - now_us)
    return longest


def remembered(hits: Sequence[int], limits: Sequence[RateLimit], now_us: int) -> list[int]:
    """The hits that can still count: of the longest period before now or after, and no more than the largest
    limit.
    """
    longest_us = max(limit.period_s for limit in limits) * 1_000_000
    most = max(limit.times for limit in limits)
    return [hit for hit in hits if now_us - longest_us < hit <= now_us + longest_us][-most:]
