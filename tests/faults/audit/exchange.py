"""The exchange's own journal: copied from outside while the exchange runs, since it forgets, and read
afterwards. Writes nothing to it.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.faults.audit.findings import Finding
from tests.faults.audit.records import Bet, Execution, of_json

STORE = "exchange"
_pairs = msgspec.msgpack.Decoder(list[tuple[str, bytes]])


@dataclass(slots=True)
class Told:
    """All that the exchange ever committed to publish: each bet's versions, and the executions."""

    bets: dict[str, dict[int, Bet]] = field(default_factory=lambda: defaultdict(dict))
    executions: dict[str, Execution] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    """Where the exchange contradicts itself, or the copy has a hole: then nothing can be concluded from it.
    """

    def newest(self) -> dict[str, Bet]:
        """Each bet as the exchange left it."""
        return {bet_id: versions[max(versions)] for bet_id, versions in self.bets.items()}


class JournalCopy:
    """Takes over what is new in the exchange's journal every few seconds, as an outside auditor would."""

    def __init__(self, journal: Path, copy: Path) -> None:
        self._journal = journal
        self._copy = copy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal copy", daemon=True)

    def start(self) -> None:
        """Begin to copy; the journal need not be there yet."""
        self._thread.start()

    def stop(self) -> None:
        """Copy what is new a last time, and end."""
        self._stop.set()
        self._thread.join()
        copy_new(self._journal, self._copy)

    def _run(self) -> None:
        while not self._stop.wait(2.0):
            copy_new(self._journal, self._copy)


def copy_new(journal: Path, copy: Path) -> None:
    """Append to the copy what the journal has that the copy lacks; nothing while there is no journal."""
    with closing(sqlite3.connect(copy)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS outbox (sequence INTEGER PRIMARY KEY, batch BLOB NOT NULL)")
        (newest,) = db.execute("SELECT coalesce(max(sequence), 0) FROM outbox").fetchone()
        try:
            with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as source:
                rows = source.execute(
                    "SELECT sequence, batch FROM outbox WHERE sequence > ? ORDER BY sequence", (newest,)
                ).fetchall()
        except sqlite3.OperationalError:  # not there yet, or busy: next time
            return
        db.executemany("INSERT INTO outbox VALUES (?, ?)", rows)


def unpublished(journal: Path) -> int:
    """How many committed batches are not known to be in the stream."""
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as db:
        (published,) = db.execute(
            "SELECT coalesce(max(value), 0) FROM numbers WHERE name = 'published_sequence'"
        ).fetchone()
        return int(db.execute("SELECT count(*) FROM outbox WHERE sequence > ?", (published,)).fetchone()[0])


def orders_taken(journal: Path) -> dict[str, str]:
    """The orders that the exchange took, with what came of each."""
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as db:
        return {str(row[0]): str(row[1]) for row in db.execute("SELECT order_id, outcome FROM orders")}


def read(copy: Path) -> Told:
    """Decode the copy. A sequence that is missing, and a repeat that says something else, are findings."""
    told = Told()
    last = 0
    with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)) as db:
        for sequence, batch in db.execute("SELECT sequence, batch FROM outbox ORDER BY sequence"):
            if sequence != last + 1:
                told.findings.append(
                    Finding(STORE, "batches are missing in the copy", f"{last + 1} to {sequence - 1}")
                )
            last = sequence
            for _, data in _pairs.decode(zlib.decompress(batch)):
                _take(told, of_json(data))
    return told


def _take(told: Told, record: Bet | Execution) -> None:
    if isinstance(record, Bet):
        before: Bet | Execution = told.bets[record.bet_id].setdefault(record.version, record)
        name = f"bet {record.bet_id} version {record.version}"
    else:
        before = told.executions.setdefault(record.execution_id, record)
        name = f"execution {record.execution_id}"
    if before != record:
        told.findings.append(Finding(STORE, "said twice, and differently", name))
