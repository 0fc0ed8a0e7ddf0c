"""A file system that a test may fill, without being root: in a mount namespace of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def in_a_small_file_system(size: str, code: str, directory: Path) -> str:
    """What `code` prints in a mount namespace of its own, where `directory` is a file system of this size; skips where none may be had."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare(1)")
    directory.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o size={size} small "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        [
            unshare,
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            mount,
            "sh",
            str(directory),
            sys.executable,
            code,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
        timeout=50,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout
