"""Each fault of the machine is said once when it begins and once when it is over, and a full disk holds
whoever writes much.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange_platform.local.machine_watch import ENOUGH_BYTES, LOOK_S, REMEMBERED_S, MachineWatch, Reserve
from exchange_platform.local.processes import ProcessState
from exchange_platform.process.machine import GIB, Fault
from tests.exchange_platform.local.conftest import MovedClock

FULL = Fault("disk", "full: 0 MiB free", "make room", stops=True)
LOW = Fault("disk", "nearly full: 300 MiB free", "make room soon")


class Machine:
    """A machine whose faults, room, clock and killed processes a test decides."""

    def __init__(self, data_dir: Path) -> None:
        (data_dir / "run").mkdir(parents=True, exist_ok=True)
        self.faults: list[Fault] = []
        self.free_bytes = 10 * GIB
        self.kills = 0
        self.clock = MovedClock()
        self.states: list[ProcessState] = []
        self.watch = MachineWatch(
            data_dir,
            clock=self.clock,
            faults=lambda _: list(self.faults),
            free_bytes=lambda _: self.free_bytes,
            kills=lambda: self.kills,
        )

    def look(self) -> tuple[list[str], list[str], bool]:
        """One look, five seconds after the last one: what has begun, what is over, and whether there
        is room.
        """
        self.clock.pass_s(LOOK_S)
        news = self.watch.look(self.states)
        return news.begun, news.over, news.has_room


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_full_disk_is_said_once_and_once_when_it_is_over(machine: Machine) -> None:
    assert machine.look() == ([], [], True)
    machine.faults, machine.free_bytes = [FULL], 0
    assert machine.look() == ([FULL.text], [], False)
    assert [machine.look() for _ in range(20)] == [([], [], False)] * 20
    machine.faults, machine.free_bytes = [], 10 * GIB
    assert machine.look() == ([], ["disk: well again"], True)
    assert machine.look() == ([], [], True)


def test_a_disk_that_fills_is_said_again_when_it_is_full_but_not_on_the_way_back(machine: Machine) -> None:
    machine.faults = [LOW]
    assert machine.look()[0] == [LOW.text]
    machine.faults = [FULL]
    assert machine.look()[0] == [FULL.text]
    machine.faults = [LOW]
    assert machine.look()[0] == []


def test_whoever_writes_much_is_held_until_there_is_more_room_than_the_reserve_gave(machine: Machine) -> None:
    machine.faults, machine.free_bytes = [FULL], 0
    assert not machine.look()[2]
    machine.faults, machine.free_bytes = [LOW], ENOUGH_BYTES - 1
    assert not machine.look()[2]
    machine.free_bytes = ENOUGH_BYTES
    assert machine.look()[2]


def test_the_reserve_is_given_up_on_a_full_disk_and_taken_again_later(
    machine: Machine, tmp_path: Path
) -> None:
    reserve = tmp_path / "run" / "reserve"
    machine.look()
    assert reserve.stat().st_size == 32 * 1024**2
    machine.faults = [FULL]
    machine.look()
    assert not reserve.exists()
    machine.faults, machine.free_bytes = [LOW], 300 * 1024**2
    machine.look()
    assert not reserve.exists()
    machine.faults, machine.free_bytes = [], 10 * GIB
    machine.look()
    assert reserve.exists()
    machine.watch.close()
    assert not reserve.exists()


def test_a_reserve_that_can_not_be_had_is_no_error(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "nowhere" / "reserve")
    reserve.keep()
    reserve.give_up()


@pytest.mark.parametrize(("jump_s", "said"), [(3600, "3,600 s forwards"), (-3600, "3,600 s back")])
def test_a_jump_of_the_clock_is_said_once_and_reported_for_a_while(
    machine: Machine, jump_s: int, said: str
) -> None:
    machine.look()
    machine.clock.set_us(machine.clock.now_us() + jump_s * 1_000_000)
    machine.clock.pass_s(LOOK_S)
    news = machine.watch.look([])
    assert said in news.begun[0]
    assert news.has_room
    assert news.set_back == (jump_s < 0)
    assert machine.look()[0] == []
    assert [fault.part for fault in machine.watch.look([]).faults] == ["clock"]
    machine.clock.pass_s(REMEMBERED_S)
    assert machine.look() == ([], ["clock: well again"], True)


def test_a_clock_that_is_slewed_is_no_fault(machine: Machine) -> None:
    machine.look()
    machine.clock.set_us(machine.clock.now_us() + 400_000)
    assert machine.look() == ([], [], True)


def state(name: str, deaths: int, last_exit: str) -> ProcessState:
    return ProcessState(name, "RUNNING", 7, 1.0, deaths, last_exit)


def test_a_process_that_the_kernel_killed_for_want_of_memory_is_named(machine: Machine) -> None:
    machine.states = [state("emulator", 0, ""), state("api", 1, "terminated by SIGKILL")]
    machine.look()
    machine.kills = 1
    machine.states = [state("emulator", 1, "terminated by SIGKILL"), machine.states[1]]
    (begun,), _, _ = machine.look()
    assert "out of memory: the kernel killed 1 processes: emulator;" in begun
    machine.faults = [Fault("memory", "limited to 700 MiB", "raise the limit")]
    assert machine.look()[0] == [machine.faults[0].text]
    machine.kills = 2
    (again,) = machine.look()[0]
    assert again.startswith("out of memory:")


def test_a_killed_run_is_not_put_down_to_a_program_that_lives(machine: Machine) -> None:
    machine.states = [state("emulator", 0, "")]
    machine.look()
    machine.kills = 2
    (begun,), _, _ = machine.look()
    assert "killed 2 processes: a run, or another program of this machine;" in begun


def test_a_program_that_somebody_else_killed_did_not_want_for_memory(machine: Machine) -> None:
    machine.look()
    machine.states = [state("emulator", 1, "terminated by SIGKILL")]
    assert machine.look() == ([], [], True)


def test_between_two_looks_the_machine_is_left_alone(machine: Machine) -> None:
    machine.look()
    machine.faults = [FULL]
    news = machine.watch.look([])
    assert (news.begun, news.faults) == ([], [])
