"""What the simulated exchange reports of itself: executions and bets by market and minute. Reads the
exchange's journal; writes nothing.

How long what is held: minute_sums.py, retention.py. The form of the report over HTTP lives in
gateway/report.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from exchange_platform.domain import records
from exchange_platform.domain.bet_digest import DIGESTED, bet_digest
from exchange_platform.domain.records import BetUpdate
from exchange_platform.exchanges.simulated.journal_reader import JournalReader, is_unmade
from exchange_platform.exchanges.simulated.minute_sums import MINUTE_US
from exchange_platform.exchanges.simulated.retention import Pairs, unpacked
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.stores.operational.database import to_us

_IDLE_US = 60_000_000
"""An exchange that has committed nothing new for so long has no tick under way."""


@dataclass(frozen=True, slots=True)
class MinuteSum:
    """A market's minute: executions by their own time, bet versions by theirs (`updated_at`). Sums over all
    of these.
    """

    minute_us: int
    market_id: str
    executions: int
    stake_thousandths: int
    bet_versions: int
    versions: int
    matched_minor: int
    remaining_minor: int
    profit_minor: int


@dataclass(frozen=True, slots=True)
class ReportPage:
    """Sums of some minutes, and what the exchange can say at all."""

    since_us: int
    """Sums are held of whole minutes from here on."""
    until_us: int
    """And they are complete up to here."""
    acknowledged_until_us: int
    """Every store of the platform has committed all that happened before."""
    records_since_us: int
    """From here on the records themselves are held."""
    dropped_records: int
    dropped_until_us: int | None
    minutes: list[MinuteSum] = field(default_factory=list)
    more: bool = False


@dataclass(frozen=True, slots=True)
class BetReport:
    """A bet's newest version within a minute."""

    bet_id: str
    market_id: str
    version: int
    digest: str


class NoJournal(Exception):
    """There is no journal here, or not yet: no simulated exchange runs on this data directory."""


class RecordsGone(Exception):
    """The records of that minute are no longer held."""


class Reports:
    """Reads reports from the journal. From any thread."""

    def __init__(self, data_dir: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._journal = JournalReader(data_dir)
        self._clock = clock
        self._bets: tuple[int, list[BetReport]] | None = None

    def page(self, since_us: int, until_us: int, after: tuple[int, str], limit: int) -> ReportPage:
        """Up to `limit` sums of minutes in `[since, until)`, behind the (minute, market) `after`. Raises
        `NoJournal`.
        """
        with _made(), self._journal.reading() as db:
            if db is None:
                raise NoJournal
            rows = db.execute(
                "SELECT * FROM market_minutes WHERE minute_us >= ? AND minute_us < ? AND (minute_us, market_id) > (?, ?)"
                " ORDER BY minute_us, market_id LIMIT ?",
                (since_us, until_us, *after, limit + 1),
            ).fetchall()
            return self._page(db, [MinuteSum(*row) for row in rows[:limit]], len(rows) > limit)

    def bets(self, minute_us: int, market_id: str | None) -> list[BetReport]:
        """The bets that changed in the minute, by their ids. Raises `NoJournal` and `RecordsGone`."""
        known = self._bets
        if known is None or known[0] != minute_us:
            with _made(), self._journal.reading() as db:
                if db is None:
                    raise NoJournal
                page = self._page(db, [], False)
                if minute_us < page.records_since_us:
                    raise RecordsGone
                known = minute_us, _newest(records_of(db, minute_us, None))
                if page.until_us >= minute_us + MINUTE_US:
                    self._bets = known
        return [bet for bet in known[1] if market_id in (None, bet.market_id)]

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _page(self, db: sqlite3.Connection, minutes: list[MinuteSum], more: bool) -> ReportPage:
        numbers: dict[str, int] = dict(db.execute("SELECT name, value FROM numbers").fetchall())
        first, last = (
            db.execute(
                f"SELECT sequence, committed_at_us FROM outbox ORDER BY sequence {order} LIMIT 1"
            ).fetchone()
            for order in ("ASC", "DESC")
        )
        idle_us = self._clock.now_us() - _IDLE_US
        until_us = numbers.get("summed_until_us", 0)
        if last is None or last[0] <= numbers.get("summed_sequence", 0):
            until_us = max(until_us, idle_us)
        acknowledged = numbers.get("acknowledged_sequence", 0)
        if last is None or acknowledged >= last[0]:
            acknowledged_us = max(idle_us, last[1] if last is not None else 0)
        else:
            row = db.execute(
                "SELECT committed_at_us FROM outbox WHERE sequence <= ? ORDER BY sequence DESC LIMIT 1",
                (acknowledged,),
            ).fetchone()
            # What is acknowledged may be forgotten; the batch behind it was begun at most some seconds before
            # its commit.
            acknowledged_us = row[0] if row is not None else first[1] - _IDLE_US
        since_us = numbers.get("sums_since_us", 0)
        records_since_us = since_us
        if first is not None and first[0] > 1:
            records_since_us = max(since_us, (first[1] // MINUTE_US + 1) * MINUTE_US)
        elif first is None:
            records_since_us = max(since_us, (until_us // MINUTE_US + 1) * MINUTE_US)
        return ReportPage(
            since_us,
            until_us,
            acknowledged_us,
            records_since_us,
            numbers.get("dropped_records", 0),
            numbers.get("dropped_until_us"),
            minutes,
            more,
        )


@contextmanager
def _made() -> Iterator[None]:
    """Takes a journal without tables for none."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if is_unmade(error):
            raise NoJournal from error
        raise


def records_of(db: sqlite3.Connection, minute_us: int, market_id: str | None) -> Iterator[tuple[str, bytes]]:
    """The (market, record) pairs of a minute as they were published, in their order, as far as they
    are held.
    """
    end_us = minute_us + MINUTE_US
    # A batch's records are younger than the batch before it: the first batch behind the end may hold some of
    # the minute.
    batches = db.execute(
        "SELECT batch FROM outbox WHERE committed_at_us >= ? AND committed_at_us < coalesce("
        " (SELECT min(committed_at_us) + 1 FROM outbox WHERE committed_at_us >= ?), ?) ORDER BY sequence",
        (minute_us, end_us, 2**62),
    )
    for (batch,) in batches:
        pairs: Pairs = unpacked(batch)
        for key, data in pairs:
            if market_id is not None and key != market_id:
                continue
            record = records.decode(data)
            at = record.updated_at if isinstance(record, BetUpdate) else record.executed_at
            if minute_us <= to_us(at) < end_us:
                yield key, data


def _newest(pairs: Iterator[tuple[str, bytes]]) -> list[BetReport]:
    newest: dict[str, BetUpdate] = {}
    for _, data in pairs:
        record = records.decode(data)
        if isinstance(record, BetUpdate):
            newest[record.bet_id] = record
    return [
        BetReport(bet.bet_id, bet.market_id, bet.version, digest_of(bet)) for _, bet in sorted(newest.items())
    ]


def digest_of(bet: BetUpdate) -> str:
    """The digest of the bet's state."""
    values = {name: getattr(bet, name) for name in DIGESTED}
    values["status"] = bet.status.value
    values["result"] = bet.result.value if bet.result is not None else None
    return bet_digest(*values.values())
