"""What a consumer tells of itself: figures of its reader, its workers and its sinks, as vital signs and as
reports. It changes nothing.

Not here: when it tells (consumer.py), where the signs are kept (consumers/signs.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime

from exchange_platform.process.clock import Clock
from exchange_platform.stores.operational.consumers.signs import (
    ShardSigns,
    SinkSigns,
    Statistics,
    VitalSigns,
    WindowSigns,
)
from exchange_platform.streams.engine.followers import Followers
from exchange_platform.streams.engine.meters import Committed
from exchange_platform.streams.engine.reader import ShardReader
from exchange_platform.streams.engine.reports import ClosedWindows, ConsumerReport
from exchange_platform.streams.engine.source import SHARD_END, Source
from exchange_platform.streams.engine.worker import SinkWorker

_GATHERING_MS = 2_000


class WindowFigures:
    """What a sink that closes windows says of them; the engine passes it on. This one has none."""

    def open_windows(self) -> int:
        """Windows that wait to be closed."""
        return 0

    def closed_windows(self) -> int:
        """Windows closed in all."""
        return 0

    def watermark(self) -> datetime | None:
        """The lowest watermark of the markets with open windows."""
        return None

    def take_closed(self) -> tuple[ClosedWindows, ...]:
        """What was closed since the last call."""
        return ()


class ConsumerFigures:
    """The figures of one consumer, whose parts go on working meanwhile."""

    def __init__(
        self,
        source: Source,
        first: str,
        workers: Mapping[str, SinkWorker],
        followers: Followers,
        reader: ShardReader,
        progress: Committed,
        windows: WindowFigures | None,
        clock: Clock,
    ) -> None:
        """`first` is the name of the sink that decides about each record."""
        self.began_at_us = clock.now_us()
        self._source = source
        self._first = first
        self._workers = workers
        self._followers = followers
        self._reader = reader
        self._progress = progress
        self._closes_windows = windows is not None
        self._windows = windows or WindowFigures()
        self._clock = clock
        self._rates: deque[tuple[float, int]] = deque(maxlen=20)

    def vital_signs(self, ends_at_s: float) -> VitalSigns:
        """How the consumer is now; it ends at that instant of the monotonic clock."""
        now = self._clock.monotonic_s()
        self._rates.append((now, self._reader.records))
        since, count = self._rates[0]
        now_us = self._clock.now_us()
        return VitalSigns(
            heartbeat_at_us=now_us,
            ends_at_us=now_us + int((ends_at_s - now) * 1e6),  # the wall clock may have been set
            at_tip=self._reader.at_tip,
            caught_up_at_us=self._progress.caught_up_at_us,
            records=self._reader.records,
            rate=(self._reader.records - count) / (now - since) if now > since else 0.0,
            lag_ms=self._lag_ms(),
            statistics=self._statistics(),
        )

    def report(
        self, epoch: int, interval_s: float, counted: int, dead: int, *, final: bool = False
    ) -> ConsumerReport:
        """What was done since `counted` records had been read; `dead` of the records of this interval are
        dead letters.
        """
        total = self._reader.records
        return ConsumerReport(
            source=self._source.name,
            epoch=epoch,
            interval_s=interval_s,
            records=total - counted,
            records_total=total,
            dead_letters=dead,
            positions=self._committed_positions(),
            at_tip=self._reader.at_tip,
            lag_ms=self._lag_ms(),
            watermark=self._windows.watermark(),
            open_windows=self._windows.open_windows() if self._closes_windows else None,
            sinks={name: worker.meter.report(reset=True) for name, worker in self._workers.items()},
            last_errors=tuple(self._last_errors()),
            closed_windows=self._windows.take_closed(),
            final=final,
        )

    def _statistics(self) -> Statistics:
        watermark = self._windows.watermark()
        return Statistics(
            shards=self._shards(),
            sinks={name: self._sink_signs(name) for name in self._workers},
            windows=WindowSigns(self._windows.open_windows(), self._windows.closed_windows()),
            watermark_us=int(watermark.timestamp() * 1_000_000) if watermark is not None else None,
            trouble=self._last_errors(),
        )

    def _shards(self) -> dict[str, ShardSigns]:
        return {
            shard: ShardSigns(
                position=self._workers[self._first].positions.get(shard),
                lag_ms=self._reader.behind_ms.get(shard, 0.0),
                records=self._reader.shard_records.get(shard, 0),
                at_tip=self._reader.behind_ms.get(shard, 0.0) == 0,
            )
            for shard, position in list(self._reader.read_to.items())
            if shard in self._reader.behind_ms or position == SHARD_END
        }

    def _sink_signs(self, name: str) -> SinkSigns:
        worker = self._workers[name]
        figures = worker.meter.report(reset=False)
        return SinkSigns(
            records=figures.records,
            repeats=figures.repeats,
            batches=figures.batches,
            retries=figures.retries,
            commit_ms=figures.commit_ms,
            lag_p50_ms=figures.lag_p50_ms,
            lag_p99_ms=figures.lag_p99_ms,
            behind_ms=self._behind_ms(name),
            last_error=worker.condition.last_error,
            degraded_since_us=worker.condition.degraded_since_us,
        )

    def _last_errors(self) -> list[str]:
        """What is wrong now with the stream and the sinks."""
        errors = [
            self._reader.last_error,
            *(worker.condition.last_error for worker in self._workers.values()),
        ]
        return [text for text in (*errors, *self._followers.last_errors()) if text]

    def _behind_ms(self, sink: str) -> float:
        """How long ago the oldest record arrived that was read and that the sink has not committed."""
        oldest = [self._workers[sink].backlog.oldest_us()]
        if sink != self._first:
            oldest.append(self._followers.missed_at_us(sink))
            if not self._workers[sink].has_claimed(self._reader.listed):
                oldest.append(self.began_at_us)  # where it is, is not known
        known = [instant for instant in oldest if instant is not None]
        return max(0.0, (self._clock.now_us() - min(known)) / 1000) if known else 0.0

    def _lag_ms(self) -> float:
        """How far the consumer lies behind the stream's tip: reading, or the slowest sink.

        What a sink gathers before it commits is no lag.
        """
        first = self._first
        sinks = [self._behind_ms(name) for name in self._workers]
        return max(
            self._reader.lag_ms(),
            self._workers[first].meter.newest_lag_ms(self._clock.now_us()),
            *(behind for behind in sinks if behind > _GATHERING_MS),
            0.0,
        )

    def _committed_positions(self) -> dict[str, str]:
        lowest: dict[str, str] = {}
        for shard in list(self._reader.behind_ms):
            held = [worker.positions.get(shard) for worker in self._workers.values()]
            known = [position for position in held if position is not None]
            if len(known) == len(held):
                lowest[shard] = next(
                    position
                    for position in known
                    if all(not self._source.is_after(position, other) for other in known)
                )
        return lowest
