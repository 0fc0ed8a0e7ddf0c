"""How a sink is: well, its store away, or degraded; since when and why. Not here: what its worker does about
it (worker.py).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.failures import described, remedy
from exchange_platform.stores.operational.database import from_us

DEGRADED_LIMIT_S = 300.0


class SinkDegraded(Exception):
    """A sink has answered with errors for too long that waiting has not cured: the run ends, and another is
    started.
    """


@dataclass(frozen=True, slots=True)
class _Fault:
    text: str
    away: bool
    since_us: int
    since_s: float


class SinkCondition:
    """What is wrong with a sink now, by what it was doing (claim, commit, tick). Read by other threads."""

    def __init__(self, sink: str, clock: Clock, degraded_limit_s: float = DEGRADED_LIMIT_S) -> None:
        self._sink = sink
        self._clock = clock
        self._limit_s = degraded_limit_s
        self._lock = threading.Lock()
        self._faults: dict[str, _Fault] = {}

    @property
    def last_error(self) -> str:
        """What is wrong now; empty while nothing is."""
        with self._lock:
            return "; ".join(dict.fromkeys(fault.text for fault in self._faults.values()))

    @property
    def degraded_since_us(self) -> int | None:
        """Since when it has answered with errors that waiting alone may not cure."""
        with self._lock:
            return min((fault.since_us for fault in self._faults.values() if not fault.away), default=None)

    @property
    def away_for_s(self) -> float | None:
        """For how long its store has been away; None while it is not, or is degraded."""
        with self._lock:
            faults = list(self._faults.values())
        if not faults or not all(fault.away for fault in faults):
            return None
        return self._clock.monotonic_s() - min(fault.since_s for fault in faults)

    def well(self, doing: str) -> None:
        """It has just done that."""
        with self._lock:
            self._faults.pop(doing, None)

    def away(self, doing: str, error: StoreUnavailable) -> None:
        """Its store can't be reached."""
        self._note(doing, str(error), away=True)

    def degraded(self, doing: str, error: BaseException) -> None:
        """It answered with an error that blames no record. Raises `SinkDegraded` when it has for too long."""
        with self._lock:
            known = self._faults.get(doing)
        began_us = known.since_us if known is not None and not known.away else self._clock.now_us()
        since = from_us(began_us).isoformat(timespec="seconds").replace("+00:00", "Z")
        text = f"{self._sink} degraded since {since}: {described(error)} {remedy(error)}"
        fault = self._note(doing, text, away=False)
        lasted_s = self._clock.monotonic_s() - fault.since_s
        if lasted_s >= self._limit_s:
            raise SinkDegraded(f"{text} It has lasted for {lasted_s:.0f} s: the run ends.") from error

    def _note(self, doing: str, text: str, *, away: bool) -> _Fault:
        with self._lock:
            known = self._faults.get(doing)
            if known is None or known.away != away:
                known = _Fault(text, away, self._clock.now_us(), self._clock.monotonic_s())
            fault = self._faults[doing] = _Fault(text, away, known.since_us, known.since_s)
        return fault
