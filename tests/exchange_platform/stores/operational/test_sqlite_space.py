"""Free pages of a SQLite file go back to the file system, and nobody waits for it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.purge_rounds import Budget
from exchange_platform.stores.operational.sqlite_space import GivenBack, give_back
from tests.support.prepared import prepare_database

MB = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.db"


@pytest.fixture
def old(path: Path) -> Iterator[sqlite3.Connection]:
    """A file as Dagster and earlier releases make one, with 8 MB of rows, nearly all deleted."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        fill(db)
        yield db


def fill(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, data BLOB)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO rows VALUES (?, ?)", ((number, b"x" * 1_000) for number in range(8_000)))
    db.execute("COMMIT")
    db.execute("DELETE FROM rows WHERE number >= 100")


def budget() -> Budget:
    return Budget(SYSTEM_CLOCK, 60)


def test_a_new_operational_database_shrinks_in_steps(tmp_path: Path) -> None:
    path = tmp_path / "operational.sqlite"
    database = Database(f"sqlite:///{path}")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE rows (number INTEGER PRIMARY KEY, data BLOB)")
        rows = [(number, b"x" * 1_000) for number in range(8_000)]
        connection.exec_driver_sql("INSERT INTO rows VALUES (?, ?)", rows)
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM rows")
    given = give_back(path, budget())
    assert given.before > 8 * MB
    assert given.after < 2 * MB
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    database.dispose()


def test_a_migrated_database_can_shrink(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'operational.sqlite'}")
    prepare_database(database)
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA auto_vacuum").scalar() == 2
    database.dispose()


def test_an_older_file_is_rewritten_once_and_shrinks_in_steps_from_then_on(
    path: Path, old: sqlite3.Connection
) -> None:
    given = give_back(path, budget(), max_rewritten=MB)
    assert given.before > 8 * MB
    assert given.after < MB
    old.execute("DROP TABLE rows")
    fill(old)
    assert give_back(path, budget()).after < 2 * MB
    assert old.execute("SELECT count(*) FROM rows").fetchone() == (100,)
    assert old.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_an_older_file_that_holds_too_much_to_be_rewritten_stays_as_it_is(
    path: Path, old: sqlite3.Connection
) -> None:
    old.execute("INSERT INTO rows VALUES (-1, zeroblob(2000000))")
    given = give_back(path, budget(), max_rewritten=MB)
    assert given.after == given.before
    assert given.free > 5 * MB


def test_a_file_that_somebody_keeps_locked_stays_as_it_is(
    path: Path, old: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange_platform.stores.operational.sqlite_space._BUSY_S", 0.01)
    old.execute("BEGIN IMMEDIATE")
    given = give_back(path, budget(), max_rewritten=MB)
    old.execute("ROLLBACK")
    assert given == GivenBack(given.before, given.before, given.free)


def test_writers_and_readers_go_on_while_a_file_shrinks(path: Path, old: sqlite3.Connection) -> None:
    give_back(path, budget(), max_rewritten=MB)
    old.execute("DROP TABLE rows")
    fill(old)
    given: list[GivenBack] = []
    shrinking = threading.Thread(target=lambda: given.append(give_back(path, budget())))
    shrinking.start()
    written = 0
    while shrinking.is_alive() or not written:
        old.execute("INSERT INTO rows VALUES (?, 'y')", (10_000 + written,))
        written += 1
        shrinking.join(0.01)  # a writer that never pauses keeps SQLite's lock, whoever else asks for it
    assert given[0].after < 2 * MB
    assert old.execute("SELECT count(*) FROM rows").fetchone() == (100 + written,)
    assert old.execute("PRAGMA integrity_check").fetchone() == ("ok",)
