"""What the exchange did by market and minute, in sums that are kept for days after the records are gone.
Reading them lives in reports.py.

Sums are gathered in memory and written every few seconds, with the batch up to which they go. After a crash
the batches behind that one are read again from the journal's outbox.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from exchange_platform.domain import records
from exchange_platform.domain.records import BetUpdate, Execution
from exchange_platform.exchanges.simulated.retention import Pairs
from exchange_platform.stores.operational.database import to_us

MINUTE_US = 60_000_000
SUMS_KEPT_S = 7 * 24 * 3600

SUMS_SCHEMA = """
CREATE TABLE IF NOT EXISTS market_minutes (
    minute_us INTEGER NOT NULL, market_id TEXT NOT NULL, executions INTEGER NOT NULL, stake_thousandths INTEGER NOT NULL,
    bet_versions INTEGER NOT NULL, versions INTEGER NOT NULL, matched_minor INTEGER NOT NULL, remaining_minor INTEGER NOT NULL,
    profit_minor INTEGER NOT NULL, PRIMARY KEY (minute_us, market_id)
) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO market_minutes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (minute_us, market_id) DO UPDATE SET
    executions = executions + excluded.executions, stake_thousandths = stake_thousandths + excluded.stake_thousandths,
    bet_versions = bet_versions + excluded.bet_versions, versions = versions + excluded.versions,
    matched_minor = matched_minor + excluded.matched_minor, remaining_minor = remaining_minor + excluded.remaining_minor,
    profit_minor = profit_minor + excluded.profit_minor
"""


@dataclass(slots=True)
class _Sum:
    executions: int = 0
    stake_thousandths: int = 0
    bet_versions: int = 0
    versions: int = 0
    matched_minor: int = 0
    remaining_minor: int = 0
    profit_minor: int = 0


class ExchangeMinuteSums:
    """The table `market_minutes` and what is not in it yet. Used by the journal's thread."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._sums: dict[tuple[int, str], _Sum] = {}
        self._summed = self._number("summed_sequence")

    @property
    def summed(self) -> int:
        """The last batch whose records are in the table."""
        return self._summed

    def begin(self, now_us: int) -> None:
        """Note from when on the sums are whole, where that is not known yet: from the next full minute."""
        if self._number("sums_since_us") == 0:
            (first_us,) = self._db.execute("SELECT min(committed_at_us) FROM outbox").fetchone()
            begun_us = min(now_us, first_us if first_us is not None else now_us)
            self._note(sums_since_us=(begun_us // MINUTE_US + 1) * MINUTE_US)

    def execution(self, execution: Execution) -> None:
        """Add an execution."""
        one = self._of(to_us(execution.executed_at), execution.market_id)
        one.executions += 1
        one.stake_thousandths += int(execution.stake * 1000)

    def bet(self, bet: BetUpdate) -> None:
        """Add a bet's version."""
        one = self._of(to_us(bet.updated_at), bet.market_id)
        one.bet_versions += 1
        one.versions += bet.version
        one.matched_minor += bet.matched_minor
        one.remaining_minor += bet.remaining_minor
        one.profit_minor += bet.profit_minor

    def catch_up(self, batches: Iterable[Pairs]) -> None:
        """Add what the table lacks after a crash."""
        for pairs in batches:
            for _, data in pairs:
                record = records.decode(data)
                if isinstance(record, Execution):
                    self.execution(record)
                else:
                    self.bet(record)

    def write(self, upto: int, upto_us: int) -> None:
        """Write what was added, all of it up to this batch and its time; drop what is too old. Does nothing
        if that is written.
        """
        if upto == self._summed:
            return
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(
                _ADD,
                [
                    (
                        minute * MINUTE_US,
                        market_id,
                        one.executions,
                        one.stake_thousandths,
                        one.bet_versions,
                        one.versions,
                        one.matched_minor,
                        one.remaining_minor,
                        one.profit_minor,
                    )
                    for (minute, market_id), one in self._sums.items()
                ],
            )
            db.execute("DELETE FROM market_minutes WHERE minute_us < ?", (upto_us - SUMS_KEPT_S * 1_000_000,))
            self._note(summed_sequence=upto, summed_until_us=upto_us)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        self._sums.clear()
        self._summed = upto

    def _of(self, at_us: int, market_id: str) -> _Sum:
        key = (at_us // MINUTE_US, market_id)
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = _Sum()
        return found

    def _number(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM numbers WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row is not None else 0

    def _note(self, **numbers: int) -> None:
        self._db.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?)", numbers.items())
