"""Analysts and other processes: what they may ask, what they are told, and that nobody waits for a writer."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from duckdb_extensions import import_extension

from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.lake.connection import without_password
from exchange_platform.stores.lake.lake import Lake, QueryError
from tests.exchange_platform.stores.lake.lake_feed import NOON, SHARD, SOURCE, Feed, bet, execution, lake_in
from tests.support.prepared import copy_lake, prepare_lake

ROOT = Path(__file__).parents[4]

READER = """
import json, sys, time
from pathlib import Path
from tests.exchange_platform.stores.lake.lake_feed import lake_in
directory, count = Path(sys.argv[1]), int(sys.argv[2])
questions = (
    "SELECT count(DISTINCT execution_id), count(*), sum(stake) FROM executions",
    "SELECT market_id, sum(stake) FROM executions GROUP BY 1",
    "SELECT * FROM odds_windows_live",
    "SELECT status, count(DISTINCT bet_id) FROM bet_history GROUP BY 1",
)
lake = lake_in(directory, read_only=True)
taken, seen = [], 0
for number in range(count):
    if number % 50 == 49:  # another analyst comes
        lake.close()
        lake = lake_in(directory, read_only=True)
        lake.query("SELECT 1")
    began = time.perf_counter()
    answer = lake.query(questions[number % len(questions)])
    taken.append(time.perf_counter() - began)
    if number % len(questions) == 0:
        held, counted, stake = (column[0].as_py() for column in answer.columns)
        assert held >= seen and held % 100 == 0, f"a torn or older state: {held} after {seen}"
        assert (counted, stake) == (held, held * 10), f"{counted} rows of stake {stake}, not {held}"
        seen = held
print(json.dumps({"taken": taken, "seen": seen}))
"""

WRITER = """
import sys
from pathlib import Path
from tests.exchange_platform.stores.lake.lake_feed import Feed, execution, lake_in
feed = Feed(lake_in(Path(sys.argv[1])), epoch=int(sys.argv[2]))
print("claimed", flush=True)
while True:
    at = int(feed.position or 0) * 10
    feed.commit([execution(n) for n in range(at, at + 10)])
    print(feed.position, flush=True)
"""


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    prepare_lake(tmp_path)
    lake = lake_in(tmp_path)
    yield lake
    lake.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a lake with two executions and a bet. Copy it."""
    directory = tmp_path_factory.mktemp("filled")
    prepare_lake(directory)
    lake = lake_in(directory)
    Feed(lake).commit([execution(1), execution(2)], [bet(1)])
    lake.close()
    return directory


@pytest.fixture
def filled_lake(filled: Path, tmp_path: Path) -> Iterator[Lake]:
    copy_lake(filled, tmp_path)
    lake = lake_in(tmp_path)
    yield lake
    lake.close()


@pytest.fixture
def reader(filled_lake: Lake, tmp_path: Path) -> Iterator[Lake]:
    """Reads what `filled_lake` writes."""
    reader = lake_in(tmp_path, read_only=True)
    yield reader
    reader.close()


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM executions",
        "FROM executions;",
        "WITH few AS (FROM executions LIMIT 1) SELECT * FROM few -- with a remark",
        "SHOW TABLES",
        "DESCRIBE odds_windows",
        "SUMMARIZE executions",
        "EXPLAIN SELECT 1",
        "PIVOT executions ON selection_id USING sum(stake) GROUP BY market_id",
    ],
)
def test_what_reads_is_answered(reader: Lake, sql: str) -> None:
    assert reader.query(sql).num_rows >= 1


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO executions SELECT * FROM executions",
        "UPDATE odds_windows SET revision = 9",
        "DELETE FROM executions",
        "DROP TABLE executions",
        "CREATE TABLE mine AS SELECT 1",
        "COPY executions TO 'here.csv'",
        "ATTACH 'other.db'",
        "SET threads = 1",
        "CALL ducklake_merge_adjacent_files('lake')",
        "FROM ducklake_expire_snapshots('lake', older_than => now())",
        "FROM ducklake_flush_inlined_data('lake')",
        "FROM sqlite_query('__ducklake_metadata_lake', 'DELETE FROM ducklake_snapshot RETURNING 1')",
    ],
)
def test_what_writes_is_refused_and_changes_nothing(reader: Lake, filled_lake: Lake, sql: str) -> None:
    newest = "SELECT max(snapshot_id) FROM ducklake_snapshots('lake')"
    before = filled_lake.query(newest).to_pylist()
    with pytest.raises(QueryError):
        reader.query(sql)
    assert filled_lake.query(newest).to_pylist() == before
    assert reader.query("SELECT count(*) FROM executions")[0].to_pylist() == [2]


