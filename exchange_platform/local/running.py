"""Which platform runs on a data directory: its lock, and what it says of itself in platform.json. Not here:
running it (up.py).
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from exchange_platform.local.orphans import is_alive
from exchange_platform.process.private_files import (
    API_FILE,
    StrangersDirectory,
    refuse_strangers,
    tighten,
    write_private,
)
from exchange_platform.settings import FAULTS, PLATFORM_FILE, Settings, read_platform_file

LOCK_FILE = "up.lock"
_TOKEN_BYTES = 32


class NotRunning(Exception):
    """No platform runs on this data directory."""


class AlreadyRunning(Exception):
    """Another `up` has this data directory."""


class CannotStart(Exception):
    """Something that `up` needs is not there. The message says what, and what to do."""


@contextmanager
def data_dir_held(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process alone; the kernel lets go of it when the process dies.

    Raises `AlreadyRunning`, and `CannotStart` where the directory can't be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        refuse_strangers(data_dir)
        tighten(data_dir)
        lock = FileLock(data_dir / LOCK_FILE, timeout=2.0)  # a reader of `is_running` holds it for a moment
        with lock:
            yield
    except Timeout:
        running = read_platform_file(data_dir)
        where = f"; its pages are at {running['dagster_url']}" if running.get("dagster_url") else ""
        who = f" (pid {running['pid']})" if running.get("pid") else ""
        raise AlreadyRunning(
            f"a platform is running on {data_dir} already{who}{where}. Stop it there with Ctrl-C, or name another --data-dir"
        ) from None
    except StrangersDirectory as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(
            f"the data directory {data_dir} can't be written: {(error.strerror or str(error)).lower()}"
        ) from error


def is_running(data_dir: Path) -> bool:
    """Whether an `up` holds the data directory now."""
    if not (data_dir / LOCK_FILE).exists():
        return False
    pid = read_platform_file(data_dir).get("pid")
    if isinstance(pid, int) and not is_alive(pid):
        return False
    try:
        with FileLock(data_dir / LOCK_FILE, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # not ours to lock: trust the pid
        return isinstance(pid, int) and is_alive(pid)


def write_platform_file(data_dir: Path, content: dict[str, Any]) -> None:
    """Let other commands know where this platform is. Readable by its owner only."""
    _write_private(data_dir / PLATFORM_FILE, content)


def note_faults(data_dir: Path, faults: list[str]) -> None:
    """Let other commands and checks know what `up` sees going wrong. Where nothing can be written, what was
    noted before stays.
    """
    content = read_platform_file(data_dir)
    if content and content.get(FAULTS, []) != faults:
        with contextlib.suppress(OSError):
            write_platform_file(data_dir, {**content, FAULTS: faults})


def write_api_file(data_dir: Path, url: str) -> str:
    """Let applications know where the API is and which token to show; returns the token. Readable by its
    owner only.

    The token stays what it was on this data directory; a new one is drawn where there is none.
    """
    path = data_dir / API_FILE
    try:
        token = json.loads(path.read_text()).get("token")
    except (OSError, ValueError, AttributeError):
        token = None
    if not isinstance(token, str) or len(token) < _TOKEN_BYTES:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
    _write_private(path, {"url": url, "token": token})
    return token


def _write_private(path: Path, content: dict[str, Any]) -> None:
    write_private(path, json.dumps(content, indent=2))


def remove_platform_file(data_dir: Path) -> None:
    """Say that no platform is here any more."""
    (data_dir / PLATFORM_FILE).unlink(missing_ok=True)


def require_stream(settings: Settings) -> None:
    """Raise `NotRunning` unless there is a stream to publish to: a running platform's here, or one that the
    settings name.
    """
    if settings.database_url is not None:  # a deployment; AWS itself, or an endpoint that was named
        return
    running = read_platform_file(settings.data_dir)
    named = settings.aws_endpoint_url is not None and settings.aws_endpoint_url != running.get(
        "aws_endpoint_url"
    )
    if not named and not is_running(settings.data_dir):
        raise NotRunning(
            f"no platform is running on {settings.data_dir}; start one in another terminal with:"
            f" exchange-platform up --exchange none --data-dir {settings.data_dir}"
        )
