"""One long-lived run of a source, whatever it does: its epoch, its heartbeats, its reports, and how it ends.

    Dagster's op          the run                     consumers' row             a newer run
        | run()              | begin: next epoch --------->|                          |
        |                    | _start()                    |                          |
        |                    | heartbeat, each 0.5 s ----->|<--- read by sensors      |
        |<------- report ----|                             |                          |
        |                    |<- _newer(): another epoch holds what was this one's ---|
        |                    | _drain(): finish and mark   |                          |
        |<-- final report ---|                             |                          |
        |                    | state: ended, superseded, failed                       |

The heartbeat goes on while the run drains: its successor waits for it, or fences it out once it is silent.
What keeps two runs from both writing is not here: each store asserts the epoch. Who restarts a run that died
is supervision's (operations/supervision.py, sensors/supervising.py).
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import Clock
from exchange_platform.process.memory import give_back
from exchange_platform.runs.liveness import LEFT_ALONE, Patience, condition_of, this_machine
from exchange_platform.stores.checkpoints import StoreUnavailable, Superseded
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.signs import VitalSigns

log = logging.getLogger(__name__)

T = TypeVar("T")
Report = TypeVar("Report")

HEARTBEAT_S = 0.5
DRAIN_S = 20.0
"""For finishing and marking what is under way at the end."""
RETRIES = BackOff(first_s=0.1, max_s=5.0)
"""Between tries of a store that is away."""
_LOOK_AGAIN_S = 0.1
_GIVE_BACK_EVERY_S = 5.0


class SupervisedRun(ABC, Generic[Report]):
    """What every run has in common; a kind of run says what it does in the six methods below. `run` it once.

    The constructor opens nothing. `name` is the row that it beats in: the source's, or its share's of one.
    """

    def __init__(
        self,
        source: str,
        rows: ConsumerRows,
        *,
        run_id: str,
        duration_s: float,
        report_interval_s: float,
        clock: Clock,
        name: str | None = None,
        requested_at_us: int | None = None,
    ) -> None:
        self.source = source
        self.name = name or source
        self.epoch = 0
        self.superseded = False
        """Whether a newer run has taken over."""
        self.ending = threading.Event()
        """Set once the run ends: finish what is under way and begin nothing."""
        self._rows = rows
        self._clock = clock
        self._run_id = run_id
        self._duration_s = duration_s
        self._report_interval_s = report_interval_s
        self._requested_at_us = requested_at_us
        self._ends_at_s = 0.0
        self._beaten_at_s = 0.0
        self._failure: BaseException | None = None
        self._drained = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    # What a kind of run does.

    @abstractmethod
    def _start(self) -> None:
        """Begin to work, in threads of its own, as `self.epoch`."""

    @abstractmethod
    def _newer(self) -> str | None:
        """Why this run is superseded, if a newer one holds what was its own. Asked after each heartbeat, from
        another thread.
        """

    @abstractmethod
    def _signs(self) -> VitalSigns:
        """How it stands. Asked at each heartbeat, from another thread: what is at hand, no query."""

    @abstractmethod
    def _report(self, *, final: bool = False) -> Report:
        """What was done since the last report. The last one of a run is `final`, after `_drain`."""

    @abstractmethod
    def _drain(self) -> None:
        """Finish and mark what is under way, within `DRAIN_S`, and begin nothing; abandon it if
        `is_abandoned`. Called once.
        """

    @abstractmethod
    def _close(self) -> None:
        """Let go of what it holds, once its end is reported."""

    # What its user calls.

    def stop(self) -> None:
        """Let `run` end soon: what is under way is finished first. May be called from any thread or signal
        handler.
        """
        self.ending.set()

    def run(self) -> Iterator[Report]:
        """Work until the duration is over, `stop` is called or a newer run takes over, yielding reports.

        The last report is final. Closing the generator, or an exception thrown into it, ends the run as
        cleanly as `stop`. Raises whatever stopped it otherwise; nothing is lost then, as its successor goes
        on from what is marked.
        """
        began_s = self._clock.monotonic_s()
        self._ends_at_s = began_s + self._duration_s
        try:
            self._enter()
            self._start()
            self._heart.start()
            gave_back_s = began_s
            while self._waits_for_a_report():
                now_s = self._clock.monotonic_s()
                if now_s - gave_back_s >= _GIVE_BACK_EVERY_S:
                    give_back()
                    gave_back_s = now_s
                yield self._report()
            self._end()
            if self._failure is not None:
                raise self._failure
            yield self._report(final=True)
        finally:
            self._end()
            self._say_ended()
            self._close()

    # What its parts call.

    @property
    def is_abandoned(self) -> bool:
        """Whether what is under way can't, or must not, be finished."""
        return self.superseded or self._failure is not None

    def fail(self, error: BaseException) -> None:
        """Let `run` end for this error: as superseded, for a store that is away at the end, or as failed."""
        if isinstance(error, Superseded):
            self._supersede(str(error))
        elif isinstance(error, StoreUnavailable):
            log.warning("%s: ends while a store is away: %s", self.source, error)
        elif self._failure is None:
            log.error("%s: %s: %s", self.source, type(error).__name__, error, exc_info=error)
            self._failure = error
        self.ending.set()

    def with_retries(self, call: Callable[[], T]) -> T:
        """Call until the stores are available. Raises `StoreUnavailable` once the run ends."""
        tries = 0
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                tries += 1
                log.warning("%s", error)
                if self.ending.is_set():
                    raise
                self._clock.wait(self.ending, RETRIES.pause_s(tries))

    def silent_for_s(self) -> float:
        """Since the last heartbeat that arrived."""
        return self._clock.monotonic_s() - self._beaten_at_s

    def wait_for_older_runs(self, patience: Patience) -> None:
        """Wait until no older run is at work: it has ended, its process is gone, or it has been silent so
        long that it is given up.
        """
        while not self.ending.is_set():
            older = [
                row
                for row in self.with_retries(lambda: self._rows.recent(self.source))
                if row.epoch < self.epoch
            ]
            now_us = self._clock.now_us()
            conditions = {
                condition_of(row, this_machine(row), now_us=now_us, patience=patience) for row in older
            }
            if not conditions & LEFT_ALONE:
                return
            self._clock.wait(self.ending, _LOOK_AGAIN_S)

    def _enter(self) -> None:
        now_us = self._clock.now_us()
        self.epoch = self._rows.begin(
            self.source,
            self._run_id,
            now_us=now_us,
            ends_at_us=now_us + int(self._duration_s * 1e6),
            name=self.name,
            requested_at_us=self._requested_at_us,
        )
        self._beaten_at_s = self._clock.monotonic_s()
        log.info("%s: run of epoch %d begins", self.name, self.epoch)

    def _waits_for_a_report(self) -> bool:
        """Wait until a report is due; False if the run is to end instead."""
        left_s = self._ends_at_s - self._clock.monotonic_s()
        if left_s <= 0 or self.is_abandoned:
            return False
        self._clock.wait(self.ending, min(self._report_interval_s, left_s))
        return (
            not self.ending.is_set() and not self.is_abandoned and self._clock.monotonic_s() < self._ends_at_s
        )

    def _end(self) -> None:
        """Drain, and stop the heart. Once."""
        if self._drained.is_set():
            return
        self.ending.set()
        try:
            self._drain()
        finally:
            self._drained.set()
            if self._heart.ident is not None:
                self._heart.join(5)

    def _supersede(self, why: str) -> None:
        if not self.superseded:
            log.info("%s: epoch %d is superseded: %s", self.source, self.epoch, why)
        self.superseded = True
        self.ending.set()

    def _beat(self) -> None:
        while not self._clock.wait(self._drained, HEARTBEAT_S):
            try:
                self._rows.heartbeat(self.name, self.epoch, self._signs())
                self._beaten_at_s = self._clock.monotonic_s()
                newer = self._newer()
                if newer is not None:
                    self._supersede(newer)
            except StoreUnavailable as error:
                log.debug("no heartbeat: %s", error)
            except Exception as error:
                self.fail(error)
                return

    def _say_ended(self) -> None:
        if not self.epoch:
            return
        state = "failed" if self._failure is not None else "superseded" if self.superseded else "ended"
        try:
            self._rows.heartbeat(self.name, self.epoch, self._signs(), state=state)
        except Exception as error:
            log.warning("%s: could not say that it ended: %s", self.source, error)
