"""A program that keeps dying is reported with its last words, and not once for each death."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange_platform.local.failures import KEEPS_DYING, Failures
from exchange_platform.local.processes import Processes, ProcessState
from exchange_platform.local.screen import Screen
from tests.exchange_platform.local.conftest import living_processes


@pytest.fixture
def processes(tmp_path: Path, up_id: str) -> Processes:
    """Programs that were not started: what is said of them is what a test says."""
    (tmp_path / "logs").mkdir()
    return living_processes(tmp_path, up_id, "exchange", "api")


def state(name: str, deaths: int) -> ProcessState:
    return ProcessState(name, "RUNNING", 7, 1.0, deaths, "exit status 1")


def test_a_hundred_deaths_are_few_lines_and_the_log_is_shown_when_it_says_something_new(
    processes: Processes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs" / "exchange.log"
    failures = Failures(processes, Screen(), tmp_path / "logs")
    log.write_text("disk is full\n")
    for deaths in range(1, 101):
        if deaths == 64:
            log.write_text("another reason\n")
        failures.say_new([state("exchange", deaths), state("api", 0)])
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "died" in line] == [
        f"exchange died (exit status 1) and was started again ({deaths} times so far)"
        for deaths in (1, 2, 4, 8, 16, 32, 64)
    ]
    assert [line.strip() for line in said if "reason" in line] == ["another reason"]


def test_what_keeps_dying_is_noted_with_its_last_words(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "logs" / "exchange.log").write_text("starting\nno room\n\n")
    failures = Failures(processes, Screen(), tmp_path / "logs")
    failures.say_new([state("exchange", KEEPS_DYING)])
    for _ in range(KEEPS_DYING):
        assert failures.noted() == []
        processes._deaths["exchange"].append(processes._clock.monotonic_s())
    (noted,) = failures.noted()
    assert noted == "exchange: it died 3 times in 120 s, lastly: no room; see logs/exchange.log"


def test_what_is_held_is_not_missed(processes: Processes, tmp_path: Path) -> None:
    failures = Failures(processes, Screen(), tmp_path / "logs")
    stopped = ProcessState("exchange", "STOPPED", 0, 0.0, 0)
    assert failures.say_new([stopped], held=("exchange",)) == []
    (missed,) = failures.say_new([stopped])
    assert missed.startswith("exchange is stopped; see ")
