"""Processes are restarted when they die, and none is left when `up` ends, however it ends. Real processes throughout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exchange_platform.local.leftovers import is_alive, marked
from exchange_platform.local.processes import Processes
from tests.exchange_platform.local.conftest import living_processes, wait_until

Start = Callable[..., Processes]


@pytest.fixture
def start(tmp_path: Path, up_id: str) -> Iterator[Start]:
    """Starts programs of these names and waits until they run."""
    started: list[Processes] = []

    def begin(*names: str) -> Processes:
        processes = living_processes(tmp_path, up_id, *names)
        started.append(processes)
        processes.start()
        wait_until(lambda: all_run(processes))
        return processes

    yield begin
    for processes in started:
        processes.stop()


def all_run(processes: Processes) -> bool:
    states = processes.states()
    return bool(states) and all(state.runs for state in states)


def pid_of(processes: Processes, name: str) -> int:
    return next(state.pid for state in processes.states() if state.name == name)


def test_a_killed_program_is_started_again_and_its_death_counted(start: Start) -> None:
    processes = start("first", "second")
    killed, other = pid_of(processes, "first"), pid_of(processes, "second")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: all_run(processes) and pid_of(processes, "first") != killed)
    assert pid_of(processes, "second") == other
    assert [state.deaths for state in processes.states()] == [1, 0]
    assert processes.mend() == []


def test_when_supervisord_dies_everything_is_started_anew(start: Start) -> None:
    processes = start("parent", "second")
    before = {state.pid for state in processes.states()}
    os.kill(processes._supervisord.pid, signal.SIGKILL)  # type: ignore[union-attr]
    wait_until(lambda: processes.mend())
    wait_until(lambda: all_run(processes))
    assert not any(is_alive(pid) for pid in before)
    assert processes.restarts == 1


def test_stopping_leaves_nothing_not_even_grandchildren_or_the_stubborn(start: Start, up_id: str) -> None:
    processes = start("parent", "stubborn")
    wait_until(lambda: len(marked(up_id)) == 4)  # supervisord, two programs, a grandchild
    began = time.monotonic()
    assert processes.stop() == []
    assert time.monotonic() - began < 8
    assert marked(up_id) == []


def test_stopping_twice_is_harmless(start: Start) -> None:
    processes = start("first")
    processes.stop()
    assert processes.stop() == []


def test_one_program_can_be_stopped_and_stays_so(start: Start) -> None:
    processes = start("first", "second")
    stopped = pid_of(processes, "second")
    processes.stop_some("second", "nobody")
    assert not is_alive(stopped)
    assert [state.state for state in processes.states()] == ["RUNNING", "STOPPED"]


def test_a_program_that_can_not_live_is_seen_dying_and_its_last_lines_kept(
    tmp_path: Path, up_id: str
) -> None:
    processes = living_processes(tmp_path, up_id, "dying")
    processes.start()
    try:

        def deaths() -> int:
            return next((state.deaths for state in processes.states()), 0)

        wait_until(lambda: deaths() >= 2)
        assert processes.last_lines("dying")[-1] == "I can't live"
        assert not all_run(processes)
    finally:
        processes.stop()


OWNER = """
import sys
from pathlib import Path
from tests.exchange_platform.local.conftest import living_processes
processes = living_processes(Path(sys.argv[1]), sys.argv[2], "parent", "stubborn")
processes.start()
sys.stdin.read()
"""


@pytest.fixture
def owner(tmp_path: Path, up_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that started programs, as `up` does."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), up_id],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    started = [tmp_path / f"{name}.started" for name in ("parent", "stubborn", "grandchild")]
    wait_until(lambda: all(path.exists() for path in started))
    yield process
    process.kill()
    process.wait()
    process.stdin.close()  # type: ignore[union-attr]


def test_kill_9_of_the_owner_leaves_nothing(owner: subprocess.Popen[bytes], up_id: str) -> None:
    assert len(marked(up_id)) == 4
    owner.kill()
    wait_until(lambda: not marked(up_id), within_s=5)


def test_a_deep_data_directory_is_no_hindrance(tmp_path: Path, up_id: str) -> None:
    """A unix socket's path has 107 bytes at the most."""
    deep = tmp_path / ("a name with spaces; and 100 % else " * 5) / ("b" * 100)
    processes = living_processes(deep, up_id, "first")
    processes.start()
    try:
        wait_until(lambda: all_run(processes))
    finally:
        assert processes.stop() == []
