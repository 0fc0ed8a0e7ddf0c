"""A slow start is waited for as long as something moves; one in which nothing moves is given up, with what
was seen.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from exchange_platform.local.progress import Signs, StartPatience, StartWork, busy_seconds
from tests.exchange_platform.local.conftest import MovedClock, wait_until

EVERYTHING = frozenset({"the API", "the consumer runs"})


def test_a_loaded_machine_is_waited_for_as_long_as_a_process_works() -> None:
    """It gave up after 120 s, whatever was going on."""
    clock = MovedClock()
    patience = StartPatience(clock=clock, stall_s=120, max_s=1800)
    for _ in range(150):
        clock.pass_s(10)
        patience.note(Signs(EVERYTHING, is_busy=True))
        assert patience.why_over() is None


def test_where_nothing_moves_it_is_given_up_after_a_set_time() -> None:
    clock = MovedClock()
    patience = StartPatience(clock=clock, stall_s=120, max_s=1800)
    patience.note(Signs(EVERYTHING, runs={"run-1": "STARTED"}))
    clock.pass_s(119)
    patience.note(Signs(EVERYTHING, runs={"run-1": "STARTED"}))
    assert patience.why_over() is None
    clock.pass_s(1)
    assert "nothing has moved for 120 s" in (patience.why_over() or "")


@pytest.mark.parametrize(
    "signs",
    [
        Signs(frozenset({"the consumer runs"}), runs={"run-1": "STARTING"}),
        Signs(EVERYTHING, runs={"run-1": "STARTED"}),
        Signs(EVERYTHING, runs={"run-1": "STARTING", "run-2": "QUEUED"}),
        Signs(EVERYTHING, is_busy=True, runs={"run-1": "STARTING"}),
    ],
    ids=["one more answers", "a run goes on", "another run", "a process works"],
)
def test_any_sign_of_progress_renews_the_patience(signs: Signs) -> None:
    clock = MovedClock()
    patience = StartPatience(clock=clock, stall_s=120, max_s=1800)
    patience.note(Signs(EVERYTHING, runs={"run-1": "STARTING"}))
    clock.pass_s(119)
    patience.note(signs)
    clock.pass_s(119)
    assert patience.why_over() is None


@pytest.mark.parametrize(
    "signs",
    [
        Signs(EVERYTHING, runs={"run-1": "FAILURE"}),
        Signs(EVERYTHING | {"the exchange"}, runs={"run-1": "STARTING"}),
        Signs(EVERYTHING),
    ],
    ids=["a run fails", "one more is silent", "the webserver does not answer"],
)
def test_what_gets_worse_is_no_progress(signs: Signs) -> None:
    clock = MovedClock()
    patience = StartPatience(clock=clock, stall_s=120, max_s=1800)
    patience.note(Signs(EVERYTHING, runs={"run-1": "STARTING"}))
    clock.pass_s(120)
    patience.note(signs)
    assert patience.why_over() is not None


def test_a_process_that_turns_in_a_circle_is_not_waited_for_for_ever() -> None:
    clock = MovedClock()
    patience = StartPatience(clock=clock, stall_s=120, max_s=1800)
    for _ in range(180):
        clock.pass_s(10)
        patience.note(Signs(EVERYTHING, is_busy=True))
    assert "though processes still work" in (patience.why_over() or "")


@pytest.fixture
def spinning() -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses a core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process
    process.kill()
    process.wait()


def test_a_process_that_uses_a_core_works_and_a_stopped_one_does_not(
    spinning: subprocess.Popen[bytes],
) -> None:
    """Real processes; the clock is set, so that each look spans 2 s of it, however short it was."""
    clock = MovedClock()
    work = StartWork(lambda: [spinning.pid], clock=clock)
    assert work.is_busy()  # nothing is known yet
    before = busy_seconds(spinning.pid) or 0.0
    wait_until(lambda: (busy_seconds(spinning.pid) or 0.0) - before >= 0.7)
    clock.pass_s(2)
    assert work.is_busy()
    os.kill(spinning.pid, signal.SIGSTOP)
    wait_until(lambda: _state(spinning.pid) == "T")
    clock.pass_s(2)
    work.is_busy()  # what it did before it was stopped
    clock.pass_s(2)
    assert not work.is_busy()


def test_a_process_that_was_just_started_works() -> None:
    clock = MovedClock()
    pids: list[int] = []
    work = StartWork(lambda: pids, clock=clock)
    work.is_busy()
    clock.pass_s(2)
    assert not work.is_busy()
    pids.append(os.getpid())
    clock.pass_s(2)
    assert work.is_busy()


def test_a_process_that_is_gone_is_no_work() -> None:
    assert busy_seconds(2**22 - 1) is None


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
        return stat.read().rpartition(")")[2].split()[0]
