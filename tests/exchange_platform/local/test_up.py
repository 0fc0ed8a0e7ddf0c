"""`up` refuses what it can't do before it starts anything, survives the death of any process, and leaves none
behind.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import exchange_platform
from exchange_platform.cli import run
from exchange_platform.local.orphans import end, marked, marked_for
from exchange_platform.local.programs import free_ports
from exchange_platform.local.running import data_dir_held, write_platform_file
from exchange_platform.operations import checks
from exchange_platform.operations.status import PlatformStatus, StatusReader
from exchange_platform.settings import load_settings
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.local.conftest import wait_until

START_S = 120.0


def test_a_taken_port_is_named_with_the_way_out_and_nothing_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert run(["up", "--data-dir", str(tmp_path), "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert f"port {port} is taken" in said
    assert "--port" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "platform.json").exists()
    assert not (tmp_path / "logs").exists()


def test_a_second_up_on_the_same_data_is_told_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    with data_dir_held(tmp_path):
        write_platform_file(tmp_path, {"pid": os.getpid(), "dagster_url": "http://127.0.0.1:3999"})
        assert run(["up", "--data-dir", str(tmp_path), "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert f"(pid {os.getpid()}); its pages are at http://127.0.0.1:3999" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "logs").exists()


def test_an_installed_package_says_that_up_needs_a_checkout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_platform, "__file__", str(tmp_path / "exchange_platform" / "__init__.py"))
    assert run(["up", "--data-dir", str(tmp_path / "data")]) == 1
    assert "`up` runs from a checkout" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def assert_all_agrees(data_dir: Path) -> None:
    """Money and bets are conserved, and lake and windows tell what the operational database does, once
    nothing runs any more.
    """
    settings = load_settings(data_dir)
    database, lake = Database(settings.operational_database_url), Lake.from_settings(settings, read_only=True)
    try:
        for outcome in (
            checks.money_conserved(database),
            checks.bets_conserved(database),
            checks.lake_agrees(database, lake),
            checks.windows_agree(lake),
        ):
            assert outcome.passed, outcome.description
    finally:
        lake.close()
        database.dispose()


class Up:
    """A real `exchange-platform up`, and what it printed."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self.data_dir = data_dir
        port, api_port = free_ports(2)
        self._output = data_dir.with_name(f"up-{port}.out")
        command = [sys.executable, "-m", "exchange_platform", "up", "--data-dir", str(data_dir)]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--port", str(port), "--api-port", str(api_port), *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def printed(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str, within_s: float = START_S) -> None:
        wait_until(lambda: text in self.printed() or self.process.poll() is not None, within_s)
        assert text in self.printed(), self.printed()

    @property
    def up_id(self) -> str:
        return str(json.loads((self.data_dir / "platform.json").read_text())["up_id"])

    def status(self) -> PlatformStatus:
        reader = StatusReader(load_settings(self.data_dir))
        try:
            return reader.read_when_caught_up()
        finally:
            reader.close()


StartUp = Callable[..., Up]


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[StartUp]:
    """Starts `up` on this test's data directory."""
    started: list[Up] = []

    def start(*arguments: str) -> Up:
        up = Up(tmp_path / "data", *arguments)
        started.append(up)
        return up

    yield start
    for up in started:
        if up.process.poll() is None:
            up.process.kill()
            up.process.wait()
    end(lambda: marked_for(tmp_path / "data", but=""))


@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_signal_stops_all_within_seconds_and_leaves_no_process(start_up: StartUp, number: int) -> None:
    up = start_up()
    up.wait_for("Data flows")
    up_id = up.up_id
    assert len(marked(up_id)) >= 7
    began = time.monotonic()
    up.process.send_signal(number)
    assert up.process.wait(30) == 0
    assert time.monotonic() - began < 15
    assert marked(up_id) == []
    assert not (up.data_dir / "platform.json").exists()
    assert "Traceback" not in up.printed()


@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_kill_9_of_up_leaves_no_process_and_the_next_up_goes_on(start_up: StartUp) -> None:
    first = start_up("--exchange", "none")
    first.wait_for("Everything runs")
    up_id = first.up_id
    first.process.kill()
    first.process.wait()
    wait_until(lambda: not marked(up_id), within_s=5)
    second = start_up("--for", "10")
    second.wait_for("All went well.")
    assert "runs of an earlier platform that was killed are marked as canceled" in second.printed()
    assert second.process.wait(30) == 0


def process_of(up_id: str, command: str) -> int:
    """The process of this `up` with such a command line."""
    reaper = subprocess.run(
        ["pgrep", "-f", f"local.reaper {up_id}"], capture_output=True, text=True, check=False
    )
    for pid in [*marked(up_id), *map(int, reaper.stdout.split())]:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if re.search(command, line):
            return pid
    return 0


@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_any_process_may_be_killed_and_all_is_counted_once(start_up: StartUp) -> None:
    up = start_up("--rate", "20")
    up.wait_for("Data flows")
    up_id = up.up_id
    for command in (
        "spawn_main",  # the consumer's run worker
        "dagster api grpc",
        "dagster._daemon",
        r"deployments\.webserver",
        "exchanges.simulated",
        "local.emulator",
        "local.supervisord",
        "local.reaper",
        "spawn_main",
    ):
        wait_until(lambda command=command: process_of(up_id, command), within_s=60)  # type: ignore[misc]
        records = up.status().records
        os.kill(process_of(up_id, command), signal.SIGKILL)
        wait_until(
            lambda records=records: (status := up.status()).caught_up and status.records > records,  # type: ignore[misc]
            within_s=90,
        )
    assert up.status().dead_letters == 0
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(30) == 0
    assert marked(up_id) == []
    assert_all_agrees(up.data_dir)


@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_a_timed_run_that_did_not_go_well_says_why_and_exits_with_1(start_up: StartUp) -> None:
    up = start_up("--for", "8")
    up.wait_for("Data flows")
    os.kill(process_of(up.up_id, r"deployments\.webserver"), signal.SIGKILL)
    assert up.process.wait(90) == 1
    assert "NOT WELL: dagster-webserver died 1 times" in up.printed()
