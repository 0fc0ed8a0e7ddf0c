"""What this machine allows the platform: room on the disk, limits on processes, memory. Linux.

Who reports it stands elsewhere: doctor/findings.py, checks/machine.py, local/machine_watch.py. Nothing here
changes the machine but `raise_limits`, which raises this process's own soft limits.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
MIB, GIB = 1024**2, 1024**3
FULL_BYTES, LOW_BYTES = 16 * MIB, 512 * MIB
"""With less than the first, writes are about to fail; with less than the second, that is a matter of hours.
"""
FULL_INODES, LOW_INODES = 16, 1_000
MIN_MEMORY_BYTES = 2 * GIB
"""Measured: the platform's processes hold 1.3 GiB at 50 executions/s, and a run that hands over is there
twice.
"""
_PROBE_BYTES = 4096
_NO_LIMIT_V1 = 2**60  # cgroup v1 says "no limit" by a number near 2**63


@dataclass(frozen=True, slots=True)
class Fault:
    """What this machine lacks, and what to do about it. `stops`: the platform can't work with it."""

    part: str
    found: str
    remedy: str
    stops: bool = False

    @property
    def text(self) -> str:
        """Both in one line."""
        return f"{self.part}: {self.found}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Room:
    """What is free where a path lies. `inodes` is None where the file system does not count them."""

    path: Path
    free_bytes: int
    inodes: int | None = None
    write_error: str | None = None
    """Why a small file could not be written there just now: quotas and read-only mounts show only so."""

    @property
    def is_full(self) -> bool:
        """Whether writes fail, or are about to."""
        too_few = self.inodes is not None and self.inodes < FULL_INODES
        return self.write_error is not None or self.free_bytes < FULL_BYTES or too_few

    @property
    def is_low(self) -> bool:
        """Whether there is little left."""
        too_few = self.inodes is not None and self.inodes < LOW_INODES
        return self.is_full or self.free_bytes < LOW_BYTES or too_few

    @property
    def text(self) -> str:
        """What is free, in words."""
        inodes = f", {self.inodes:,} inodes" if self.inodes is not None and self.inodes < LOW_INODES else ""
        return f"{_size(self.free_bytes)} free{inodes} at {self.path}"


@dataclass(frozen=True, slots=True)
class MachineLimit:
    """A resource limit of processes: below `least` the platform does not work, below `wanted` it works with
    less.
    """

    name: str
    option: str
    number: int
    least: int
    wanted: int
    unit: int = 1
    """What the shell's `ulimit` counts in, in the kernel's units."""
    exempts_root: bool = False


LIMITS = (
    MachineLimit("open files a process", "-n", resource.RLIMIT_NOFILE, 128, 1024),
    MachineLimit("address space of a process", "-v", resource.RLIMIT_AS, 3 * GIB, 8 * GIB, unit=1024),
    MachineLimit("size of a file", "-f", resource.RLIMIT_FSIZE, 256 * MIB, 64 * GIB, unit=1024),
    MachineLimit(
        "processes and threads of this user", "-u", resource.RLIMIT_NPROC, 256, 1024, exempts_root=True
    ),
)
"""The greatest needs measured: 26 open files, and more for each client that follows an event; between 1.5 and
1.9 GiB of addresses; 130 threads.
"""


def room_at(path: Path, *, probe: bool = True) -> Room:
    """What is free at `path`, or at the nearest parent that exists. With `probe` a small file is written
    there and removed.
    """
    existing = path
    while not existing.exists():
        existing = existing.parent
    told = os.statvfs(existing)
    error: str | None = None
    if probe:
        try:
            with tempfile.TemporaryFile(dir=existing, buffering=0) as file:
                file.write(b"\0" * _PROBE_BYTES)
                os.fsync(file.fileno())
        except OSError as refused:
            error = (refused.strerror or str(refused)).lower()
    inodes = told.f_favail if told.f_files else None
    return Room(existing, told.f_bavail * told.f_frsize, inodes, error)


def room_fault(room: Room) -> Fault | None:
    """What is wrong with it, if anything is."""
    needed = f"needs {_size(LOW_BYTES)} at least"
    if room.write_error is not None and not _is_no_space(room.write_error):
        return Fault(
            "data directory",
            f"{room.path} can't be written: {room.write_error}",
            "change its owner or mount it for writing, or name another with --data-dir",
            stops=True,
        )
    if room.is_full:
        return Fault(
            "disk",
            f"full: {room.text}; the platform {needed}",
            "make room; what is in memory is kept, and writing goes on by itself then",
            stops=True,
        )
    if room.is_low:
        return Fault("disk", f"nearly full: {room.text}; the platform {needed}", "make room soon")
    return None


