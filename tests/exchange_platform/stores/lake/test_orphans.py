"""Files that a killed writer left in the lake are deleted, and no other file ever is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exchange_platform.stores.lake.lake import Lake
from exchange_platform.stores.lake.maintenance import KnownFiles
from tests.exchange_platform.stores.lake.lake_feed import Feed, bet, execution, lake_in
from tests.support.prepared import prepare_lake

_WRITER = """
import sys
from pathlib import Path
from exchange_platform.stores.lake.rows import executions_batch
from tests.exchange_platform.stores.lake.lake_feed import execution, lake_in

lake = lake_in(Path(sys.argv[1]))
with lake._connection.write() as connection:
    batch = executions_batch([execution(number) for number in range(10_000, 12_000)])
    connection.execute("INSERT INTO executions SELECT * FROM batch")
    print("inserted", flush=True)
    sys.stdin.read()
"""
_DAY = timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    prepare_lake(tmp_path)
    lake = lake_in(tmp_path)
    yield lake
    lake.close()


def files(directory: Path) -> set[Path]:
    return set((directory / "data").rglob("*.parquet"))


def tomorrow() -> datetime:
    return datetime.now(UTC) + _DAY


def age(paths: set[Path]) -> None:
    """As if these had been written two days ago."""
    then = (datetime.now(UTC) - 2 * _DAY).timestamp()
    for path in paths:
        os.utime(path, (then, then))


def kill_a_writer(directory: Path) -> None:
    """Between its INSERT and its COMMIT."""
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdin is not None
    assert writer.stdout.readline() == "inserted\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdin.close()
    writer.stdout.close()


@pytest.mark.long
def test_the_file_of_a_writer_that_was_killed_between_insert_and_commit_is_deleted(
    lake: Lake, tmp_path: Path
) -> None:
    feed = Feed(lake)
    feed.commit([execution(number) for number in range(300)], [bet(number) for number in range(300)])
    known = files(tmp_path)
    kill_a_writer(tmp_path)
    (orphan,) = files(tmp_path) - known
    lake.maintain(keep_snapshots="0 seconds")
    lake.maintain(keep_snapshots="0 seconds")
    assert orphan in files(tmp_path)
    before = lake.query("SELECT * FROM executions ORDER BY ALL").to_pylist()
    assert lake.delete_orphans(before=tomorrow()) == 1
    assert orphan not in files(tmp_path)
    assert lake.query("SELECT * FROM executions ORDER BY ALL").to_pylist() == before
    assert lake.delete_orphans(before=tomorrow()) == 0
    assert feed.commit([execution(10_000)]).executions == 1


@pytest.mark.long
def test_a_file_that_a_transaction_may_be_writing_stays(lake: Lake, tmp_path: Path) -> None:
    Feed(lake).commit([execution(1)])
    kill_a_writer(tmp_path)
    assert lake.delete_orphans(before=datetime.now(UTC) - _DAY) == 0
    age(files(tmp_path))
    assert lake.delete_orphans(before=datetime.now(UTC) - _DAY) == 1


@pytest.mark.long
def test_files_of_older_states_that_are_still_readable_stay(lake: Lake, tmp_path: Path) -> None:
    feed = Feed(lake)
    for number in range(12):
        feed.commit([execution(number)])
        feed.close_all()
    lake.maintain(keep_snapshots="1 hour")
    held = files(tmp_path)
    age(held)
    assert lake.delete_orphans(before=datetime.now(UTC) - _DAY) == 0
    assert files(tmp_path) == held


@pytest.mark.parametrize("place", ["moved", "linked"])
@pytest.mark.long
def test_a_lake_that_was_moved_or_is_reached_by_a_link_loses_nothing(
    lake: Lake, tmp_path: Path, place: str
) -> None:
    Feed(lake).commit([execution(number) for number in range(300)])
    lake.close()
    other = tmp_path.with_name(f"{tmp_path.name}-{place}")
    if place == "moved":
        tmp_path.rename(other)
    else:
        other.symlink_to(tmp_path)
    again = lake_in(other)
    held = files(other)
    assert again.delete_orphans(before=tomorrow()) == 0
    kill_a_writer(other)
    assert again.delete_orphans(before=tomorrow()) == 1
    assert files(other) == held
    assert again.counts().executions == 300
    again.close()


@pytest.mark.long
def test_nothing_is_deleted_where_the_catalog_knows_a_file_by_another_path(
    lake: Lake, tmp_path: Path
) -> None:
    Feed(lake).commit([execution(number) for number in range(300)])
    (path,) = files(tmp_path)
    kill_a_writer(tmp_path)
    copy = path.with_name("copies") / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    held = files(tmp_path)
    with pytest.raises(KnownFiles, match="Nothing was deleted"):
        lake.delete_orphans(before=tomorrow())
    assert files(tmp_path) == held
