"""The supervising sensors, with processes that really run, stop and die."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.test_utils import create_run_for_test

from exchange_platform.operations.checks import consumer_alive
from exchange_platform.operations.supervision import AllRequests, Requests
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.process.process_life import Life, life_of, process_of
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import consumers
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from resources.platform import PlatformResource
from sensors import run_life
from sensors.exchange_bets import exchange_bets_sensor
from sensors.run_life import launcher_probe
from tests.support.consumer_rows import beat
from tests.support.prepared import prepare_database

S = 1_000_000


class World:
    """A platform of which one consumer's run lives in a process of its own, and a Dagster that knows
    the run.
    """

    def __init__(self, directory: Path, instance: dg.DagsterInstance) -> None:
        self.platform = PlatformResource(data_dir=str(directory))
        prepare_database(self.platform.database)
        self.instance = instance
        self.rows = ConsumerRows(self.platform.database)
        self.process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.cursor: str | None = None
        self.run_id = create_run_for_test(
            instance, status=dg.DagsterRunStatus.STARTED, tags={"source": EXCHANGE_BETS}
        ).run_id
        now_us = SYSTEM_CLOCK.now_us()
        self.epoch = self.rows.begin(EXCHANGE_BETS, self.run_id, now_us=now_us, ends_at_us=now_us + 900 * S)
        runs_in = process_of(self.process.pid)
        assert runs_in is not None
        self.identity = runs_in
        self.row(host=runs_in.host, pid=runs_in.pid, process_start_ticks=runs_in.start_ticks)

    def row(self, **values: object) -> None:
        """Change the consumer's row."""
        beat(self.rows, EXCHANGE_BETS, self.epoch, **values)

    def silent_for(self, seconds: float) -> None:
        """Let the last heartbeat be so old."""
        self.row(heartbeat_at_us=SYSTEM_CLOCK.now_us() - int(seconds * S))

    def look(self) -> list[str]:
        """One tick; returns the keys of the runs that it requests."""
        context = dg.build_sensor_context(self.instance, self.cursor, resources={"platform": self.platform})
        result = exchange_bets_sensor(context)
        self.cursor = context.cursor
        requests = result.run_requests or [] if isinstance(result, dg.SensorResult) else []
        self.reason = result.skip_message or "" if isinstance(result, dg.SkipReason) else ""
        return [str(request.run_key) for request in requests]

    @property
    def status(self) -> dg.DagsterRunStatus:
        """What Dagster says of the run."""
        run = self.instance.get_run_by_id(self.run_id)
        assert run is not None
        return run.status

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.platform.database.dispose()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.instance_for_test() as instance:
        world = World(tmp_path, instance)
        yield world
        world.close()


def test_a_run_that_is_stopped_for_twenty_seconds_is_not_superseded(world: World) -> None:
    world.process.send_signal(signal.SIGSTOP)
    for silent_s in (5, 10, 15, 20):
        world.silent_for(silent_s)
        assert world.look() == []
        assert "its process runs" in world.reason
    assert world.status is dg.DagsterRunStatus.STARTED
    assert life_of(world.identity) is Life.LIVES


def test_a_run_that_is_killed_is_noticed_at_the_next_look(world: World) -> None:
    world.silent_for(0)
    assert world.look() == []
    world.process.kill()
    world.process.wait()
    (key,) = world.look()
    assert key.startswith(f"{EXCHANGE_BETS}/2/1/")
    assert world.status is dg.DagsterRunStatus.FAILURE


def test_a_run_that_hangs_is_killed_and_replaced(world: World) -> None:
    world.process.send_signal(signal.SIGSTOP)
    world.silent_for(61)
    assert [len(world.look()) for _ in range(3)] == [0, 0, 1]
    assert world.process.wait(20) == -signal.SIGKILL
    assert world.status is dg.DagsterRunStatus.FAILURE


def test_the_check_says_what_the_sensor_says(world: World) -> None:
    def outcome() -> tuple[bool, str]:
        found = consumer_alive(world.rows, EXCHANGE_BETS, world.platform.settings, SYSTEM_CLOCK)
        return found.passed, found.description

    world.silent_for(5)
    assert outcome()[0], "late, but its process runs"
    world.silent_for(9)
    passed, said = outcome()
    assert not passed
    assert "epoch 1 is running, silent for 9" in said
    world.silent_for(61)
    assert "hangs: its process runs" in outcome()[1]
    world.process.kill()
    world.process.wait()
    world.silent_for(0)
    assert "its process is gone" in outcome()[1]