def raise_limits(limits: Iterable[MachineLimit] = LIMITS) -> None:
    """Raise this process's soft limits to what the platform wants, as far as the hard limits allow; children
    inherit them.
    """
    for limit in limits:
        soft, hard = resource.getrlimit(limit.number)
        wanted = limit.wanted if hard == resource.RLIM_INFINITY else min(limit.wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(limit.number, (wanted, hard))


def limit_faults(limits: Iterable[MachineLimit] = LIMITS) -> list[Fault]:
    """The hard limits with which the platform does not work at all; soft ones `up` raises."""
    return [_limit_fault(limit, most) for limit, most in _most_of(limits) if most < limit.least]


def limit_notes(limits: Iterable[MachineLimit] = LIMITS) -> list[Fault]:
    """The hard limits that leave it less than it wants."""
    return [
        _limit_fault(limit, most) for limit, most in _most_of(limits) if limit.least <= most < limit.wanted
    ]


def memory_fault() -> Fault | None:
    """Whether this process's control group, or the machine, has less memory than the platform needs."""
    limit = memory_limit()
    if limit is None or limit >= MIN_MEMORY_BYTES:
        return None
    return Fault(
        "memory",
        f"limited to {_size(limit)}; the platform needs {_size(MIN_MEMORY_BYTES)}, so the kernel may kill its processes",
        "raise the limit of the container or control group (docker: --memory; systemd: MemoryMax)",
    )


def memory_limit(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The smallest of the control groups' limits on this process and the machine's memory, in bytes; None:
    not known.
    """
    limits = [*_cgroup_limits(proc, cgroups)]
    total = _counted(proc / "meminfo", "MemTotal:")
    if total is not None:
        limits.append(total * 1024)
    return min(limits, default=None)


def out_of_memory_kills(proc: Path = Path("/proc")) -> int | None:
    """How many processes the kernel has killed for want of memory since it was started; None: it does not
    say.
    """
    return _counted(proc / "vmstat", "oom_kill")


def loopback_fault() -> Fault | None:
    """Whether programs of this machine can't reach each other, as on one without any IPv4 address."""
    try:
        with socket.socket() as one:
            one.bind((LOOPBACK, 0))
    except OSError as error:
        return Fault(
            "loopback",
            f"nothing can listen on {LOOPBACK}: {(error.strerror or str(error)).lower()}",
            f"the platform's programs talk to each other there, on a machine of IPv6 alone too: `ip addr add {LOOPBACK}/8 dev lo`",
            stops=True,
        )
    return None


def faults_of(data_dir: Path) -> list[Fault]:
    """Everything that this machine lacks for a platform in `data_dir`, as it is now, the worst first."""
    found = [loopback_fault(), room_fault(room_at(data_dir)), memory_fault()]
    return [*limit_faults(), *(fault for fault in found if fault is not None)]


def _most_of(limits: Iterable[MachineLimit]) -> Iterable[tuple[MachineLimit, int]]:
    """Each limit that there is, with how far it may be raised."""
    for limit in limits:
        hard = resource.getrlimit(limit.number)[1]
        if hard != resource.RLIM_INFINITY and not (limit.exempts_root and os.geteuid() == 0):
            yield limit, hard


def _limit_fault(limit: MachineLimit, most: int) -> Fault:
    has, least, wants = (f"{value // limit.unit:,}" for value in (most, limit.least, limit.wanted))
    needs = f"needs {least}" if most < limit.least else f"wants {wants}"
    return Fault(
        limit.name,
        f"at most {has} (`ulimit {limit.option}`); the platform {needs}",
        f"raise the hard limit: `ulimit -H {limit.option} {limit.wanted // limit.unit}` as root,"
        " /etc/security/limits.conf, or docker's --ulimit",
        stops=most < limit.least,
    )


def _cgroup_limits(proc: Path, cgroups: Path) -> Iterable[int]:
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            roots, name = [cgroups, cgroups / "unified"], "memory.max"
        elif "memory" in controllers.split(","):
            roots, name = [cgroups / "memory"], "memory.limit_in_bytes"
        else:
            continue
        for root in roots:
            group = root / path.lstrip("/")
            for directory in (group, *group.parents):
                yield from _limit_in(directory / name)
                if directory == root:
                    break


def _limit_in(path: Path) -> Iterable[int]:
    try:
        limit = int(path.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return
    if limit < _NO_LIMIT_V1:
        yield limit


def _counted(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    counts: Mapping[str, str] = {words[0]: words[1] for line in lines if len(words := line.split()) > 1}
    try:
        return int(counts[name])
    except (KeyError, ValueError):
        return None


def _is_no_space(error: str) -> bool:
    return error in (os.strerror(number).lower() for number in (errno.ENOSPC, errno.EDQUOT))


def _size(count: int) -> str:
    return f"{count / GIB:,.1f} GiB" if count >= GIB else f"{count / MIB:,.1f} MiB"
