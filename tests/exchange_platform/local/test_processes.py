"""Processes are restarted when they die, and none is left when `up` ends, however it ends. Real processes
throughout.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from supervisor.loggers import LevelsByName, LogRecord

from exchange_platform.local.orphans import is_alive, marked
from exchange_platform.local.processes import Processes
from exchange_platform.local.supervisord import LossyLog
from tests.exchange_platform.local.conftest import MovedClock, living_processes, wait_until
from tests.support.namespaces import in_a_small_file_system

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
    wait_until(lambda: pid_of(processes, "first") not in (0, killed) and all_run(processes))
    assert pid_of(processes, "second") == other
    assert [state.deaths for state in processes.states()] == [1, 0]
    assert processes.restart_dead() == []


def test_when_supervisord_dies_everything_is_started_anew(start: Start) -> None:
    processes = start("parent", "second")
    before = {state.pid for state in processes.states()}
    os.kill(processes._supervisord.pid, signal.SIGKILL)  # type: ignore[union-attr]
    wait_until(lambda: processes.restart_dead())
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
    first, second = processes.states()
    assert first.runs
    assert second.state == "STOPPED"


@pytest.mark.long
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


def died(processes: Processes) -> bool:
    return processes._supervisord.poll() is not None  # type: ignore[union-attr]


@pytest.mark.long
def test_a_supervisord_that_keeps_dying_is_started_ever_later_and_its_reason_is_said_once(
    tmp_path: Path, up_id: str
) -> None:
    """With 256 open files it died 282 times in 75 s, and nobody said why."""
    clock = MovedClock()
    processes = living_processes(tmp_path, up_id, "first", clock=clock)
    processes.start()
    try:
        wait_until(lambda: all_run(processes))
        conf = tmp_path / "run" / "supervisord.conf"
        conf.write_text(conf.read_text().replace("minfds=", "minfds=9999999"))
        os.kill(processes._supervisord.pid, signal.SIGKILL)  # type: ignore[union-attr]
        said: list[str] = []
        pauses: list[float] = []
        for _ in range(8):
            wait_until(lambda: died(processes))
            restarts, paused_s = processes.restarts, 0.0
            while processes.restarts == restarts:
                said += processes.restart_dead()
                if processes.restarts == restarts:
                    clock.pass_s(1)
                    paused_s += 1
            pauses.append(paused_s)
        assert pauses == [0, 2, 4, 8, 16, 30, 30, 30]
        killed, reason = said
        assert "supervisord died (status -9)" in killed
        assert "number of file descriptors" in reason
        wait_until(lambda: died(processes))
        assert processes.restart_dead() == []
        assert "number of file descriptors" in (processes.last_error or "")
        processes.restart_dead(retry_now=True)
        assert processes.restarts == 9
    finally:
        processes.stop()


def test_the_kernel_kills_programs_for_want_of_memory_before_it_kills_up(start: Start) -> None:
    """At a limit of 700 MiB it killed `up`, and nobody was left to say so."""
    processes = start("first")
    pid = pid_of(processes, "first")
    wait_until(lambda: Path(f"/proc/{pid}/oom_score_adj").read_text() == "300\n")
    assert int(Path("/proc/self/oom_score_adj").read_text()) < 300


def test_how_a_program_ended_is_known(start: Start) -> None:
    processes = start("first")
    os.kill(pid_of(processes, "first"), signal.SIGKILL)
    wait_until(lambda: processes.states()[0].last_exit)
    assert processes.states()[0].last_exit == "terminated by SIGKILL"


@pytest.mark.long
def test_a_program_that_keeps_dying_is_tried_again_after_half_a_minute_at_the_latest(
    tmp_path: Path, up_id: str
) -> None:
    """supervisord itself waits a second longer after each death, without bound."""
    clock = MovedClock()
    processes = living_processes(tmp_path, up_id, "dying", clock=clock)
    processes.start()
    try:
        seen: set[int] = set()

        def deaths() -> int:
            seen.update(int(state.deaths) for state in processes.states())
            return max(seen, default=0)

        def waits() -> bool:
            return any(state.state == "BACKOFF" for state in processes.states())

        for count in range(1, 4):  # by supervisord alone the third would come 6 s later
            wait_until(waits)
            processes.restart_dead()  # notes that it waits
            clock.pass_s(30)
            wait_until(lambda: (processes.restart_dead(), deaths())[1] >= count)  # noqa: B023
    finally:
        processes.stop()


FULL = """
import sys, uuid
from pathlib import Path
from tests.exchange_platform.local.conftest import living_processes, wait_until
here = Path(sys.argv[1])
processes = living_processes(here / "data", uuid.uuid4().hex, "chatty", "first")
processes.start()
run = lambda: (states := processes.states()) and all(state.runs for state in states)
try:
    wait_until(run)
    log = here / "data" / "logs" / "chatty.log"
    before, supervisord = [state.pid for state in processes.states()], processes._supervisord.pid
    with (here / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    full = log.stat().st_size
    pid = processes.states()[0].pid
    printed = lambda: int(Path(f"/proc/{pid}/io").read_text().split()[3])
    already = printed()
    wait_until(lambda: printed() > already + 300_000, within_s=30)  # a pipe that nobody reads holds 64 KiB
    print([state.pid for state in processes.states()] == before, processes._supervisord.poll(), processes.restart_dead())
    (here / "filler").unlink()
    wait_until(lambda: log.stat().st_size > full + 100_000)
    print([state.pid for state in processes.states()] == before)
finally:
    processes.stop()
"""


@pytest.mark.long
def test_on_a_full_disk_every_program_lives_and_logs_go_on_when_there_is_room(tmp_path: Path) -> None:
    """supervisord died of its logs, over and over, and killed everything with it: the in-memory
    streams too.
    """
    said = in_a_small_file_system("4m", FULL, tmp_path / "disk")
    assert said.splitlines() == ["True None []", "True"]


def test_a_log_that_can_not_be_written_or_turned_over_loses_lines_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    full = LossyLog("/dev/full", maxBytes=0)
    record = LogRecord(LevelsByName.INFO, "a line")
    for _ in range(3):
        full.emit(record)
    small = LossyLog(str(tmp_path / "small.log"), maxBytes=10, backupCount=1)
    (tmp_path / "small.log.1").mkdir()  # so the full log can't be moved out of the way
    (tmp_path / "small.log.1" / "file").touch()
    for _ in range(5):
        small.emit(record)
    assert (tmp_path / "small.log").read_text()
    assert capfd.readouterr() == ("", "")


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
    """A unix socket's path has 107 bytes at most."""
    deep = tmp_path / ("a name with spaces; and 100 % else " * 5) / ("b" * 100)
    processes = living_processes(deep, up_id, "first")
    processes.start()
    try:
        wait_until(lambda: all_run(processes))
    finally:
        assert processes.stop() == []
