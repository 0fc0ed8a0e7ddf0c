"""Programs that do nothing but live, under a real supervisord; and waiting for a condition."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exchange_platform.local.leftovers import end, marked
from exchange_platform.local.processes import Processes
from exchange_platform.local.programs import Ports, Program, environment

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
time.sleep(120)
"""


def wait_until(holds: Callable[[], object], within_s: float = 15.0, *, told: Callable[[], str] = str) -> None:
    """Wait for a condition; fail if it does not come to hold."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"not within {within_s:g} s {told()}"
        time.sleep(0.02)


def living_processes(directory: Path, up_id: str, *names: str) -> Processes:
    """Processes of programs with these names; the name says how one behaves."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "living.py").write_text(LIVING)
    surroundings = environment(
        os.environ,
        data_dir=directory,
        checkout=directory,
        up_id=up_id,
        ports=Ports(1, 2, 3, 4, 5),
        api_token="a-token",
    )
    programs = [
        Program(name, f"living.py {name}", stage=10 * number, stop_s=1) for number, name in enumerate(names)
    ]
    return Processes(directory, programs, surroundings)


@pytest.fixture
def up_id() -> Iterator[str]:
    """A mark for this test's processes; what is left of them ends with the test."""
    up_id = uuid.uuid4().hex
    yield up_id
    end(lambda: marked(up_id))
