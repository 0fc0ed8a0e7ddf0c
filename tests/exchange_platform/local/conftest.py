"""Programs that do nothing but live, under a real supervisord; and waiting for a condition."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exchange_platform.local.orphans import end, marked
from exchange_platform.local.processes import Processes
from exchange_platform.local.programs import Ports, Program, environment
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock


class MovedClock:
    """Time that passes when a test says so; the wall clock can be set besides."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self._ahead_us = 1_800_000_000_000_000

    def now_us(self) -> int:
        return int(self._now_s * 1e6) + self._ahead_us

    def monotonic_s(self) -> float:
        return self._now_s

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        self._now_s += max(0.0, timeout_s)
        return wake.is_set()

    def pass_s(self, seconds: float) -> None:
        """Let both clocks go on."""
        self._now_s += seconds

    def set_us(self, now_us: int) -> None:
        """Set the wall clock."""
        self._ahead_us = now_us - int(self._now_s * 1e6)


LIVING = """
import signal, subprocess, sys, time
from pathlib import Path
name = sys.argv[1]
if "parent" in name:  # as Dagster's code server starts run workers, which no supervisor knows
    subprocess.Popen([sys.executable, __file__, "grandchild"], start_new_session=True)
if "dying" in name:
    print("I can't live", flush=True)
    sys.exit(3)
if "stubborn" in name:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(f"{name}.started").touch()
while "chatty" in name:
    print("x" * 100, flush=True)
    time.sleep(0.001)
time.sleep(120)
"""


def wait_until(holds: Callable[[], object], within_s: float = 15.0, *, told: Callable[[], str] = str) -> None:
    """Wait for a condition; fail if it does not come to hold."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"not within {within_s:g} s {told()}"
        time.sleep(0.02)


def living_processes(directory: Path, up_id: str, *names: str, clock: Clock = SYSTEM_CLOCK) -> Processes:
    """Processes of programs with these names; the name says how one behaves."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "living.py").write_text(LIVING)
    surroundings = environment(
        os.environ,
        data_dir=directory,
        checkout=directory,
        up_id=up_id,
        ports=Ports(1, 2, 3, 4),
        api_token="a-token-of-this-machine-for-tests-0",
        emulator_key="a-key",
        code_socket=directory / "run" / "code-server.sock",
        exchange_key="k" * 32,
    )
    programs = [
        Program(name, f"living.py {name}", stage=10 * number, stop_s=1) for number, name in enumerate(names)
    ]
    return Processes(directory, programs, surroundings, clock=clock)


@pytest.fixture
def up_id() -> Iterator[str]:
    """A mark for this test's processes; what is left of them ends with the test."""
    up_id = uuid.uuid4().hex
    yield up_id
    end(lambda: marked(up_id))
