"""A long-lived run that delivers: its channels, side by side. Not here: epoch, heartbeats, end
(runs/supervised.py); what a channel delivers.

Supervised like a stream's consumer, by the same rows. One run of a source delivers at a time. A successor
enters the next epoch; the run before it sees that, finishes what is under way, marks it and ends, and only
then does the successor claim the channels. So a hand-over delivers nothing twice. A run whose process is
gone, or that has been silent too long (liveness.py), is not waited for: the claim fences it out, and it stops
delivering itself once its own heartbeats fail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.runs.liveness import Patience
from exchange_platform.runs.supervised import DRAIN_S, SupervisedRun
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.signs import Statistics, VitalSigns

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
        """Make the channel's marks this epoch's alone. Raises `Superseded`, `StoreUnavailable` (then it is
        called again).
        """
        ...

    def work(self, lease: Lease) -> float:
        """Deliver what is due; returns the seconds until it wants to be called again (0: there is more).

        Raises `StoreUnavailable`: it is called again after a pause. Raises `Superseded`: the run ends.
        Anything else ends it as failed.
        """
        ...

    def drain(self, timeout_s: float) -> None:
        """Finish and mark what is under way, within this time; begin nothing. Called once, after the last
        `work`.
        """
        ...

    def figures(self) -> Figures:
        """How the channel stands. Called from another thread at each heartbeat: what is at hand, no query."""
        ...

    def last_error(self) -> str | None:
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
    last_errors: Sequence[str] = ()
    final: bool = False


class DeliveryRun(SupervisedRun[DeliveryReport]):
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
        super().__init__(
            source,
            rows,
            run_id=run_id,
            duration_s=duration_s,
            report_interval_s=report_interval_s,
            requested_at_us=requested_at_us,
            clock=clock,
        )
        self._channels = channels
        self._patience = patience
        self._on_close = on_close
        self._away: dict[str, str] = {}
        self._delivered = 0
        self._delivered_at_s = 0.0
        self._caught_up_at_us: int | None = None
        self._claimed: set[str] = set()
        self._threads = [
            threading.Thread(target=self._serve, args=(channel,), name=channel.name, daemon=True)
            for channel in channels
        ]

    def holds(self) -> bool:
        """Whether something new may be delivered: see `Lease`."""
        return not self.ending.is_set() and self.silent_for_s() < self._patience.silent_s

    def _start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _drain(self) -> None:
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(DRAIN_S + 5)

    def _close(self) -> None:
        for channel in self._channels:
            channel.close()
        self._on_close()

    def _newer(self) -> str | None:
        newest = self._rows.newest(self.source)
        return f"epoch {newest.epoch} has begun" if newest and newest.epoch > self.epoch else None

    def _serve(self, channel: Channel) -> None:
        """A channel's thread."""
        try:
            self.wait_for_older_runs(self._patience)
            tries = 0
            while not self.ending.is_set():
                try:
                    if channel.name not in self._claimed:
                        channel.claim(self.epoch)
                        self._claimed.add(channel.name)
                    pause_s = channel.work(self)
                    self._away.pop(channel.name, None)
                    tries = 0
                except StoreUnavailable as error:
                    tries += 1
                    self._away[channel.name] = str(error)
                    pause_s = _RETRIES.pause_s(tries)
                if pause_s > 0:
                    self._clock.wait(self.ending, pause_s)
            channel.drain(DRAIN_S)
        except BaseException as error:
            self.fail(error)

    def _signs(self) -> VitalSigns:
        channels = {channel.name: dict(channel.figures()) for channel in self._channels}
        now_s = self._clock.monotonic_s()
        delivered = int(sum(figures.get("delivered") or 0 for figures in channels.values()))
        rate = (delivered - self._delivered) / (now_s - self._delivered_at_s) if self._delivered_at_s else 0.0
        self._delivered, self._delivered_at_s = delivered, now_s
        now_us = self._clock.now_us()
        claimed = len(self._claimed) == len(self._channels)
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
            lag_ms=self._lag_ms(channels.values(), claimed=claimed),
            statistics=Statistics(channels=channels, trouble=self._last_errors()),
        )

    def _lag_ms(self, channels: Iterable[Figures], *, claimed: bool) -> float:
        """For how long what is not delivered yet has waited. What was late and is delivered is no lag."""
        if not claimed:  # what waits is not known yet: it counts since the run began
            return (self._clock.monotonic_s() - self._ends_at_s + self._duration_s) * 1000
        waiting = (figures for figures in channels if figures.get("waiting"))
        return max((float(figures.get("oldest_waiting_s") or 0.0) * 1000 for figures in waiting), default=0.0)

    def _last_errors(self) -> list[str]:
        errors = dict(self._away)
        errors.update({channel.name: text for channel in self._channels if (text := channel.last_error())})
        return [f"{name}: {text}" for name, text in errors.items()]

    def _report(self, *, final: bool = False) -> DeliveryReport:
        return DeliveryReport(
            self.source,
            self.epoch,
            {channel.name: channel.figures() for channel in self._channels},
            self._last_errors(),
            final,
        )
