"""Whether a timed `up` went well: its figures, its checks, and what did not hold. Not here: the checks
(checks/).
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

from exchange_platform.local.dagster_pages import DagsterPages, PagesSilent
from exchange_platform.local.processes import Processes
from exchange_platform.operations import checks
from exchange_platform.operations.status import PlatformStatus, StatusReader
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sinks.event_index import EVENT_INDEX
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from exchange_platform.streams.sources.names import EXCHANGE_BETS, EXCHANGE_FEED

CATCH_UP_S = 30.0
_LOOK_S = 1.0


@dataclass(slots=True)
class Lag:
    """A sink's own lag figures, gathered while the platform ran; from a record's arrival to its
    commit there.
    """

    source: str
    sink: str
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    def add(self, status: PlatformStatus) -> None:
        """Take the figures of one look."""
        for shard in status.sources:
            told = shard.sinks.get(self.sink) if shard.source == self.source else None
            if told is not None and told.lag_p99_ms > 0:
                self.p50_ms.append(told.lag_p50_ms)
                self.p99_ms.append(told.lag_p99_ms)

    def text(self) -> str:
        """The usual p50, and the worst p99 seen."""
        if not self.p99_ms:
            return "-"
        return f"p50 {statistics.median(self.p50_ms):.0f} ms, p99 {statistics.median(self.p99_ms):.0f} ms (worst {max(self.p99_ms):.0f} ms)"


class Lags:
    """How far what people look at lies behind the exchange."""

    def __init__(self) -> None:
        self._lags = {
            "lag to the database": Lag(EXCHANGE_BETS, OPERATIONAL_DATABASE),
            "lag to the event index": Lag(EXCHANGE_FEED, EVENT_INDEX),
        }

    def add(self, status: PlatformStatus) -> None:
        """Take the figures of one look."""
        for lag in self._lags.values():
            lag.add(status)

    def lines(self) -> list[tuple[str, str]]:
        """(What, figure) of each."""
        return [(name, lag.text()) for name, lag in self._lags.items()]


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """How it went: (what, figure) lines, and the reasons why it did not go well (none: it did)."""

    lines: list[tuple[str, str]]
    reasons: list[str]


def judge(
    settings: Settings,
    reader: StatusReader,
    processes: Processes,
    pages: DagsterPages,
    *,
    began_s: float,
    before: PlatformStatus,
    lags: Lags,
    data_expected: bool,
) -> RunVerdict:
    """Judge a platform whose exchange has stopped: wait until it is caught up, then look at everything.

    `before` is its status when it began; older dead letters are not held against it.
    """
    reasons: list[str] = []
    status = _caught_up(reader)
    lags.add(status)
    if not status.caught_up:
        reasons.append(
            f"not caught up, and no further within {CATCH_UP_S:g} s ({'; '.join(_troubles(status)) or 'no consumer said so'})"
        )
    if data_expected and status.records == before.records:
        reasons.append("no data flowed")
    if status.dead_letters > before.dead_letters:
        reasons.append(
            f"{status.dead_letters - before.dead_letters:,} dead letters (`exchange-platform dead-letters list`)"
        )
    if status.lost_spans > before.lost_spans:
        reasons.append(
            f"{status.lost_spans - before.lost_spans:,} lost spans (`exchange-platform lost-spans list`)"
        )
    for state in processes.states():
        if state.deaths:
            reasons.append(f"{state.name} died {state.deaths} times (see logs/{state.name}.log)")
        elif not state.runs and state.name != "exchange":
            reasons.append(f"{state.name} is {state.state.lower()}")
    reasons += status.machine
    if processes.restarts:
        reasons.append(f"supervisord died {processes.restarts} times")
    try:
        failed = pages.failed_runs(began_s)
        if failed:
            reasons.append(
                f"{len(failed)} runs failed: {', '.join(f'{run.job} {run.run_id[:8]}' for run in failed[:5])}"
            )
    except PagesSilent as error:
        reasons.append(str(error))
    outcomes = _checked(settings)
    reasons += [f"{name}: {outcome.description}" for name, outcome in outcomes.items() if not outcome.passed]
    lines = [
        ("records", f"{status.records - before.records:,}"),
        ("executions", f"{status.executions:,}"),
        ("bets", f"{status.bets:,}"),
        ("profiles", f"{status.profiles:,}"),
        ("events", f"{status.events:,}"),
        ("windows", f"{status.windows.open:,} open, {status.windows.closed:,} closed"),
        ("dead letters", f"{status.dead_letters:,}"),
        ("restatements", f"{status.restatements:,}"),
        *lags.lines(),
        ("mails", f"{status.notifications.sent - before.notifications.sent:,} sent"),
        *((name, outcome.description) for name, outcome in outcomes.items()),
    ]
    return RunVerdict(lines, reasons)


def _caught_up(reader: StatusReader) -> PlatformStatus:
    """The status once everything is caught up; a slow machine is waited for as long as it gets any
    further.
    """
    status = reader.read_when_caught_up(CATCH_UP_S)
    moved_s = time.monotonic()
    while not status.caught_up and time.monotonic() - moved_s < CATCH_UP_S:
        before = status
        if not status.running:
            time.sleep(_LOOK_S)  # then the reader does not wait
        status = reader.read_when_caught_up(CATCH_UP_S)
        if _how_far(status) != _how_far(before):
            moved_s = time.monotonic()
    return status


def _how_far(status: PlatformStatus) -> tuple[object, ...]:
    return (status.records, status.executions, [shard.position for shard in status.sources])


def _checked(settings: Settings) -> dict[str, checks.CheckOutcome]:
    database = Database(settings.operational_database_url)
    lake = Lake.from_settings(settings, read_only=True)
    index = open_event_index(settings)
    try:
        return {
            "money conserved": checks.money_conserved(database),
            "bets conserved": checks.bets_conserved(database),
            "lake agrees": checks.lake_agrees(database, lake),
            "windows agree": checks.windows_agree(lake),
            "index agrees": checks.index_agrees(database, index, wait=time.sleep),
            "notifications": checks.notifications_delivered(database, SYSTEM_CLOCK),
        }
    finally:
        index.close()
        lake.close()
        database.dispose()


def _troubles(status: PlatformStatus) -> list[str]:
    return [text for consumer in status.consumers for text in consumer.trouble]
