"""Publishing recorded Betfair streams as the exchange would: in the recording's pace, faster, or as fast as it goes.

Not here: deriving the executions (recorded.py).
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from exchange_platform.clock import SYSTEM_CLOCK, Clock
from exchange_platform.exchanges.betfair.recorded import (
    DamagedLine,
    Message,
    Recording,
    Restatement,
    VolumeLadders,
)
from exchange_platform.records import encode
from exchange_platform.stores.restatements import RestatementRow, Restatements

_BATCH = 500
_PUBLISH_EVERY_S = 0.05


class RecordPublisher(Protocol):
    """Takes (partition key, data) pairs; they are in the stream on return."""

    def publish(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Publish them."""
        ...


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is."""

    bytes_read: int
    bytes_total: int
    executions: int
    restatements: int


@dataclass(slots=True)
class ReplaySummary:
    """What a replay did. `interrupted` when it was stopped before the recordings' end."""

    messages: int = 0
    executions: int = 0
    stake: Decimal = Decimal(0)
    restatements: int = 0
    restatement_classes: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    damaged: list[DamagedLine] = field(default_factory=list)
    interrupted: bool = False


def replay(
    files: Sequence[Path],
    *,
    publisher: RecordPublisher,
    restatements: Restatements,
    speed: float | None = None,
    clock: Clock = SYSTEM_CLOCK,
    on_progress: Callable[[ReplayProgress], None] | None = None,
    stopping: threading.Event | None = None,
) -> ReplaySummary:
    """Publish the executions of recorded files, merged by publish time, and note their restatements.

    `speed` is how many times faster than recorded; None is as fast as the stream takes them. Every file is checked before
    anything is published (`NotARecording`). Stopping or failing half-way leaves nothing half done: a replay repeats the same ids, and
    readers drop what they have.
    """
    recordings: list[Recording] = []
    try:
        recordings.extend(Recording(path) for path in files)  # each may raise before anything is published
        return _Replay(recordings, publisher, restatements, speed, clock, on_progress, stopping).run()
    finally:
        for recording in recordings:
            recording.close()


class _Replay:
    def __init__(
        self,
        recordings: Sequence[Recording],
        publisher: RecordPublisher,
        restatements: Restatements,
        speed: float | None,
        clock: Clock,
        on_progress: Callable[[ReplayProgress], None] | None,
        stopping: threading.Event | None,
    ) -> None:
        self._recordings = recordings
        self._publisher = publisher
        self._restatements = restatements
        self._speed = speed
        self._clock = clock
        self._on_progress = on_progress
        self._stopping = stopping or threading.Event()
        self._summary = ReplaySummary()
        self._waiting: list[tuple[str, bytes]] = []
        self._restated: list[Restatement] = []

    def run(self) -> ReplaySummary:
        ladders = [VolumeLadders() for _ in self._recordings]
        summary = self._summary
        began_s = flushed_s = self._clock.monotonic_s()
        first_pt: int | None = None
        for number, line, message in _merged(self._recordings):
            first_pt = message.pt if first_pt is None else first_pt
            if self._speed is not None:
                due_s = began_s + (message.pt - first_pt) / 1000 / self._speed
                while (wait_s := due_s - self._clock.monotonic_s()) > 0 and not self._stopping.is_set():
                    self._flush()
                    self._clock.wait(self._stopping, min(wait_s, 0.5))
            if self._stopping.is_set():
                summary.interrupted = True
                break
            derived = ladders[number].apply(message, line)
            summary.messages += 1
            summary.executions += len(derived.executions)
            summary.stake += sum((execution.stake for execution in derived.executions), Decimal(0))
            summary.restatements += len(derived.restatements)
            summary.refused.extend(derived.refused)
            for restatement in derived.restatements:
                summary.restatement_classes[restatement.kind.value] += 1
            self._waiting.extend((execution.market_id, encode(execution)) for execution in derived.executions)
            self._restated.extend(derived.restatements)
            now_s = self._clock.monotonic_s()
            if len(self._waiting) >= _BATCH or (
                self._speed is not None and now_s - flushed_s >= _PUBLISH_EVERY_S
            ):
                self._flush()
                flushed_s = now_s
        self._flush()
        summary.damaged = [damage for recording in self._recordings for damage in recording.damaged]
        return summary

    def _flush(self) -> None:
        if self._waiting:
            self._publisher.publish(self._waiting)
            self._waiting = []
        if self._restated:
            self._restatements.add([_row(restatement) for restatement in self._restated])
            self._restated = []
        if self._on_progress is not None:
            self._on_progress(
                ReplayProgress(
                    sum(recording.bytes_read for recording in self._recordings),
                    sum(recording.size for recording in self._recordings),
                    self._summary.executions,
                    self._summary.restatements,
                )
            )


def _row(restatement: Restatement) -> RestatementRow:
    return RestatementRow(
        restatement_id=restatement.restatement_id,
        market_id=restatement.market_id,
        selection_id=restatement.selection_id,
        handicap=restatement.handicap,
        kind=restatement.kind.value,
        volume_change=restatement.volume_change,
        restated_at=restatement.restated_at,
    )


def _merged(recordings: Sequence[Recording]) -> Iterator[tuple[int, int, Message]]:
    """(recording's number, line, message) of all recordings, by publish time; each recording's own order is kept."""

    def numbered(number: int, recording: Recording) -> Iterator[tuple[int, int, int, Message]]:
        newest = 0
        for line, message in recording:
            newest = max(newest, message.pt)
            yield newest, number, line, message

    streams = [numbered(number, recording) for number, recording in enumerate(recordings)]
    for _, number, line, message in heapq.merge(*streams, key=lambda entry: entry[:3]):
        yield number, line, message
