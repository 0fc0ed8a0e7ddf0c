"""The streams are lost again soon after a long stop: what no store had read yet is in the exchange's hands,
and reaches every store.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from exchange_platform.domain.records import BetUpdate, Execution, decode
from exchange_platform.exchanges.simulated.journal_reader import JOURNAL_FILE
from exchange_platform.exchanges.simulated.retention import unpacked
from exchange_platform.local.programs import free_ports
from exchange_platform.operations.acknowledging import acknowledge
from exchange_platform.operations.checks import exchange_agrees, lake_agrees, money_conserved, view_agrees
from exchange_platform.operations.checks.missing import request_missing
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.profile_view import ProfileView
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.database import Database, bets
from exchange_platform.submission.exchange_asking import ExchangeLookup
from tests.exchange_platform.streams.gateway import running_gateway
from tests.support.platform_parts import environment, start_consumer, wait_for
from tests.support.prepared import prepare

RETAINED_S = float(os.environ.get("STREAM_LOSS_RETAINED_S", "4"))
"""Ten minutes in everyday life: with 600 here the test takes as long as the real wait."""
STOPPED_S = RETAINED_S + min(RETAINED_S, 60.0)


class Processes:
    """What is started here; all of it is killed at the end."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._settings = settings
        self._port = port
        self._running: list[subprocess.Popen[bytes]] = []

    def emulator(self) -> subprocess.Popen[bytes]:
        """New, empty streams."""
        arguments = ["--port", str(self._port), "--data-dir", str(self._settings.data_dir)]
        process = self._start("exchange_platform.local.emulator.server", arguments)
        wait_for(lambda: _created_at(self._settings), timeout_s=120, what="the emulator")
        return process

    def exchange(self) -> subprocess.Popen[bytes]:
        """The simulated exchange, whose markets live for some seconds."""
        return self._start("exchange_platform.exchanges.simulated", ["--rate", "20", "--pace", "12"])

    def consumer(self) -> subprocess.Popen[bytes]:
        """A consumer of its stream."""
        process = start_consumer(self._settings)
        self._running.append(process)
        return process

    def kill(self) -> None:
        """All of them."""
        for process in self._running:
            process.kill()
            process.wait()

    def _start(self, module: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment(self._settings),
            stdout=subprocess.DEVNULL,
        )
        self._running.append(process)
        return process


def _ended(exchange: subprocess.Popen[bytes]) -> None:
    exchange.send_signal(signal.SIGTERM)
    assert exchange.wait(60) == 0


def _created_at(settings: Settings) -> int:
    client = aws_client(settings, "kinesis")
    try:
        summary = client.describe_stream_summary(StreamName=settings.bets_stream)["StreamDescriptionSummary"]
        return int(summary["StreamCreationTimestamp"].timestamp() * 1000)
    except Exception:
        return 0
    finally:
        client.close()


