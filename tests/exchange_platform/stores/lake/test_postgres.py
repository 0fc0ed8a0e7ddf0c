"""The lake on a PostgreSQL catalog."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exchange_platform.stores.checkpoints import Superseded
from exchange_platform.stores.lake.lake import Lake, LakeCommit, QueryError
from exchange_platform.stores.lake.maintenance import KnownFiles
from tests.exchange_platform.stores.lake.lake_feed import SHARD, SOURCE, Feed, bet, execution
from tests.support.postgres_parts import Postgres

pytestmark = pytest.mark.servers


class Server:
    """Lakes on one catalog: a database of its own of the server."""

    def __init__(self, directory: Path, postgres: Postgres) -> None:
        self._catalog = postgres.catalog(postgres.new_database())
        self._directory = directory
        self._opened: list[Lake] = []

    def lake(self, *, read_only: bool = False) -> Lake:
        lake = Lake(self._catalog, str(self._directory / "data"), read_only=read_only)
        self._opened.append(lake)
        return lake

    def make(self) -> Lake:
        lake = self.lake()
        lake.migrate()
        return lake

    def close(self) -> None:
        for lake in self._opened:
            lake.close()


@pytest.fixture
def server(tmp_path: Path, postgres: Postgres) -> Iterator[Server]:
    server = Server(tmp_path, postgres)
    yield server
    server.close()


def test_commits_windows_maintenance_and_refusals_are_as_on_sqlite(server: Server) -> None:
    lake = server.make()
    lake.migrate()
    feed = Feed(lake)
    for start in range(0, 60, 10):
        feed.commit(
            [execution(n) for n in range(start, start + 10)], [bet(n) for n in range(start, start + 10)]
        )
    assert feed.commit([execution(5), execution(60)], [bet(5)]) == LakeCommit(1, 0, 2)
    feed.close_all()
    lake.maintain(keep_snapshots="0 seconds")
    feed.commit([execution(61)])
    feed.close_all()
    reader = server.lake(read_only=True)
    assert reader.query("SELECT executions, revision FROM odds_windows").to_pylist() == [
        {"executions": 62, "revision": 2}
    ]
    assert reader.disagreeing_windows() == []
    assert reader.positions(SOURCE) == {SHARD: feed.position}
    with pytest.raises(QueryError):
        reader.query("DELETE FROM executions")


def test_a_consumer_superseded_while_it_waits_to_commit_writes_nothing(server: Server) -> None:
    lake = server.make()
    old = Feed(server.lake())
    old.commit([execution(1)])
    outcome: list[BaseException | LakeCommit] = []

    def commit() -> None:
        try:
            outcome.append(old.commit([execution(2)]))
        except Superseded as error:
            outcome.append(error)

    successor = server.lake()
    waiting = threading.Thread(target=commit)
    with successor._connection.write():
        successor._checkpoints.claim(SOURCE, 2, [SHARD])
        waiting.start()
        deadline = time.monotonic() + 20
        while not lake._connection.catalog_rows(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ):
            assert time.monotonic() < deadline, "the old consumer does not wait"
    waiting.join()
    assert isinstance(outcome[0], Superseded)
    assert lake.counts().executions == 1


def test_writers_at_once_lose_nothing_and_double_nothing(server: Server) -> None:
    lake = server.make()
    feed = Feed(lake)
    others = [server.lake() for _ in range(2)]

    def replay(other: Lake) -> None:
        for number in range(10):
            other.commit("dead-letters", 0, [], [execution(number)], [])

    threads = [threading.Thread(target=replay, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for number in range(10):
        feed.commit([execution(number), execution(100 + number)])
    for thread in threads:
        thread.join()
    assert lake.counts().executions == 20
    assert lake.query("SELECT count(DISTINCT execution_id) FROM executions")[0].to_pylist() == [20]


def test_the_file_of_a_killed_writer_goes_and_no_other(server: Server, tmp_path: Path) -> None:
    lake = server.make()
    Feed(lake).commit([execution(number) for number in range(300)])
    known = set((tmp_path / "data").rglob("*.parquet"))
    orphan = next(iter(known)).with_name("ducklake-left.parquet")
    orphan.write_bytes(b"PAR1")
    in_a_day = datetime.now(UTC) + timedelta(days=1)
    assert lake.delete_orphans(before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert lake.delete_orphans(before=in_a_day) == 1
    assert set((tmp_path / "data").rglob("*.parquet")) == known
    copy = tmp_path / "data" / "elsewhere" / next(iter(known)).name
    copy.parent.mkdir()
    copy.write_bytes(b"PAR1")
    with pytest.raises(KnownFiles):
        lake.delete_orphans(before=in_a_day)
    assert lake.counts().executions == 300
