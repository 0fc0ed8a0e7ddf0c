"""The storm's tormentor on processes that only sleep."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import psutil
import pytest

from tests.faults.storm.tormentor import Tormentor
from tests.support.platform_parts import wait_for

KINDS = ("one", "two", "three")


class Sleepers:
    """A process of each kind; one that was killed is started again by the next look."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def find(self) -> dict[str, Sequence[psutil.Process]]:
        for kind in KINDS:
            process = self._running.get(kind)
            if process is None or process.poll() is not None:
                command = [sys.executable, "-S", "-E", "-c", "import time; time.sleep(600)"]
                self._running[kind] = subprocess.Popen(command)
        return {kind: [psutil.Process(process.pid)] for kind, process in self._running.items()}

    def states(self) -> set[str]:
        return {some[0].status() for some in self.find().values()}

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


@pytest.fixture
def sleepers() -> Iterator[Sleepers]:
    sleepers = Sleepers()
    yield sleepers
    sleepers.end()


def _tormentor(sleepers: Sleepers, seed: int = 1) -> Tormentor:
    return Tormentor(
        sleepers.find,
        random.Random(seed),
        say=lambda line: None,
        between_s=(0.0, 0.01),
        stopped_s=(600.0, 601.0),
    )


def test_every_kind_has_its_turn_before_one_comes_again(sleepers: Sleepers) -> None:
    tormentor = _tormentor(sleepers)
    tormentor.strike(9, threading.Event())
    kinds = [strike.kind for strike in tormentor.strikes]
    assert [set(kinds[start : start + 3]) for start in (0, 3, 6)] == [set(KINDS)] * 3


def test_some_are_killed_and_some_are_stopped_and_those_go_on_by_the_end(sleepers: Sleepers) -> None:
    tormentor = _tormentor(sleepers)
    tormentor.strike(12, threading.Event())
    assert {strike.stopped_s is None for strike in tormentor.strikes} == {True, False}
    wait_for(lambda: "stopped" not in sleepers.states(), timeout_s=10)


def test_the_same_seed_strikes_the_same_kinds(sleepers: Sleepers) -> None:
    struck = []
    for _ in range(2):
        tormentor = _tormentor(sleepers, seed=7)
        tormentor.strike(6, threading.Event())
        struck.append([(strike.kind, strike.stopped_s) for strike in tormentor.strikes])
    assert struck[0] == struck[1]


def test_one_that_starts_the_others_is_not_struck_again_before_it_has(sleepers: Sleepers) -> None:
    """Killed as soon as it was there, ever again, the supervisor started nothing, and the storm was none."""
    tormentor = _tormentor(sleepers)
    looks = iter(range(1000))

    def find() -> dict[str, Sequence[psutil.Process]]:
        found = sleepers.find()
        return {"one": found["one"]} if next(looks) % 4 else found

    tormentor._find = find
    tormentor.strike(8, threading.Event())
    assert {strike.kind for strike in tormentor.strikes} == set(KINDS)
