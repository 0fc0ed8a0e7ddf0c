"""What the machine lacks is found, said with what is needed, and nothing is found where nothing is
missing.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from exchange_platform.process.machine import (
    FULL_BYTES,
    GIB,
    LIMITS,
    LOW_BYTES,
    MIB,
    MachineLimit,
    Room,
    faults_of,
    limit_faults,
    limit_notes,
    memory_limit,
    out_of_memory_kills,
    raise_limits,
    room_at,
    room_fault,
)
from tests.support.namespaces import in_a_small_file_system, without_ipv4

FILL = """
import sys
from pathlib import Path
from exchange_platform.process.machine import faults_of, room_at
here = Path(sys.argv[1])
print([fault.part for fault in faults_of(here) if fault.part == "disk"])
with (here / "filler").open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(2**20))
    except OSError:
        pass
(fault,) = [fault for fault in faults_of(here) if fault.part == "disk"]
print(fault.stops, fault.text)
(here / "filler").unlink()
print([fault.part for fault in faults_of(here) if fault.part == "disk"])
"""


def test_a_full_disk_is_found_with_the_path_and_what_is_needed_and_is_over_when_there_is_room(
    tmp_path: Path,
) -> None:
    before, full, after = in_a_small_file_system("600m", FILL, tmp_path / "disk").splitlines()
    assert before == after == "[]"
    assert full.startswith("True disk: full: 0.0 MiB free")
    assert str(tmp_path / "disk") in full
    assert "512.0 MiB at least" in full


IPV6 = """
import socket, sys
from exchange_platform.cli import run
socket.create_server(("::1", 0), family=socket.AF_INET6).close()
sys.stderr = sys.stdout
print(run(["up", "--data-dir", sys.argv[1]]))
print(run(["doctor", "--data-dir", sys.argv[1]]))
"""


def test_a_machine_of_ipv6_alone_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    """It said that port 3000 was taken by another program."""
    said = without_ipv4(IPV6, str(tmp_path / "data"))
    refused, status, *diagnosis = said.splitlines()
    assert "loopback: nothing can listen on 127.0.0.1: cannot assign requested address;" in refused
    assert "ip addr add 127.0.0.1/8 dev lo" in refused
    assert status == diagnosis[-1] == "1"
    assert any("WRONG loopback" in line for line in diagnosis)


@pytest.mark.parametrize(
    ("room", "found"),
    [
        (Room(Path("/d"), LOW_BYTES), None),
        (Room(Path("/d"), LOW_BYTES, 5_000), None),
        (Room(Path("/d"), LOW_BYTES - 1), "nearly full"),
        (Room(Path("/d"), LOW_BYTES, 999), "nearly full"),
        (Room(Path("/d"), FULL_BYTES - 1), "full"),
        (Room(Path("/d"), GIB, 0), "full"),
        (Room(Path("/d"), GIB, None, os.strerror(errno.ENOSPC).lower()), "full"),
        (Room(Path("/d"), GIB, None, os.strerror(errno.EDQUOT).lower()), "full"),
        (Room(Path("/d"), GIB, None, os.strerror(errno.EROFS).lower()), "/d can't be written"),
    ],
)
def test_little_room_few_inodes_and_a_quota_are_all_a_full_disk(room: Room, found: str | None) -> None:
    fault = room_fault(room)
    assert (fault is None) == (found is None)
    if fault is not None and found is not None:
        assert fault.found.startswith(found)
        assert fault.stops == (found != "nearly full")


def test_room_is_looked_for_where_a_directory_will_be_made(tmp_path: Path) -> None:
    room = room_at(tmp_path / "not" / "yet")
    assert room.path == tmp_path
    assert room.write_error is None
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import resource
from exchange_platform.process.machine import limit_faults, limit_notes, raise_limits
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 256))
print([fault.part for fault in limit_faults()], [note.part for note in limit_notes()])
raise_limits()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 100))
print(limit_faults()[0].text)
"""


def test_too_few_open_files_are_raised_where_allowed_and_refused_with_what_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    noted, raised, refused = done.stdout.splitlines()
    assert noted == "[] ['open files a process']"
    assert raised == "(256, 256)"
    assert refused.startswith("open files a process: at most 100 (`ulimit -n`); the platform needs 128;")


def test_no_limit_is_no_fault_and_is_left_as_it_is() -> None:
    unlimited = MachineLimit("core files", "-c", resource.RLIMIT_CORE, 0, 0)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    raise_limits([unlimited])
    assert resource.getrlimit(resource.RLIMIT_CORE) == before
    assert limit_faults([unlimited]) == limit_notes([unlimited]) == []


def test_every_limit_works_with_less_than_it_wants() -> None:
    assert all(0 < limit.least < limit.wanted for limit in LIMITS)


def memory_of(tmp_path: Path, cgroup: str, limits: dict[str, str]) -> int | None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(cgroup)
    (proc / "meminfo").write_text("MemTotal:       4194304 kB\n")
    for name, limit in limits.items():
        path = cgroups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{limit}\n")
    return memory_limit(proc, cgroups)


@pytest.mark.parametrize(
    ("cgroup", "limits", "expected"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": str(700 * MIB)}, 700 * MIB),
        ("0::/\n", {"memory.max": str(900 * MIB)}, 900 * MIB),
        ("4:memory:/c\n0::/\n", {"memory/c/memory.limit_in_bytes": str(800 * MIB)}, 800 * MIB),
        ("4:cpu,memory:/\n", {"memory/memory.limit_in_bytes": str(2**63 - 4096)}, 4 * GIB),
        ("", {}, 4 * GIB),
    ],
    ids=["a parent's, v2", "a container's, v2", "v1", "none, v1", "none"],
)
def test_the_smallest_memory_limit_above_a_process_counts(
    tmp_path: Path, cgroup: str, limits: dict[str, str], expected: int
) -> None:
    assert memory_of(tmp_path, cgroup, limits) == expected


def test_a_kernel_that_says_nothing_of_memory_is_not_known(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path) is None
    assert out_of_memory_kills(tmp_path) is None


def test_this_machine_is_looked_at_without_an_error(tmp_path: Path) -> None:
    assert all(fault.text for fault in faults_of(tmp_path))
