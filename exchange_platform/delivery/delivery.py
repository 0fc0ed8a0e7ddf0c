"""A long-lived run that delivers: its epoch, its heartbeat, its channels side by side. Not here: what a channel delivers (channel.py, notifications/).

Supervised like a stream's consumer, by the same rows. One run of a source delivers at a time. A successor enters the next epoch; the run before it
sees that, finishes what is under way, marks it and ends, and only then does the successor claim the channels. So a hand-over delivers nothing twice.
A run whose process is gone, or that has been silent too long (liveness.py), is not waited for: the claim fences it out, and it stops delivering
itself once its own heartbeats fail.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.process.memory import give_back
from exchange_platform.runs.liveness import LEFT_ALONE, Patience, condition_of, this_machine
from exchange_platform.stores.checkpoints import StoreUnavailable, Superseded
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.signs import Statistics, VitalSigns

log = logging.getLogger(__name__)

HEARTBEAT_S = 0.5
_DRAIN_S = 20.0
_LOOK_AGAIN_S = 0.1
_RETRIES = BackOff(first_s=0.2, max_s=10.0)

Figures = Mapping[str, int | float | None]
"""A channel's figures by name, for status and metadata: counts since the run began, and how things stand."""


class Lease(Protocol):
    """A channel's view of the run that it works in."""

    ending: threading.Event
    """Set once the run ends: finish what is under way and begin nothing."""

    def holds(self) -> bool:
        """Whether something new may be delivered now: the run is not ending, and its heartbeats arrive."""
        ...


class Channel(Protocol):
    """One way out of the platform, with marks and retries of its own. The run calls it from one thread."""

    name: str

    def claim(self, epoch: int) -> None:
        """Make the channel's marks this epoch's alone. Raises `Superseded`, `StoreUnavailable` (then it is called again)."""
        ...

    def work(self, lease: Lease) -> float:
        """Deliver what is due; returns the seconds until it wants to be called again (0: there is more).

        Raises `StoreUnavailable`: it is called again after a pause. Raises `Superseded`: the run ends. Anything else ends it as failed.
        """
        ...

    def drain(self, timeout_s: float) -> None:
        """Finish and mark what is under way, within this time; begin nothing. Called once, after the last `work`."""
        ...

    def figures(self) -> Figures:
        """How the channel stands. Called from another thread at each heartbeat: what is at hand, no query."""
        ...

    def trouble(self) -> str | None:
        """What it waits for (a server that is away), or None."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A run's work as of now: by channel, its figures. The last one of a run has `final` set."""

    source: str
    epoch: int
    channels: Mapping[str, Figures] = field(default_factory=dict)
    trouble: Sequence[str] = ()
    final: bool = False


