"""What `doctor` finds of this machine: Python, packages, room, limits, permissions, and the platform that
runs here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from exchange_platform.doctor.findings import Finding, Level
from exchange_platform.process.machine import (
    GIB,
    faults_of,
    limit_faults,
    limit_notes,
    loopback_fault,
    memory_fault,
    memory_limit,
    out_of_memory_kills,
    room_at,
    room_fault,
)
from exchange_platform.process.private_files import looser
from exchange_platform.settings import FAULTS, OUT_OF_MEMORY_KILLS, Settings, read_platform_file

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
LITTLE_SPACE = 5 * GIB
_EMBEDDED = ("dagster", "dagster-webserver", "moto", "supervisor", "tantivy")
_NEEDED = ("duckdb", "duckdb-extension-ducklake", "sqlalchemy", "alembic", "boto3", "msgspec", "pyarrow")


def python_finding() -> Finding:
    """Whether this Python is one that is supported."""
    version = sys.version.split()[0]
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return Finding("python", Level.FINE, version)
    return Finding("python", Level.WRONG, f"{version} is not supported", "use Python 3.11, 3.12 or 3.13")


def package_findings(embedded: bool) -> Iterator[Finding]:
    """What is missing of the packages, or their versions."""
    missing: list[str] = []
    found: list[str] = []
    for name in (*_NEEDED, *(_EMBEDDED if embedded else ())):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding(
            "packages",
            Level.WRONG,
            f"missing: {', '.join(missing)}",
            "`make setup` in the checkout installs the locked versions",
        )
    else:
        yield Finding("packages", Level.FINE, ", ".join(found))


def machine_findings(data_dir: Path, *, runs_here: bool) -> Iterator[Finding]:
    """The data directory; and where a whole platform runs here, whether memory and limits suffice for
    that.
    """
    room = room_at(data_dir)
    here = [loopback_fault(), memory_fault(), *limit_faults()] if runs_here else []
    faults = [*filter(None, [room_fault(room), *here])]
    for fault in faults:
        yield Finding(fault.part, Level.WRONG, fault.found, fault.remedy)
    wrong = {fault.part for fault in faults}
    if not wrong & {"disk", "data directory"}:
        yield Finding("data directory", Level.FINE, str(data_dir))
        little = room.free_bytes < LITTLE_SPACE
        remedy = "make room soon: 1,000 records/s take some GiB a day" if little else ""
        yield Finding("disk", Level.NOTE if little else Level.FINE, room.text, remedy)
    if not runs_here:
        return
    yield _permissions(data_dir)
    for note in limit_notes():
        yield Finding(note.part, Level.NOTE, note.found, note.remedy)
    if "memory" not in wrong:
        memory = memory_limit()
        yield Finding("memory", Level.FINE, f"{memory / GIB:,.1f} GiB" if memory else "no limit known")
    if not limit_faults() and not limit_notes():
        yield Finding("limits", Level.FINE, "open files, threads, address space and file sizes suffice")


def _permissions(data_dir: Path) -> Finding:
    loose = looser(data_dir)
    if loose:
        named = ", ".join(str(path) for path in loose[:3])
        return Finding(
            "permissions",
            Level.WRONG,
            f"{len(loose):,} files or directories are not their owner's alone, such as {named}: they hold addresses and balances",
            f"`exchange-platform migrate` and `up` take other users' permissions away, and so does: chmod -R go= {data_dir}",
        )
    return Finding("permissions", Level.FINE, "nobody but its owner gets at the data directory")


def noted_findings(settings: Settings) -> Iterator[Finding]:
    """What a running `up` sees going wrong."""
    known = {fault.part for fault in faults_of(settings.data_dir)}
    for text in read_platform_file(settings.data_dir).get(FAULTS, []):
        part, _, found = str(text).partition(": ")
        if part not in known:
            yield Finding(part, Level.WRONG, found)


def is_running_here(settings: Settings) -> bool:
    """Whether `exchange-platform up` runs on the data directory."""
    from exchange_platform.local.running import is_running

    return is_running(settings.data_dir)


def platform_finding(settings: Settings, *, runs: bool, embedded: bool) -> Finding:
    """How the platform of this machine is: running, ended, killed, or none."""
    running = read_platform_file(settings.data_dir)
    if runs:
        return Finding(
            "platform", Level.FINE, f"runs (pid {running.get('pid')}): {running.get('dagster_url')}"
        )
    if running:
        kills, before = out_of_memory_kills(), running.get(OUT_OF_MEMORY_KILLS)
        memory = kills is not None and isinstance(before, int) and kills > before
        why = f"; the kernel has killed {kills - before} processes since for want of memory" if memory else ""  # type: ignore[operator]
        return Finding(
            "platform",
            Level.WRONG,
            f"the platform of pid {running.get('pid')} was killed{why}",
            "`exchange-platform up` cleans up and goes on where it stopped; nothing is lost",
        )
    if not embedded:
        return Finding("platform", Level.NOTE, "no local platform; the configured services are checked")
    return _default_port()


def _default_port() -> Finding:
    from exchange_platform.local.programs import is_free

    if is_free(3000):
        return Finding("platform", Level.NOTE, "not running", "`exchange-platform up` starts it")
    return Finding(
        "platform",
        Level.NOTE,
        "not running, and port 3000 is taken by another program",
        "`exchange-platform up --port N` starts it on another",
    )