class Launcher:
    """A run launcher that is asked about its runs, as the one of ECS."""

    supports_check_run_worker_health = True

    def __init__(self, status: WorkerStatus | Exception) -> None:
        self.status = status
        self.terminated: list[str] = []

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if isinstance(self.status, Exception):
            raise self.status
        return CheckRunHealthResult(self.status)

    def terminate(self, run_id: str) -> bool:
        self.terminated.append(run_id)
        return True


def on_ecs(world: World, monkeypatch: pytest.MonkeyPatch, status: WorkerStatus | Exception) -> Launcher:
    launcher = Launcher(status)
    monkeypatch.setattr(type(world.instance), "run_launcher", launcher)
    world.row(host="a-task-of-ecs")
    return launcher


def test_a_silent_run_whose_task_runs_is_not_superseded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_ecs(world, monkeypatch, WorkerStatus.RUNNING)
    world.silent_for(20)
    assert world.look() == []
    assert "its process runs" in world.reason


@pytest.mark.parametrize("status", [WorkerStatus.FAILED, WorkerStatus.NOT_FOUND])
def test_a_silent_run_whose_task_has_stopped_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch, status: WorkerStatus
) -> None:
    on_ecs(world, monkeypatch, status)
    world.silent_for(4.1)
    assert len(world.look()) == 1
    assert world.status is dg.DagsterRunStatus.FAILURE


def test_a_hung_task_is_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = on_ecs(world, monkeypatch, WorkerStatus.RUNNING)
    world.silent_for(61)
    assert [len(world.look()) for _ in range(3)] == [0, 0, 1]
    assert launcher.terminated == [world.run_id]


def test_a_launcher_that_can_not_be_asked_leaves_the_heartbeat_to_decide(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_ecs(world, monkeypatch, PermissionError("ecs:DescribeTasks"))
    world.silent_for(2)
    assert world.look() == []
    world.silent_for(5)
    assert len(world.look()) == 1


def test_a_silent_run_that_dagster_counts_as_finished_is_gone(world: World) -> None:
    context = dg.build_sensor_context(world.instance)
    (row,) = world.rows.recent(EXCHANGE_BETS)
    probe = launcher_probe(world.instance, context.log)
    assert probe(row) is Life.UNKNOWN, "that Dagster counts it as started says nothing"
    run = world.instance.get_run_by_id(world.run_id)
    assert run is not None
    world.instance.report_run_failed(run)
    assert probe(row) is Life.GONE


def test_consumers_of_an_older_release_are_judged_by_their_heartbeats(world: World) -> None:
    with world.platform.database.write() as connection:
        connection.execute(sa.update(consumers).values(host=None, pid=None, process_start_ticks=None))
    world.silent_for(2)
    assert world.look() == []
    world.silent_for(5)
    assert len(world.look()) == 1


def requested(world: World, status: str, source: str = EXCHANGE_BETS) -> None:
    """A run of the consumer that has not begun as one."""
    create_run_for_test(world.instance, status=dg.DagsterRunStatus[status], tags={"source": source})


def overdue(world: World) -> None:
    """The consumer has died, and its successor was requested long ago."""
    world.process.kill()
    world.process.wait()
    requests = Requests(world.epoch, 1, SYSTEM_CLOCK.now_us() - 60 * S)
    world.cursor = AllRequests().replaced(EXCHANGE_BETS, requests).to_text()


@pytest.mark.parametrize("status", ["STARTING", "STARTED"])
def test_a_successor_that_takes_long_to_start_is_not_requested_again(world: World, status: str) -> None:
    overdue(world)
    requested(world, status)
    assert world.look() == []
    assert "1 queued or starting" in world.reason


def test_a_successor_that_failed_while_starting_is_requested_again(world: World) -> None:
    overdue(world)
    requested(world, "FAILURE")
    assert len(world.look()) == 1


def test_another_consumers_run_is_not_waited_for(world: World) -> None:
    overdue(world)
    requested(world, "STARTING", "another")
    assert len(world.look()) == 1


def test_a_successor_that_may_have_died_with_the_code_server_before_this_one_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    overdue(world)
    requested(world, "STARTING")
    monkeypatch.setattr(run_life, "_LOADED_AT_US", SYSTEM_CLOCK.now_us() + 10 * S)
    assert len(world.look()) == 1


def test_a_successor_whose_task_is_starting_is_waited_for_whoever_launched_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(world.instance), "run_launcher", Launcher(WorkerStatus.RUNNING))
    monkeypatch.setattr(run_life, "_LOADED_AT_US", SYSTEM_CLOCK.now_us() + 10 * S)
    overdue(world)
    requested(world, "STARTING")
    assert world.look() == []
