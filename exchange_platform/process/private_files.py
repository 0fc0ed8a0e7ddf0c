"""Keeps a data directory to its owner: it holds addresses, balances and keys. Nobody else on the machine may
read it.

New files are private by the umask, which every process of the platform sets when it starts; what an older
release left is tightened.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

API_FILE = "api.json"
"""In a data directory: where the API of the platform that runs there is, and a token for it."""
UMASK = 0o077
_OTHERS = 0o077
_OURS = re.compile(
    r"(operational|simulated-exchange|exchange-(feed|requests)|betfair-live|event-index|lake|mail|dagster|platform|api|up|migrate)([.-].*)?|logs|run"
)
"""What the platform makes in a data directory. Somebody may have named a directory that holds other things,
too.
"""


def keep_new_files_private() -> None:
    """Let this process, and those that it starts, make files and directories for its user alone."""
    os.umask(UMASK)


def is_strangers(data_dir: Path) -> bool:
    """Whether another user than this process's, and than root, owns the directory, so that he may exchange
    what is in it. Root decides for itself.
    """
    owner, us = data_dir.stat().st_uid, os.geteuid()
    return us != 0 and owner not in (us, 0)


class StrangersDirectory(Exception):
    """The data directory is another user's. The message says what to do."""


def refuse_strangers(data_dir: Path) -> None:
    """Raise `StrangersDirectory` where another user could exchange what is in the directory. One that is not
    there yet is nobody's.
    """
    if data_dir.exists() and is_strangers(data_dir):
        raise StrangersDirectory(
            f"the data directory {data_dir} is another user's, who could exchange what is in it; name one of yours with --data-dir"
        )


def write_private(path: Path, text: str) -> None:
    """Replace the file as a whole by one that only its owner can read. What anybody may have put in the way,
    a link above all, is neither followed nor written to.
    """
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}.", suffix=".new")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def looser(data_dir: Path) -> list[Path]:
    """What is in the data directory, and itself, that others than its owner may get at; links are not
    followed.
    """
    if (
        not data_dir.is_dir() or not data_dir.stat().st_mode & _OTHERS
    ):  # nobody gets at what is in a private directory
        return []
    return [path for path, status in _ours(data_dir) if status.st_mode & _OTHERS]


def tighten(data_dir: Path) -> int:
    """Take everybody else's permissions away; returns of how many files and directories. What is another
    user's is left to them.

    What vanishes meanwhile, and what can't be changed, is left as it is: `looser` finds it.
    """
    count = 0
    for path, status in _ours(data_dir) if data_dir.is_dir() else ():
        if status.st_mode & _OTHERS and status.st_uid == os.geteuid():
            with contextlib.suppress(OSError):
                path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)
                count += 1
    return count


def _ours(data_dir: Path) -> Iterator[tuple[Path, os.stat_result]]:
    status = data_dir.stat()
    shared = (Path("/"), Path(os.path.expanduser("~")))  # noqa: PTH111 (Path.home raises where nobody knows it)
    own = not status.st_mode & stat.S_ISVTX and data_dir.resolve() not in shared
    if own:  # not /tmp, say, which everybody uses
        yield data_dir, status
    for entry in _entries(data_dir):
        if _OURS.fullmatch(entry.name):
            yield from _below(entry)


def _below(entry: os.DirEntry[str]) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # it was somebody's for a moment
        return
    if stat.S_ISDIR(status.st_mode):
        yield Path(entry.path), status
        for one in _entries(Path(entry.path)):
            yield from _below(one)
    elif stat.S_ISREG(status.st_mode):
        yield Path(entry.path), status


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except (FileNotFoundError, PermissionError):
        return
