"""How often one address may call without a token, by kind of call. The buckets are in buckets.py; who is
counted says anonymous.py.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from starlette.types import Scope

from exchange_platform.api.http.buckets import Buckets
from exchange_platform.api.http.problems import Problem
from exchange_platform.process.clock import Clock
from exchange_platform.settings import Settings


class CallRate(enum.Enum):
    """What is counted. Each request without a token counts as one request; some count as something dearer,
    too.
    """

    REQUESTS = "requests"
    SEARCHES = "searches"
    WINDOW_READS = "reads of odds windows"


@dataclass(frozen=True, slots=True)
class TooOften:
    """A call that is refused: of what there were too many, and when the next is allowed."""

    rate: CallRate
    per_s: float
    wait_s: float

    def problem(self) -> Problem:
        """The answer: 429."""
        return Problem(
            429,
            "too_many_requests",
            f"more than {self.per_s:g} {self.rate.value} a second from this address",
            headers={"Retry-After": str(math.ceil(self.wait_s))},
        )


class Rates:
    """The buckets of one API process, a bucket a rate and address. Thread-safe."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._per_s = {
            CallRate.REQUESTS: settings.anonymous_requests_per_s,
            CallRate.SEARCHES: settings.searches_per_s,
            CallRate.WINDOW_READS: settings.window_reads_per_s,
        }
        self._buckets = {
            rate: Buckets(per_s, max(1.0, 2 * per_s), clock=clock) for rate, per_s in self._per_s.items()
        }

    def take(self, client: str, rates: tuple[CallRate, ...]) -> TooOften | None:
        """Count a call of this client; None if it is allowed."""
        for rate in rates:
            wait_s = self._buckets[rate].take(client)
            if wait_s:
                return TooOften(rate, self._per_s[rate], wait_s)
        return None


def rates_of(scope: Scope) -> tuple[CallRate, ...]:
    """What a request counts as, by its path below the root under which the API is reached."""
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")).rstrip("/"))
    if path == "/events/search" or (path in ("", "/") and scope.get("query_string")):
        return CallRate.REQUESTS, CallRate.SEARCHES
    if path.startswith("/markets/"):
        return CallRate.REQUESTS, CallRate.WINDOW_READS
    return (CallRate.REQUESTS,)
