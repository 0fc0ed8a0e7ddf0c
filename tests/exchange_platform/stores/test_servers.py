"""The operational stores on MariaDB: the same tables as on SQLite, fencing, and a server that goes away under
load.

CI installs and starts the server (.ci/run). Without `EXCHANGE_PLATFORM_TEST_MYSQL_URL` these tests skip.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from exchange_platform.domain.records import BetUpdate
from exchange_platform.operations import checks
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.checkpoints import Advance, Superseded
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.consumers.consumers import Checkpoints, ConsumerRows
from exchange_platform.stores.operational.database import Database, metadata
from exchange_platform.stores.operational.events.reader import EventReader
from exchange_platform.stores.schema import migrate, migrate_database, schema_revisions
from exchange_platform.streams.sources.kinesis import ensure_stream
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.stores.event_store import applied, event_rows
from tests.support.feed_updates import any_updates
from tests.support.platform_parts import (
    COMPARED,
    consume_all,
    encoded,
    is_caught_up,
    operational_rows,
    publish,
    start_consumer,
    wait_for,
)
from tests.support.workload import matched_pairs

pytestmark = pytest.mark.servers
PID_FILE = "EXCHANGE_PLATFORM_TEST_MYSQL_PID_FILE"


def test_the_migrated_schema_is_the_code_s_and_migrating_again_changes_nothing(mysql_url: str) -> None:
    database = Database(mysql_url)
    migrate_database(database)
    migrate_database(database)
    current, wanted = schema_revisions(database)
    assert current == wanted
    tables = set(sa.inspect(database.engine).get_table_names())
    assert {table.name for table in metadata.sorted_tables} <= tables
    database.dispose()


def test_the_same_updates_give_the_same_tables_as_on_sqlite(mysql_url: str, tmp_path: Path) -> None:
    updates = [record for record in matched_pairs(500, users=40) if isinstance(record, BetUpdate)]
    found = []
    for url, size in ((mysql_url, 700), (f"sqlite:///{tmp_path / 'same.sqlite'}", 111)):
        database = Database(url)
        migrate_database(database)
        for start in range(0, len(updates), size):
            with database.write() as connection:
                assert all(v.applied for v in apply_bet_updates(connection, updates[start : start + size]))
        assert checks.money_conserved(database).passed
        assert checks.bets_conserved(database).passed
        with database.read() as connection:
            found.append(
                {
                    table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
                    for table in COMPARED
                }
            )
        database.dispose()
    assert found[0] == found[1]


def test_the_same_feed_gives_the_same_events_as_on_sqlite(mysql_url: str, tmp_path: Path) -> None:
    found = []
    for url, size in ((mysql_url, 40), (f"sqlite:///{tmp_path / 'same.sqlite'}", 7)):
        database = Database(url)
        migrate_database(database)
        verdicts = applied(database, any_updates(300, seed=5), batch=size)
        assert {verdict.reason is None for verdict in verdicts} == {True, False}
        page = [(stored.event, stored.markets) for stored in EventReader(database).page(limit=10)]
        found.append((verdicts, event_rows(database), page))
        database.dispose()
    assert found[0] == found[1]


def test_a_newer_epoch_fences_the_older_one_out(mysql_url: str) -> None:
    database = Database(mysql_url)
    migrate_database(database)
    rows = ConsumerRows(database)
    held = Checkpoints(database, "a-sink")
    older = rows.begin("s", "one", now_us=1, ends_at_us=2)
    held.claim("s", older, ["shard"], now_us=1)
    newer = rows.begin("s", "two", now_us=1, ends_at_us=2)
    assert newer == older + 1
    held.claim("s", newer, ["shard"], now_us=1)
    with pytest.raises(Superseded), database.write() as connection:
        held.advance(connection, "s", older, [Advance("shard", None, "5")], now_us=2)
    with pytest.raises(Superseded):
        held.claim("s", older, ["shard"], now_us=3)
    with database.write() as connection:
        held.advance(connection, "s", newer, [Advance("shard", None, "7")], now_us=2)
    assert held.positions("s") == {"shard": "7"}
    database.dispose()


def test_the_consumer_runs_on_it(mysql_url: str, settings: Settings) -> None:
    on_server = settings.model_copy(update={"database_url": SecretStr(mysql_url)})
    migrate(on_server)
    ensure_stream(aws_client(on_server, "kinesis"), on_server.bets_stream)
    consume_all(on_server, publish(on_server, [*encoded(matched_pairs(300)), ("x", b"\xffnonsense")]))
    database = Database(mysql_url)
    assert checks.money_conserved(database).passed
    assert checks.no_new_dead_letters(database, SYSTEM_CLOCK).figures["new"] == 1
    database.dispose()


class _Server:
    """The server that `.ci/run` started: its process, to be shut down and started again with the same
    arguments.
    """

    def __init__(self, pid_file: Path) -> None:
        self._pid_file = pid_file
        self._pid = int(pid_file.read_text())
        self._command = Path(f"/proc/{self._pid}/cmdline").read_text().rstrip("\0").split("\0")

    def shut_down(self) -> None:
        """Ask the server to end, and wait until it has."""
        os.kill(self._pid, signal.SIGTERM)
        wait_for(self._is_over, what="the server's end")

    def start(self) -> None:
        """Start it again; it serves some seconds later."""
        self._pid = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ).pid
        self._pid_file.write_text(str(self._pid))

    def _is_over(self) -> bool:
        try:
            state = Path(f"/proc/{self._pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"


@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(400)
def test_a_server_that_is_shut_down_for_thirty_seconds_under_load_and_started_again_loses_nothing(
    mysql_url: str, settings: Settings, tmp_path: Path
) -> None:
    if PID_FILE not in os.environ:
        pytest.skip(f"the server can't be stopped: {PID_FILE} is not set")
    on_server = settings.model_copy(update={"database_url": SecretStr(mysql_url)})
    migrate(on_server)
    ensure_stream(aws_client(on_server, "kinesis"), on_server.bets_stream)
    data = encoded(matched_pairs(3000, users=100))
    database = Database(mysql_url)
    consumer = start_consumer(on_server)
    server = _Server(Path(os.environ[PID_FILE]))
    pause = threading.Event()
    for number, start in enumerate(range(0, len(data), 250)):
        publish(on_server, data[start : start + 250])
        if number == 20:
            server.shut_down()
        if number == 50:
            server.start()
        pause.wait(1.0 if 20 <= number < 50 else 0.1)
    since_us = publish(on_server, encoded(matched_pairs(1, prefix="last")))
    wait_for(lambda: is_caught_up(ConsumerRows(database), since_us), timeout_s=120)
    assert consumer.poll() is None  # it waited; it did not die
    consumer.terminate()
    assert consumer.wait(60) == 0
    calm = settings.model_copy(
        update={"data_dir": tmp_path / "calm", "bets_stream": f"{settings.bets_stream}-calm"}
    )
    migrate(calm)
    ensure_stream(aws_client(calm, "kinesis"), calm.bets_stream)
    consume_all(calm, publish(calm, [*data, *encoded(matched_pairs(1, prefix="last"))]))
    assert operational_rows(on_server) == operational_rows(calm)
    lake = Lake.from_settings(on_server)
    assert lake.counts().executions == 3001
    assert set(lake.positions(EXCHANGE_BETS)) == set(
        Checkpoints(database, "operational_database").positions(EXCHANGE_BETS)
    )
    lake.close()
    database.dispose()
