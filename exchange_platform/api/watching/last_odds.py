"""What selections were last matched at, for lists of many events: read from the lake at most every second for
all who look. Not here: windows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from exchange_platform.domain.events import MarketUpdate
from exchange_platform.process.clock import Clock
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.lake.window_reading import WindowReader

log = logging.getLogger(__name__)

_FRESH_S = 1.0
_AGE = timedelta(hours=1)
_MAX_WINDOWS = 5000

Odds = Mapping[str, Mapping[tuple[int, Decimal], Decimal]]


class LastOddsOfMarkets:
    """The newest odds of some markets' selections, those of the hour before each market's newest update.
    Thread-safe.

    While the lake is away it shows what it knew, or nothing: a list is shown without odds rather than not at
    all.
    """

    def __init__(self, windows: WindowReader, clock: Clock) -> None:
        self._windows = windows
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at_s: float | None = None
        self._asked: frozenset[str] = frozenset()
        self._known: Odds = {}

    def of(self, markets: Sequence[MarketUpdate]) -> Odds:
        """By market and selection; those that were not matched lately are left out."""
        wanted = frozenset(market.market_id for market in markets)
        with self._lock:
            now_s = self._clock.monotonic_s()
            fresh = self._read_at_s is not None and now_s - self._read_at_s < _FRESH_S
            if not wanted or (fresh and wanted <= self._asked):
                return self._known
            try:
                self._known = self._read({market.market_id: market.updated_at - _AGE for market in markets})
            except StoreUnavailable as error:
                log.warning("lists have no new odds: %s", error)
            self._asked, self._read_at_s = wanted, now_s
            return self._known

    def _read(self, floors: Mapping[str, datetime]) -> Odds:
        found: dict[str, dict[tuple[int, Decimal], Decimal]] = {}
        for window in self._windows.read_since(floors, limit=_MAX_WINDOWS):  # newest first
            row = window.row
            found.setdefault(row.market_id, {}).setdefault((row.selection_id, row.handicap), row.close_odds)
        return found
