"""Five-minute odds windows: which one an execution is in, what a window's row says, when a window is over.
Pure; no I/O.

Not here: computing windows from the lake in bulk (lake/windows.py), which must give what `aggregate` gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from exchange_platform.domain.records import Execution

WINDOW = timedelta(minutes=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def window_start(instant: datetime) -> datetime:
    """The start, in UTC, of the half-open window `[start, start + 5 min)` that the instant is in."""
    utc = instant.astimezone(UTC)
    hour = utc.replace(minute=0, second=0, microsecond=0)
    return hour + (utc - hour) // WINDOW * WINDOW


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One selection's executions in one window. Stake in major units; averages are exact sums,
    divided once.
    """

    market_id: str
    selection_id: int
    handicap: Decimal
    window_start: datetime
    executions: int
    average_odds: float
    """Arithmetic mean of the executions' odds."""
    vwap: float
    """Their mean weighted by stake."""
    min_odds: Decimal
    max_odds: Decimal
    open_odds: Decimal
    """The odds of the first execution, by (executed_at, execution_id)."""
    close_odds: Decimal
    stake: Decimal


def aggregate(executions: Iterable[Execution]) -> list[WindowRow]:
    """The windows of these executions, sorted; repeats (by id) count once. Order does not matter."""
    groups: dict[tuple[str, int, Decimal, datetime], dict[str, Execution]] = {}
    for execution in executions:
        key = (
            execution.market_id,
            execution.selection_id,
            execution.handicap,
            window_start(execution.executed_at),
        )
        groups.setdefault(key, {}).setdefault(execution.execution_id, execution)
    rows = []
    for key in sorted(groups):
        members = sorted(groups[key].values(), key=lambda member: (member.executed_at, member.execution_id))
        odds = [member.odds for member in members]
        stake = sum((member.stake for member in members), Decimal(0))
        turnover = sum((member.odds * member.stake for member in members), Decimal(0))
        rows.append(
            WindowRow(
                *key,
                executions=len(members),
                average_odds=float(sum(odds, Decimal(0))) / len(members),
                vwap=float(turnover) / float(stake),
                min_odds=min(odds),
                max_odds=max(odds),
                open_odds=odds[0],
                close_odds=odds[-1],
                stake=stake,
            )
        )
    return rows


class Watermarks:
    """How far each market has come, in event time.

    A market's watermark is its newest event time less a delay. A market that is closed, or has had no news
    for a while of wall-clock time, is over: all its windows count as passed, until it is heard of again.
    """

    def __init__(self, *, delay_s: float, silent_after_s: float) -> None:
        self._delay = timedelta(seconds=delay_s)
        self._silent_after_us = int(silent_after_s * 1_000_000)
        self._newest: dict[str, datetime] = {}
        self._news_at_us: dict[str, int] = {}
        self._closed: set[str] = set()

    def saw(self, market_id: str, event_time: datetime, now_us: int) -> None:
        """News of the market, with its own time; one that lies in the future counts as now, or it would close
        windows still to come.
        """
        event_time = min(event_time, _EPOCH + timedelta(microseconds=now_us))
        known = self._newest.get(market_id)
        if known is None or event_time > known:
            self._newest[market_id] = event_time
        self._news_at_us[market_id] = now_us
        self._closed.discard(market_id)

    def heard(self, market_id: str, newest: datetime, now_us: int) -> None:
        """Somebody else has news of the market up to this time; it is news here if it is newer than what is
        known.
        """
        known = self._newest.get(market_id)
        if known is None or newest > known:
            self.saw(market_id, newest, now_us)

    def closed(self, market_id: str) -> None:
        """The market is closed: it will have no more executions, unless it is heard of again."""
        self._closed.add(market_id)

    def watermark(self, market_id: str) -> datetime | None:
        """The market's watermark; None if nothing was heard of it."""
        newest = self._newest.get(market_id)
        return newest - self._delay if newest is not None else None

    def passed(self, markets: Iterable[str], now_us: int) -> dict[str, datetime | None]:
        """For each of the markets, up to when its windows have passed; None where all have."""
        upto: dict[str, datetime | None] = {}
        for market_id in markets:
            news_at_us = self._news_at_us.setdefault(market_id, now_us)
            over = market_id in self._closed or now_us - news_at_us >= self._silent_after_us
            watermark = self.watermark(market_id)
            if over:
                upto[market_id] = None
            elif watermark is not None:
                upto[market_id] = watermark
        return upto

    def forget(self, keep: Iterable[str], now_us: int) -> None:
        """Forget markets that are over and not in `keep`."""
        kept = set(keep)
        for market_id, news_at_us in list(self._news_at_us.items()):
            if market_id not in kept and now_us - news_at_us >= 10 * self._silent_after_us:
                self._newest.pop(market_id, None)
                self._closed.discard(market_id)
                del self._news_at_us[market_id]
