"""Counting a consumer's work between reports. Not here: what the figures are called in reports
(reports.py).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from exchange_platform.streams.engine.reports import SinkReport
from exchange_platform.streams.engine.sink import SinkCommit
from exchange_platform.streams.engine.source import ShardBatch

_SAMPLES_A_BATCH = 8
_LAG_COUNTS_US = 10_000_000
_MAX_MARKS = 10_000


class SinkMeter:
    """One sink's figures since the last report; written by its worker, read by others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reset()
        self.last_lag_ms = 0.0
        self._lag_as_of_us = 0

    def _reset(self) -> None:
        self._records = self._repeats = self._batches = self._retries = 0
        self._commit_ms: deque[float] = deque(maxlen=500)
        self._lags_ms: deque[float] = deque(maxlen=4_000)

    def committed(
        self, batches: Sequence[ShardBatch], done: SinkCommit, *, seconds: float, now_us: int
    ) -> None:
        """Count one commit and the lag of (a sample of) its records, from arrival in the stream to now."""
        lags: list[float] = []
        for batch in batches:
            records = batch.records
            step = max(1, len(records) // _SAMPLES_A_BATCH)
            lags.extend((now_us - record.arrived_at_us) / 1000 for record in records[::step])
        with self._lock:
            self._records += done.records
            self._repeats += done.repeats
            self._batches += 1
            self._commit_ms.append(seconds * 1000)
            self._lags_ms.extend(lags)
            if lags:
                self.last_lag_ms, self._lag_as_of_us = max(lags), now_us

    def newest_lag_ms(self, now_us: int) -> float:
        """The lag of the last commit; 0 where that is a while ago."""
        return self.last_lag_ms if now_us - self._lag_as_of_us < _LAG_COUNTS_US else 0.0

    def retried(self) -> None:
        """Count one commit that has to be tried again."""
        with self._lock:
            self._retries += 1

    def report(self, *, reset: bool) -> SinkReport:
        """The figures since the last reset."""
        with self._lock:
            lags = sorted(self._lags_ms)
            report = SinkReport(
                records=self._records,
                repeats=self._repeats,
                batches=self._batches,
                commit_ms=_quantile(sorted(self._commit_ms), 0.5),
                lag_p50_ms=_quantile(lags, 0.5),
                lag_p99_ms=_quantile(lags, 0.99),
                retries=self._retries,
            )
            if reset:
                self._reset()
        return report


class Reading(Protocol):
    """What a reader says of its progress."""

    read: int
    """Batches read."""

    def at_tip(self, began_at_us: int) -> None:
        """The newest read of every shard, the oldest of which began then, found its tip."""
        ...

    def outstanding(self) -> int:
        """How much of what was read some sink has yet to commit; 0: nothing."""
        ...


class Committed:
    """As of when everything that could be read had been committed by every sink, by the sinks' own positions.

    The reader marks each round that ended at the tip with where it is; the mark counts once every sink holds
    as much.
    """

    def __init__(
        self,
        sinks: Callable[[], Sequence[Mapping[str, str | None]]],
        read_to: Callable[[], Mapping[str, str | None]],
        is_after: Callable[[str, str | None], bool],
    ) -> None:
        self._lock = threading.Lock()
        self._sinks = sinks
        self._read_to = read_to
        self._is_after = is_after
        self._marks: deque[tuple[int, dict[str, str | None]]] = deque(maxlen=_MAX_MARKS)
        self._caught_up_at_us: int | None = None
        self.read = 0

    def at_tip(self, began_at_us: int) -> None:
        """The newest read of every shard, the oldest of which began then, found its tip."""
        with self._lock:
            self._marks.append((began_at_us, dict(self._read_to())))
        self.settle()

    def settle(self) -> None:
        """Look whether a sink's newest commit settles a mark."""
        with self._lock:
            while self._marks and not self._missing(self._marks[0][1]):
                self._caught_up_at_us = self._marks.popleft()[0]

    def outstanding(self) -> int:
        """In how many shards some sink has yet to commit what was read; each sink counts for itself."""
        return self._missing(self._read_to())

    @property
    def caught_up_at_us(self) -> int | None:
        """The newest instant for which all sinks have committed every record that had arrived by then."""
        with self._lock:
            return self._caught_up_at_us

    def _missing(self, read_to: Mapping[str, str | None]) -> int:
        return sum(
            shard not in held or (position is not None and self._is_after(position, held[shard]))
            for held in self._sinks()
            for shard, position in read_to.items()
        )


class Progress:
    """As of when everything that could be read had been committed.

    The reader numbers the records that it read and marks each round that ended at the tip; workers say up to
    which number they have committed.
    """

    def __init__(self, sinks: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._done = dict.fromkeys(sinks, 0)
        self._marks: deque[tuple[int, int]] = deque()
        self._caught_up_at_us: int | None = None
        self.read = 0

    def at_tip(self, began_at_us: int) -> None:
        """The newest read of every shard, the oldest of which began then, found its tip."""
        with self._lock:
            self._marks.append((began_at_us, self.read))
            self._settle()

    def done(self, sink: str, batches: int) -> None:
        """The sink has dealt with so many further batches."""
        with self._lock:
            self._done[sink] += batches
            self._settle()

    def outstanding(self) -> int:
        """Batches read that some sink has yet to commit."""
        with self._lock:
            return self.read - min(self._done.values())

    @property
    def caught_up_at_us(self) -> int | None:
        """The newest instant for which all sinks have committed every record that had arrived by then."""
        with self._lock:
            return self._caught_up_at_us

    def _settle(self) -> None:
        done = min(self._done.values())
        while self._marks and self._marks[0][1] <= done:
            self._caught_up_at_us = self._marks.popleft()[0]


def _quantile(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