def test_a_refused_write_says_what_is_allowed(reader: Lake) -> None:
    with pytest.raises(QueryError, match=r"DELETE is refused.*SELECT, FROM"):
        reader.query("DELETE FROM executions")


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM executons", "Did you mean"),
        ("SELECT odd FROM executions", "odd"),
        ("SELECT 'x'::INTEGER", "Could not convert"),
        ("FROM 'nowhere.csv'", "not a table of the lake"),
        ("SELECT error('database is locked')", "database is locked"),
        ("", "one statement is allowed, this is 0"),
        (" ; -- nothing", "one statement is allowed, this is 0"),
        ("SELECT 1; SELECT 2", "one statement is allowed, this is 2"),
        ("SELECT 1; DROP TABLE executions", "one statement is allowed, this is 2"),
    ],
)
def test_nonsense_gets_duckdbs_own_words(reader: Lake, sql: str, told: str) -> None:
    with pytest.raises(QueryError, match=told):
        reader.query(sql)
    assert reader.query("SELECT count(*) FROM executions")[0].to_pylist() == [2]


def test_instants_are_answered_in_utc_whatever_the_machines_zone(
    reader: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    answer = reader.query("SELECT min(executed_at), min(executed_at)::VARCHAR FROM executions")
    assert answer[0][0].as_py() == NOON + timedelta(seconds=1)
    assert answer[0].type.tz == "UTC"
    assert answer[1][0].as_py() == "2026-06-01 12:00:01+00"


def test_any_duckdb_reads_the_lake_under_any_name(reader: Lake, tmp_path: Path) -> None:
    connection = duckdb.connect()
    for extension in ("ducklake", "sqlite_scanner"):
        import_extension(extension, con=connection)
        connection.execute(f"LOAD {extension}")
    connection.execute(f"ATTACH 'ducklake:sqlite:{tmp_path / 'catalog.sqlite'}' AS mine (READ_ONLY)")
    assert connection.execute("SELECT sum(executions) FROM mine.odds_windows_live").fetchall() == [(2,)]
    connection.close()


def examples() -> list[str]:
    """The statements that docs/analysts.md shows, but for the one that asks for a past which a new lake does
    not have.
    """
    page = (ROOT / "docs" / "analysts.md").read_text()
    block = page.partition("```sql")[2].partition("```")[0]
    return [sql.strip() for sql in block.split(";") if sql.strip() and "AT (TIMESTAMP" not in sql]


@pytest.mark.parametrize("sql", examples())
def test_the_examples_of_the_analysts_page_are_answered(reader: Lake, sql: str) -> None:
    assert reader.query(sql).num_columns > 0


@pytest.mark.parametrize("table", ["executions", "bet_history", "odds_windows", "odds_windows_live"])
def test_the_analysts_page_tells_of_every_column(reader: Lake, table: str) -> None:
    page = (ROOT / "docs" / "analysts.md").read_text()
    assert [name for name in reader.query(f"FROM {table}").column_names if f"`{name}`" not in page] == []


@pytest.mark.long
def test_a_killed_writer_leaves_whole_commits_and_no_lock(lake: Lake, tmp_path: Path) -> None:
    for epoch in range(1, 4):
        writer = start(WRITER, tmp_path, epoch)
        assert writer.stdout is not None
        for _ in range(4):
            assert writer.stdout.readline(), writer.communicate()[1]
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        position = lake.positions(SOURCE)[SHARD]
        assert lake.counts().executions == int(position or 0) * 10
    last = Feed(lake, epoch=9)
    assert int(last.position or 0) >= 9
    last.commit([execution(0), execution(10**6)])
    assert lake.counts().executions == (int(last.position or 0) - 1) * 10 + 1


@pytest.mark.long
def test_writers_in_two_processes_wait_for_each_other(lake: Lake, tmp_path: Path) -> None:
    writer = start(WRITER, tmp_path, 1)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "claimed\n", writer.communicate()[1]
    for number in range(15):
        lake.commit("dead-letters", 0, [], [execution(number, market="1.9")], [])
    writer.kill()
    writer.communicate()
    assert lake.query("SELECT count(*) FROM executions WHERE market_id = '1.9'")[0].to_pylist() == [15]
    assert lake.counts().executions == 15 + 10 * int(lake.positions(SOURCE)[SHARD] or 0)


def read_while_writing(lake: Lake, directory: Path, queries: int, pause_s: float) -> list[float]:
    """Query from a second process while this one commits 100 executions at a time, closes windows and does
    maintenance.
    """
    feed = Feed(lake)
    feed.commit([execution(n) for n in range(100)])
    reader = start(READER, directory, queries)
    written, done = 1, threading.Event()
    while reader.poll() is None:
        at = written * 100
        feed.commit([execution(n) for n in range(at, at + 100)], [bet(n) for n in range(at, at + 100)])
        written += 1
        if written % 20 == 0:
            feed.close_all()
        if written % 50 == 0:
            lake.maintain()
        done.wait(pause_s)
    output, errors = reader.communicate()
    assert reader.returncode == 0, errors
    told = json.loads(output)
    assert told["seen"] <= written * 100
    return [float(seconds) for seconds in told["taken"]]


@pytest.mark.long
def test_a_second_process_reads_whole_commits_while_the_lake_is_written_and_merged(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange_platform.stores.lake.lake._MERGE_EVERY", 1)
    assert len(read_while_writing(lake, tmp_path, 60, 0.0)) == 60


@pytest.mark.faults
def test_a_thousand_queries_from_a_second_process_meet_no_error(lake: Lake, tmp_path: Path) -> None:
    taken = sorted(read_while_writing(lake, tmp_path, 1000, 0.5))
    print(
        f"1,000 queries while writing: median {1000 * statistics.median(taken):.0f} ms,"
        f" p99 {1000 * taken[989]:.0f} ms, longest {1000 * taken[-1]:.0f} ms"
    )
    assert len(taken) == 1000


def test_a_password_is_never_told(tmp_path: Path) -> None:
    catalog = "postgres:dbname=lake host=127.0.0.1 port=1 user=me password='hun\\'ter 2' connect_timeout=1"
    lake = Lake(catalog, str(tmp_path / "is-not-reached"))
    with pytest.raises(StoreUnavailable) as told:
        lake.counts()
    assert "hun" not in str(told.value)
    assert told.value.__cause__ is None
    assert without_password("at postgresql://me:hunter2@db/lake: no") == "at postgresql://me:***@db/lake: no"
    assert without_password('"dbname=x password=hunter2 host=y"') == '"dbname=x password=*** host=y"'


def test_a_writer_that_waits_too_long_says_so(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    feed = Feed(lake)
    lock = lake._connection._lock
    assert lock is not None
    monkeypatch.setattr(lock, "timeout", 0.05)
    with FileLock(lock.lock_file), pytest.raises(StoreUnavailable, match="another process writes"):
        feed.commit([execution(1)])
    feed.commit([execution(1)])


def test_an_unknown_kind_of_catalog_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mysql.*sqlite:PATH and postgres"):
        Lake("mysql:host=here", "data")


def test_a_reader_that_came_first_sees_what_is_committed_later(lake: Lake, tmp_path: Path) -> None:
    early = lake_in(tmp_path, read_only=True)
    assert early.counts().executions == 0
    Feed(lake).commit([execution(1)])
    assert early.counts().executions == 1
    early.close()
