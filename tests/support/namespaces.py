"""A file system that a test may fill, and a machine without IPv4, without being root: in namespaces of their
own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def in_a_small_file_system(size: str, code: str, directory: Path) -> str:
    """What `code` prints in a mount namespace of its own, where `directory` is a file system of this size;
    skips where none may be had.
    """
    directory.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o size={size} small "$1"'
    return _in_namespace("--mount", mount, code, str(directory))


def without_ipv4(code: str, *arguments: str) -> str:
    """What `code` prints on a machine that has ::1 and no 127.0.0.1; skips where that can't be had."""
    if shutil.which("ip") is None:
        pytest.skip("no ip(8)")
    return _in_namespace("--net", "ip link set lo up && ip addr del 127.0.0.1/8 dev lo", code, *arguments)


def _in_namespace(kind: str, prepare: str, code: str, *arguments: str) -> str:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare(1)")
    begin = [unshare, "--user", "--map-root-user", kind]
    ready = subprocess.run(
        [*begin, "sh", "-c", prepare, "sh", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    if ready.returncode != 0:
        pytest.skip(f"no namespaces of users here: {ready.stderr.strip()}")
    done = subprocess.run(
        [
            *begin,
            "sh",
            "-c",
            f'python=$1 code=$2; shift 2; {prepare} && exec "$python" -c "$code" "$@"',
            "sh",
            sys.executable,
            code,
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
