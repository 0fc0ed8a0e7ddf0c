"""What a consumer says of its work: figures for operators. Not here: how they are shown (assets/, cli)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class SinkReport:
    """One sink's work in a reporting interval."""

    records: int
    """Records written (repeats not counted)."""
    repeats: int
    """Records that the sink already had, and dropped."""
    batches: int
    """Committed transactions."""
    commit_ms: float
    """Median duration of a commit."""
    lag_p50_ms: float
    lag_p99_ms: float
    """From a record's arrival in the stream to its commit."""
    retries: int = 0
    """Commits tried again because the store was unavailable."""


@dataclass(frozen=True, slots=True)
class ClosedWindows:
    """Windows that were closed for one day (UTC)."""

    day: date
    closed: int
    """Rows of odds_windows written for the first time."""
    reopened: int
    """Rows recomputed because of late executions (revision + 1)."""


@dataclass(frozen=True, slots=True)
class ConsumerReport:
    """A consumer's work since its last report. The last one of a consumer has `final` set."""

    source: str
    epoch: int
    interval_s: float
    records: int
    """Records read, dead ones included."""
    records_total: int
    """Records read since the consumer started."""
    dead_letters: int
    positions: dict[str, str]
    """Shard -> position up to which every sink has committed."""
    at_tip: bool
    lag_ms: float
    """How far the newest read lies behind the stream's tip, by the stream's own account."""
    watermark: datetime | None
    """The lowest watermark of the markets with open windows."""
    open_windows: int | None
    """Windows that wait to be closed; None where no sink closes any."""
    sinks: dict[str, SinkReport] = field(default_factory=dict)
    """By sink: `operational_database`, `lake`, `profile_view`."""
    closed_windows: tuple[ClosedWindows, ...] = ()
    last_errors: tuple[str, ...] = ()
    """What is wrong now with the stream or with sinks, each with its cause."""
    final: bool = False

    @property
    def rate(self) -> float:
        """Records read a second."""
        return self.records / self.interval_s if self.interval_s > 0 else 0.0