class DeliveryRun:
    """One run of one source: `run` it once. Its constructor opens nothing."""

    def __init__(
        self,
        source: str,
        channels: Sequence[Channel],
        rows: ConsumerRows,
        *,
        run_id: str,
        duration_s: float,
        report_interval_s: float,
        patience: Patience,
        requested_at_us: int | None = None,
        on_close: Callable[[], None] = lambda: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.source = source
        self.epoch = 0
        self.superseded = False
        self.ending = threading.Event()
        self._channels = channels
        self._rows = rows
        self._run_id = run_id
        self._duration_s = duration_s
        self._ends_at_s = 0.0
        self._report_interval_s = report_interval_s
        self._patience = patience
        self._requested_at_us = requested_at_us
        self._on_close = on_close
        self._clock = clock
        self._failure: BaseException | None = None
        self._finished = threading.Event()
        self._trouble: dict[str, str] = {}
        self._beaten_at_s = 0.0
        self._delivered = 0
        self._delivered_at_s = 0.0
        self._caught_up_at_us: int | None = None
        self._claimed: set[str] = set()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._threads = [
            threading.Thread(target=self._serve, args=(channel,), name=channel.name, daemon=True)
            for channel in channels
        ]

    def stop(self) -> None:
        """Let `run` end soon: what is under way is finished and marked first. May be called from any thread or signal handler."""
        self.ending.set()

    def holds(self) -> bool:
        """Whether something new may be delivered: see `Lease`."""
        return (
            not self.ending.is_set()
            and self._clock.monotonic_s() - self._beaten_at_s < self._patience.silent_s
        )

    def run(self) -> Iterator[DeliveryReport]:
        """Deliver until the duration is over, `stop` is called or a newer run takes over, yielding reports.

        The last report is `final`. Closing the generator, or an exception thrown into it, ends the run as cleanly as `stop`. Raises what
        stopped it otherwise; nothing is lost then, as its successor goes on from the marks.
        """
        began_s = self._clock.monotonic_s()
        now_us = self._clock.now_us()
        self._ends_at_s = began_s + self._duration_s
        state = "failed"
        try:
            self.epoch = self._rows.begin(
                self.source,
                self._run_id,
                now_us=now_us,
                ends_at_us=now_us + int(self._duration_s * 1e6),
                requested_at_us=self._requested_at_us,
            )
            log.info("%s: run of epoch %d begins", self.source, self.epoch)
            self._beaten_at_s = self._clock.monotonic_s()
            self._heart.start()
            for thread in self._threads:
                thread.start()
            until_s = began_s + self._duration_s
            while True:
                left_s = until_s - self._clock.monotonic_s()
                if left_s <= 0 or self._clock.wait(self.ending, min(self._report_interval_s, left_s)):
                    break
                if until_s > self._clock.monotonic_s():
                    give_back()
                    yield self._report()
            self._shut_down()
            if self._failure is not None:
                raise self._failure
            state = "superseded" if self.superseded else "ended"
            yield self._report(final=True)
        finally:
            self._shut_down()
            if self.epoch:
                self._say_ended(state if state != "failed" or self._failure is not None else "ended")
            for channel in self._channels:
                channel.close()
            self._on_close()

    def _shut_down(self) -> None:
        if self._finished.is_set():
            return
        self.ending.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_DRAIN_S + 5)
        self._finished.set()
        if self._heart.ident is not None:
            self._heart.join(5)

    # Each channel's thread.

    def _serve(self, channel: Channel) -> None:
        try:
            self._await_predecessor()
            tries = 0
            while not self.ending.is_set():
                try:
                    if channel.name not in self._claimed:
                        channel.claim(self.epoch)
                        self._claimed.add(channel.name)
                    pause_s = channel.work(self)
                    self._trouble.pop(channel.name, None)
                    tries = 0
                except StoreUnavailable as error:
                    tries += 1
                    self._trouble[channel.name] = str(error)
                    pause_s = _RETRIES.pause_s(tries)
                if pause_s > 0:
                    self._clock.wait(self.ending, pause_s)
            channel.drain(_DRAIN_S)
        except Superseded as error:
            self._supersede(str(error))
        except StoreUnavailable as error:
            log.warning("%s: ends while a store is away: %s", self.source, error)
        except BaseException as error:
            log.exception("%s: channel %s failed", self.source, channel.name)
            self._failure = self._failure or error
            self.ending.set()

    def _await_predecessor(self) -> None:
        """Wait until no older run is at work: it has ended, its process is gone, or it has been silent so long that it is given up."""
        tries = 0
        while not self.ending.is_set():
            try:
                older = [row for row in self._rows.recent(self.source) if row.epoch < self.epoch]
                now_us = self._clock.now_us()
                conditions = {
                    condition_of(row, this_machine(row), now_us=now_us, patience=self._patience)
                    for row in older
                }
                if not conditions & LEFT_ALONE:
                    return
                pause_s = _LOOK_AGAIN_S
            except StoreUnavailable as error:
                tries += 1
                log.warning("%s", error)
                pause_s = _RETRIES.pause_s(tries)
            self._clock.wait(self.ending, pause_s)

    def _supersede(self, why: str) -> None:
        if not self.superseded:
            log.info("%s: epoch %d is superseded: %s", self.source, self.epoch, why)
        self.superseded = True
        self.ending.set()

    # Heartbeats and reports.

    def _beat(self) -> None:
        while not self._clock.wait(self._finished, HEARTBEAT_S):
            try:
                self._rows.heartbeat(self.source, self.epoch, self._vital_signs())
                self._beaten_at_s = self._clock.monotonic_s()
                newest = self._rows.newest(self.source)
                if newest is not None and newest.epoch > self.epoch:
                    self._supersede(f"epoch {newest.epoch} has begun")
            except StoreUnavailable as error:
                log.debug("no heartbeat: %s", error)
            except Exception as error:
                log.exception("%s: the heartbeat failed", self.source)
                self._failure = self._failure or error
                self.ending.set()
                return

    def _say_ended(self, state: str) -> None:
        try:
            self._rows.heartbeat(self.source, self.epoch, self._vital_signs(), state=state)
        except Exception as error:
            log.warning("%s: could not say that it ended: %s", self.source, error)

    def _vital_signs(self) -> VitalSigns:
        channels = {channel.name: dict(channel.figures()) for channel in self._channels}
        now_s = self._clock.monotonic_s()
        delivered = int(sum(figures.get("delivered") or 0 for figures in channels.values()))
        rate = (delivered - self._delivered) / (now_s - self._delivered_at_s) if self._delivered_at_s else 0.0
        self._delivered, self._delivered_at_s = delivered, now_s
        now_us = self._clock.now_us()
        claimed = len(self._claimed) == len(self._channels)
        lag_ms = max((float(figures.get("lag_ms") or 0.0) for figures in channels.values()), default=0.0)
        at_tip = claimed and not any(figures.get("waiting") for figures in channels.values())
        if at_tip:
            self._caught_up_at_us = now_us
        return VitalSigns(
            heartbeat_at_us=now_us,
            ends_at_us=now_us + int((self._ends_at_s - now_s) * 1e6),  # the wall clock may have been set
            at_tip=at_tip,
            caught_up_at_us=self._caught_up_at_us,
            records=delivered,
            rate=rate,
            lag_ms=lag_ms,
            statistics=Statistics(channels=channels, trouble=self._troubles()),
        )

    def _troubles(self) -> list[str]:
        told = dict(self._trouble)
        told.update({channel.name: text for channel in self._channels if (text := channel.trouble())})
        return [f"{name}: {text}" for name, text in told.items()]

    def _report(self, *, final: bool = False) -> DeliveryReport:
        return DeliveryReport(
            self.source,
            self.epoch,
            {channel.name: channel.figures() for channel in self._channels},
            self._troubles(),
            final,
        )
