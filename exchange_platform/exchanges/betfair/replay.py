"""Publishing recorded Betfair streams as the exchange would: in the recording's pace, faster, or as fast as
it goes.

Not here: deriving the executions (recorded.py).
"""

from __future__ import annotations

import heapq
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from exchange_platform.domain.events import EventUpdate, FeedUpdate, encode_update
from exchange_platform.domain.records import encode
from exchange_platform.exchanges.betfair.messages import Message, SportsMessage
from exchange_platform.exchanges.betfair.recorded import (
    DamagedLine,
    FirstOf,
    Recording,
    SportsRecording,
    open_recording,
)
from exchange_platform.exchanges.betfair.states import FeedStates
from exchange_platform.exchanges.betfair.volumes import Derived, VolumeLadders, VolumeRefused
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.stores.operational.bets.restatements import Restatement

_BATCH = 500
_PUBLISH_EVERY_S = 0.05
_TELL_EVERY_S = 0.2


class RecordPublisher(Protocol):
    """Takes (partition key, data) pairs; they are in the stream on return."""

    def publish(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Publish them."""
        ...


class RestatementStore(Protocol):
    """Takes restatements; they are stored on return."""

    def add(self, rows: Sequence[Restatement]) -> None:
        """Store them."""
        ...


class UpdateJournal(Protocol):
    """Takes updates of the exchange's feed; they are in the feed on return."""

    def append(self, updates: Sequence[bytes]) -> int:
        """Append them; returns the newest cursor."""
        ...


@dataclass(frozen=True, slots=True)
class FileProgress:
    """How far one file was read, in its own bytes (compressed, if it is)."""

    file: Path
    bytes_read: int
    bytes_total: int
    messages: int


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is. What is counted was published."""

    files: Sequence[FileProgress]
    executions: int
    restatements: int

    @property
    def bytes_read(self) -> int:
        """Of all files."""
        return sum(file.bytes_read for file in self.files)

    @property
    def bytes_total(self) -> int:
        """Of all files."""
        return sum(file.bytes_total for file in self.files)


@dataclass(slots=True)
class ReplaySummary:
    """What a replay did; executions, updates and restatements that were published and stored. `interrupted`
    when it was stopped early.
    """

    messages: int = 0
    updates: int = 0
    events: set[str] = field(default_factory=set)
    """Of which there were updates."""
    executions: int = 0
    stake: Decimal = Decimal(0)
    restatements: int = 0
    restatement_classes: Counter[str] = field(default_factory=Counter)
    refused: FirstOf[VolumeRefused] = field(default_factory=FirstOf)
    damaged: FirstOf[DamagedLine] = field(default_factory=FirstOf)
    interrupted: bool = False


def replay(
    files: Sequence[Path],
    *,
    publisher: RecordPublisher,
    restatements: RestatementStore,
    feed: UpdateJournal,
    speed: float | None = None,
    clock: Clock = SYSTEM_CLOCK,
    on_progress: Callable[[ReplayProgress], None] | None = None,
    stopping: threading.Event | None = None,
) -> ReplaySummary:
    """Publish the executions of recorded files, tell the feed of their events and markets, and store their
    restatements.

    The files are merged by publish time: market streams, and the sports data of their events. `speed` is how
    many times faster than recorded; None is as fast as the stream takes them. Every file is checked before
    anything is published (`NotARecording`). A restatement is stored after what precedes it was published.
    Stopping or failing half-way leaves nothing half done: a replay repeats the same ids, and readers drop
    what they have. What the publisher and the store raise is passed on. Each file is a recording of its own:
    its volumes start at nothing. Events of which the sports data tell and no market stream does are passed
    over, unless there is no market stream at all.
    """
    if speed is not None and not (math.isfinite(speed) and speed > 0):
        raise ValueError(f"speed {speed} is not possible; a number above 0, or None for as fast as can be")
    recordings = [open_recording(path) for path in files]  # each may raise, before anything is published
    replaying = _Replay(recordings, publisher, restatements, feed, clock, on_progress)
    return replaying.run(_Pace(speed, clock, stopping or threading.Event()))


class _Pace:
    """When a message is due."""

    def __init__(self, speed: float | None, clock: Clock, stopping: threading.Event) -> None:
        self._speed = speed
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._first_ms: int | None = None
        self.stopping = stopping

    def wait_s(self, published_at_ms: int) -> float:
        """How long to wait for it: 0 if it is due. Waits end on multiples of 50 ms, so that what falls due
        together goes together.
        """
        if self._speed is None:
            return 0.0
        if self._first_ms is None:
            self._first_ms = published_at_ms
        due_s = (published_at_ms - self._first_ms) / 1000 / self._speed
        now_s = self._clock.monotonic_s() - self._began_s
        if due_s <= now_s:
            return 0.0
        return max(math.ceil(due_s / _PUBLISH_EVERY_S) * _PUBLISH_EVERY_S - now_s, 0.001)

    def wait(self, published_at_ms: int, meanwhile: Callable[[], None]) -> bool:
        """Wait until the message is due, doing something before and now and then; says whether to stop."""
        while not self.stopping.is_set() and (wait_s := self.wait_s(published_at_ms)) > 0:
            meanwhile()
            self._clock.wait(self.stopping, min(wait_s, _TELL_EVERY_S))
        return self.stopping.is_set()


class _Replay:
    def __init__(
        self,
        recordings: Sequence[Recording | SportsRecording],
        publisher: RecordPublisher,
        restatements: RestatementStore,
        feed: UpdateJournal,
        clock: Clock,
        on_progress: Callable[[ReplayProgress], None] | None,
    ) -> None:
        self._recordings = recordings
        self._publisher = publisher
        self._restatements = restatements
        self._feed = feed
        self._clock = clock
        self._on_progress = on_progress
        self._summary = ReplaySummary()
        self._waiting: list[tuple[str, bytes]] = []
        self._waiting_stake = Decimal(0)
        self._restated: list[Restatement] = []
        self._told: list[FeedUpdate] = []
        self._flushed_s = clock.monotonic_s()

    def run(self, pace: _Pace) -> ReplaySummary:
        ladders = [VolumeLadders() for _ in self._recordings]
        alone = not any(isinstance(recording, Recording) for recording in self._recordings)
        states = FeedStates(of_sports_data_alone=alone)
        for number, line, message in _merged(self._recordings):
            if pace.wait(message.pt or 0, self._flush):
                self._summary.interrupted = True
                break
            self._summary.messages += 1
            if isinstance(message, SportsMessage):
                self._told += states.after_sports(message)
            else:
                self._add(ladders[number].apply(message, line))
                self._told += states.after(message, ladders[number].traded)
            if (
                len(self._waiting) + len(self._restated) + len(self._told) >= _BATCH
                or self._clock.monotonic_s() - self._flushed_s >= _PUBLISH_EVERY_S
            ):
                self._flush()
        self._flush()
        for recording in self._recordings:
            self._summary.damaged.include(recording.damaged)
        return self._summary

    def _add(self, derived: Derived) -> None:
        self._waiting.extend((execution.market_id, encode(execution)) for execution in derived.executions)
        self._waiting_stake += sum((execution.stake for execution in derived.executions), Decimal(0))
        self._restated.extend(derived.restatements)
        self._summary.refused.add(derived.refused)

    def _flush(self) -> None:
        summary = self._summary
        if self._waiting:
            self._publisher.publish(self._waiting)
            summary.executions += len(self._waiting)
            summary.stake += self._waiting_stake
            self._waiting, self._waiting_stake = [], Decimal(0)
        if self._told:
            self._feed.append([encode_update(update) for update in self._told])
            summary.updates += len(self._told)
            summary.events |= {update.event_id for update in self._told if isinstance(update, EventUpdate)}
            self._told = []
        if self._restated:
            self._restatements.add(self._restated)
            summary.restatements += len(self._restated)
            summary.restatement_classes.update(restated.kind.value for restated in self._restated)
            self._restated = []
        self._flushed_s = self._clock.monotonic_s()
        if self._on_progress is not None:
            self._on_progress(
                ReplayProgress(
                    [
                        FileProgress(each.path, each.bytes_read, each.total_bytes, each.messages)
                        for each in self._recordings
                    ],
                    summary.executions,
                    summary.restatements,
                )
            )


def _merged(
    recordings: Sequence[Recording | SportsRecording],
) -> Iterator[tuple[int, int, Message | SportsMessage]]:
    """(recording's number, line, message) of all recordings, by publish time; each recording's own order is
    kept.
    """

    def numbered(
        number: int, recording: Recording | SportsRecording
    ) -> Iterator[tuple[int, int, int, Message | SportsMessage | None]]:
        newest_ms = recording.first_published_at_ms
        # The merge asks every recording for its first entry at once; this one opens no file.
        yield newest_ms, number, 0, None
        for line, message in recording:
            newest_ms = max(newest_ms, message.pt or 0)
            yield newest_ms, number, line, message

    streams = [numbered(number, recording) for number, recording in enumerate(recordings)]
    for _, number, line, message in heapq.merge(*streams, key=lambda entry: entry[:3]):
        if message is not None:
            yield number, line, message
