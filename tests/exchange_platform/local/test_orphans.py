"""Processes are found by their mark alone, and end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from exchange_platform.local.orphans import DATA_DIR, UP_ID, end, is_alive, marked, marked_for
from tests.exchange_platform.local.conftest import wait_until

SLEEPING = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)",
]


def started(command: list[str], **surroundings: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, env=os.environ | surroundings)
    wait_until(lambda: Path(f"/proc/{process.pid}/environ").read_bytes() != b"")
    return process


def test_only_the_marked_are_found(up_id: str) -> None:
    ours, other = started(SLEEPING, **{UP_ID: up_id}), started(SLEEPING, **{UP_ID: f"{up_id}0"})
    try:
        wait_until(lambda: marked(up_id) == [ours.pid])
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


def test_a_zombie_is_not_alive(up_id: str) -> None:
    process = started(SLEEPING, **{UP_ID: up_id})
    assert is_alive(process.pid)
    process.kill()
    wait_until(lambda: not is_alive(process.pid))
    assert marked(up_id) == []
    process.wait()


def test_what_an_earlier_up_left_on_a_data_directory_is_found_and_ours_spared(
    up_id: str, tmp_path: Path
) -> None:
    here = {DATA_DIR: str(tmp_path)}
    earlier = started(SLEEPING, **here, **{UP_ID: "earlier"})
    ours = started(SLEEPING, **here, **{UP_ID: up_id})
    unmarked = started(SLEEPING, **here)
    elsewhere = started(SLEEPING, **{DATA_DIR: f"{tmp_path}/sub", UP_ID: "earlier"})
    processes = (earlier, ours, unmarked, elsewhere)
    try:
        wait_until(lambda: marked_for(tmp_path, but=up_id) == [earlier.pid])
        assert end(lambda: marked_for(tmp_path, but=up_id)) == []
        assert [is_alive(process.pid) for process in processes] == [False, True, True, True]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_the_stubborn_are_killed_after_the_grace(up_id: str, tmp_path: Path) -> None:
    process = started([*STUBBORN, str(tmp_path / "ready")], **{UP_ID: up_id})
    wait_until((tmp_path / "ready").exists)
    assert end(lambda: marked(up_id), grace_s=0.2) == []
    assert process.wait() == -9
