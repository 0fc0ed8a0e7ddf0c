"""Ways to damage a file, each as disks, copies and people do it. Not here: any test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path


def cut(path: Path) -> None:
    """Only the first half is left."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    """No byte is left."""
    path.write_bytes(b"")


def deleted(path: Path) -> None:
    """Nothing is left."""
    path.unlink()


def beginning_overwritten(path: Path) -> None:
    """The first 4096 bytes are others."""
    content = path.read_bytes()
    path.write_bytes(b"\x55" * min(4096, len(content)) + content[4096:])


def end_overwritten(path: Path) -> None:
    """The last 64 bytes are others: of a Parquet file, the footer's."""
    content = path.read_bytes()
    path.write_bytes(content[:-64] + b"\x55" * 64)


def bit_flipped(path: Path) -> None:
    """One bit in the middle is another."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


def replaced_by_a_directory(path: Path) -> None:
    """A directory has its name."""
    path.unlink()
    path.mkdir()


def made_whole(path: Path, content: bytes) -> None:
    """The file is as it was."""
    if path.is_dir():
        shutil.rmtree(path)
    path.write_bytes(content)


Damaging = Callable[[Path], None]

FILE_DAMAGES: tuple[Damaging, ...] = (
    cut,
    emptied,
    deleted,
    beginning_overwritten,
    end_overwritten,
    replaced_by_a_directory,
)
"""Those that any reader of a Parquet file runs into."""
