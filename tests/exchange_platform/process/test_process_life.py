"""Whether a process runs: real ones, stopped, killed, and their ids used again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from exchange_platform.process import process_life
from exchange_platform.process.process_life import Life, ProcessId, kill, life_of, process_of, this_process
from tests.support.platform_parts import wait_for


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing until its input ends."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def identity(process: subprocess.Popen[bytes]) -> ProcessId:
    found = process_of(process.pid)
    assert found is not None
    return found


def state(process: subprocess.Popen[bytes]) -> bytes:
    stat = process_life._stat(process.pid)
    return stat[0] if stat is not None else b"gone"


def test_this_process_lives_and_is_never_killed_by_itself() -> None:
    mine = this_process()
    assert mine is not None
    assert (mine.pid, life_of(mine)) == (os.getpid(), Life.LIVES)
    assert not kill(mine)


def test_a_stopped_process_lives(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGSTOP)
    wait_for(lambda: state(child) == b"T")
    assert life_of(identity(child)) is Life.LIVES


def test_a_killed_process_is_gone_before_anybody_has_collected_it(child: subprocess.Popen[bytes]) -> None:
    known = identity(child)
    assert kill(known)
    wait_for(lambda: state(child) == b"Z")
    assert life_of(known) is Life.GONE
    child.wait()
    assert life_of(known) is Life.GONE
    assert not kill(known)


def test_a_process_whose_id_another_one_has_now_is_gone_and_the_other_is_not_killed(
    child: subprocess.Popen[bytes],
) -> None:
    earlier = replace(identity(child), start_ticks=identity(child).start_ticks - 1)
    assert life_of(earlier) is Life.GONE
    assert not kill(earlier)
    assert child.poll() is None


def test_nothing_is_known_of_a_process_of_another_machine_boot_or_container(
    child: subprocess.Popen[bytes],
) -> None:
    elsewhere = replace(identity(child), host="another-boot/pid:[1]")
    assert life_of(elsewhere) is Life.UNKNOWN
    assert life_of(None) is Life.UNKNOWN
    assert not kill(elsewhere)


def test_a_process_that_is_hidden_from_proc_is_not_taken_for_gone(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = identity(child)
    monkeypatch.setattr(process_life, "_stat", lambda _pid: None)
    assert life_of(known) is Life.UNKNOWN


def test_a_system_that_does_not_say_has_no_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_life, "_host", lambda: None)
    assert this_process() is None