def _journal(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{settings.data_dir / JOURNAL_FILE}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def _number(settings: Settings, name: str) -> int:
    try:
        rows = _journal(settings, f"SELECT value FROM numbers WHERE name = '{name}'")
    except sqlite3.OperationalError:
        return 0
    return int(str(rows[0][0])) if rows else 0


def _told(settings: Settings) -> tuple[dict[str, Execution], dict[str, BetUpdate]]:
    """By its journal, what the exchange did: executions, and the newest state of each bet."""
    executions: dict[str, Execution] = {}
    newest: dict[str, BetUpdate] = {}
    for (batch,) in _journal(settings, "SELECT batch FROM outbox ORDER BY sequence"):
        assert isinstance(batch, bytes)
        for _, data in unpacked(batch):
            record = decode(data)
            if isinstance(record, Execution):
                executions[record.execution_id] = record
            else:
                newest[record.bet_id] = record
    return executions, newest


def _is_whole(settings: Settings, database: Database, lake: Lake) -> None:
    """The journal and every store hold the same."""
    executions, newest = _told(settings)
    assert executions
    assert newest
    held = {row[0]: row[1:] for row in lake.rows("SELECT execution_id, stake, odds FROM executions")}
    assert held == {one.execution_id: (one.stake, one.odds) for one in executions.values()}
    history = dict(lake.rows("SELECT bet_id, max(version) FROM bet_history GROUP BY bet_id"))
    assert history == {bet.bet_id: bet.version for bet in newest.values()}
    with database.read() as connection:
        rows = connection.execute(sa.select(bets.c.bet_id, bets.c.version, bets.c.profit_minor)).all()
    assert {row.bet_id: (row.version, row.profit_minor) for row in rows} == {
        bet.bet_id: (bet.version, bet.profit_minor) for bet in newest.values()
    }
    for outcome in (lake_agrees(database, lake), money_conserved(database)):
        assert outcome.passed, outcome.description


@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(600 + STOPPED_S)
def test_streams_lost_soon_after_a_long_stop_take_nothing_with_them(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = Settings(
        data_dir=tmp_path / "data",
        aws_endpoint_url=f"http://127.0.0.1:{port}",
        exchange_retained_s=RETAINED_S,
    )
    settings.data_dir.mkdir()
    processes = Processes(settings, port)
    try:
        emulator, exchange = processes.emulator(), processes.exchange()
        wait_for(lambda: _number(settings, "published_sequence") > 100, timeout_s=120, what="some trade")
        _ended(exchange)
        emulator.kill()
        # All is stopped, for longer than anything is kept for its age alone.
        stopped_at_s = time.monotonic()
        wait_for(
            lambda: time.monotonic() - stopped_at_s > STOPPED_S, timeout_s=STOPPED_S + 60, what="a long stop"
        )
        emulator, exchange = processes.emulator(), processes.exchange()
        _is_published_again(settings)
        for _ in range(2):
            _is_looked_over(settings)
        emulator.kill()
        emulator.wait()
        # Nobody has read a thing, and nothing is forgotten.
        assert _journal(settings, "SELECT min(sequence) FROM outbox") == [(1,)]
        processes.emulator()
        _is_published_again(settings)
        _ended(exchange)
        prepare(settings)
        processes.consumer()
        database = Database(settings.operational_database_url)
        lake = Lake.from_settings(settings, read_only=True)
        _reaches_every_store(settings, database, lake)
        processes.exchange()
        _agrees_with_the_exchange(settings, database, lake)
        lake.close()
        database.dispose()
    finally:
        processes.kill()


def _is_published_again(settings: Settings) -> None:
    created_at = _created_at(settings)
    wait_for(
        lambda: _number(settings, "stream_created_at") == created_at,
        timeout_s=120,
        what="the exchange publishes again",
    )


def _is_looked_over(settings: Settings) -> None:
    """The exchange looks every ten seconds what it may forget, and writes its sums then."""
    before = _number(settings, "summed_sequence")
    wait_for(
        lambda: _number(settings, "summed_sequence") > before, timeout_s=120, what="a look at what may go"
    )


def _reaches_every_store(settings: Settings, database: Database, lake: Lake) -> None:
    executions, _ = _told(settings)
    wait_for(lambda: lake.counts().executions == len(executions), timeout_s=200, what="the executions")
    wait_for(lambda: _is_caught_up(settings, database), timeout_s=200, what="the bets")
    dynamodb = aws_client(settings, "dynamodb")
    view = ProfileView(dynamodb, settings.profiles_table)
    wait_for(
        lambda: view_agrees(database, view, wait=time.sleep).passed, timeout_s=200, what="the profile view"
    )
    dynamodb.close()
    _is_whole(settings, database, lake)


def _agrees_with_the_exchange(settings: Settings, database: Database, lake: Lake) -> None:
    with running_gateway(settings.data_dir) as url:
        client = ExchangeLookup(url)
        reporting = settings.model_copy(update={"exchange_url": url})

        def has_compared() -> bool:
            """Reports what is committed, as the sensor does each minute; whether whole minutes could be
            compared.
            """
            acknowledge(reporting, database, lake)
            return bool(exchange_agrees(database, lake, client, SYSTEM_CLOCK).figures["market_minutes"])

        wait_for(has_compared, timeout_s=200, what="whole minutes that every store has committed")
        outcome = exchange_agrees(database, lake, client, SYSTEM_CLOCK)
        assert outcome.passed, outcome.description
        assert not request_missing(database, lake, client, SYSTEM_CLOCK).spans
        client.close()


def _is_caught_up(settings: Settings, database: Database) -> bool:
    _, newest = _told(settings)
    with database.read() as connection:
        versions = dict(map(tuple, connection.execute(sa.select(bets.c.bet_id, bets.c.version))))
    return versions == {bet.bet_id: bet.version for bet in newest.values()}
