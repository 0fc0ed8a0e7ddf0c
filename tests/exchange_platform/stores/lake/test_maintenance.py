"""The lake stays small and as it was: maintenance merges files and drops snapshots, and changes no answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.lake.lake import Lake, LakeCommit
from tests.exchange_platform.stores.lake.lake_feed import NOON, Feed, bet, execution, lake_in
from tests.support.prepared import prepare_lake

ANSWERS = (
    "SELECT * FROM executions ORDER BY execution_id",
    "SELECT * FROM bet_history ORDER BY bet_id, version",
    "SELECT * FROM odds_windows ORDER BY ALL",
    "SELECT * FROM odds_windows_live ORDER BY ALL",
    "SELECT DISTINCT * FROM open_windows ORDER BY ALL",
)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    prepare_lake(tmp_path)
    lake = lake_in(tmp_path)
    yield lake
    lake.close()


def files(directory: Path) -> int:
    return len(list((directory / "data").rglob("*.parquet")))


def answers(lake: Lake) -> list[list[dict[str, Any]]]:
    return [lake.query(sql).to_pylist() for sql in ANSWERS]


def snapshots(lake: Lake) -> int:
    (count,) = lake.query("SELECT count(*) FROM ducklake_snapshots('lake')")[0].to_pylist()
    return int(count)


def write_for_a_while(feed: Feed, commits: int) -> None:
    for number in range(commits):
        at = number * 10
        feed.commit([execution(n) for n in range(at, at + 10)], [bet(n) for n in range(at, at + 10)])
        if number % 10 == 9:
            feed.close_all()


@pytest.mark.long
def test_maintenance_changes_no_answer_and_leaves_few_files_and_snapshots(lake: Lake, tmp_path: Path) -> None:
    feed = Feed(lake)
    write_for_a_while(feed, 30)
    before = answers(lake)
    assert files(tmp_path) >= 60
    lake.maintain(keep_snapshots="0 seconds")
    lake.maintain(keep_snapshots="0 seconds")
    assert answers(lake) == before
    assert files(tmp_path) <= 8
    assert snapshots(lake) <= 3
    assert feed.commit([execution(1), execution(10**6)]) == LakeCommit(1, 0, 1)


def test_snapshots_and_their_files_are_kept_for_as_long_as_asked(lake: Lake, tmp_path: Path) -> None:
    write_for_a_while(Feed(lake), 10)
    before, held = files(tmp_path), snapshots(lake)
    lake.maintain(keep_snapshots="1 hour")
    assert snapshots(lake) >= held
    assert files(tmp_path) >= before
    lake.maintain(keep_snapshots="0 seconds")
    assert snapshots(lake) <= 3
    assert files(tmp_path) < before


def test_a_query_that_began_before_maintenance_is_answered(lake: Lake, tmp_path: Path) -> None:
    feed = Feed(lake)
    write_for_a_while(feed, 10)
    reader = lake_in(tmp_path, read_only=True)
    session = reader._connection.session
    session.execute("BEGIN")
    assert session.execute("SELECT count(*) FROM executions").fetchall() == [(100,)]
    lake.maintain()
    feed.commit([execution(10**6)])
    assert session.execute("SELECT count(*), count(DISTINCT execution_id) FROM executions").fetchall() == [
        (100, 100)
    ]
    session.execute("COMMIT")
    assert reader.counts().executions == 101
    reader.close()


@pytest.mark.long
def test_commits_keep_their_own_files_few(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange_platform.stores.lake.lake._MERGE_EVERY", 8)
    feed = Feed(lake)
    counted = "SELECT file_count FROM ducklake_table_info('lake') WHERE table_name = 'executions'"
    for number in range(40):
        feed.commit([execution(number)])
        assert lake.query(counted)[0].to_pylist()[0] <= 8
    assert lake.counts().executions == 40


def test_a_merge_that_fails_does_not_undo_or_fail_its_commit(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr("exchange_platform.stores.lake.lake._MERGE_EVERY", 1)
    monkeypatch.setattr("exchange_platform.stores.lake.maintenance.merge_small", broken)
    feed = Feed(lake)
    assert feed.commit([execution(1)]) == LakeCommit(1, 0, 0)
    assert feed.commit([execution(2)]) == LakeCommit(1, 0, 0)


def test_maintenance_of_an_empty_lake_does_nothing(lake: Lake) -> None:
    lake.maintain()
    assert lake.counts().executions == 0


@pytest.mark.long
def test_windows_revised_many_times_leave_one_row_each(lake: Lake) -> None:
    feed = Feed(lake)
    for number in range(12):
        feed.commit([execution(number, NOON)])
        feed.close_all()
    lake.maintain(keep_snapshots="0 seconds")
    assert lake.query("SELECT executions, revision FROM odds_windows").to_pylist() == [
        {"executions": 12, "revision": 12}
    ]
    assert lake.disagreeing_windows() == []
