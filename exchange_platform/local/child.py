"""Becomes another program that dies with its parent: `python child.py [--spare N] [--await-port N |
--await-socket PATH] PROGRAM ARGUMENT...`.

With `--spare` the kernel kills it before others for want of memory, the sooner the greater N is (up to 1000):
else it might take `up` itself, which is there to start again what was killed, and to say so.

The kernel kills a process so marked when the thread that started it ends, however it ends; so `kill -9` of a
supervisor leaves none of its children behind. Runs as a file, without site-packages, and imports little: it
costs some 10 ms a start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time

_PR_SET_PDEATHSIG = 1
_AWAIT_S = 60.0


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends. Exits at once if that has happened already."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def may_be_spared(score: int) -> None:
    """Let the kernel kill this process, and those that it starts, before others when memory is short."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 (pathlib costs 5 ms of each start)
            file.write(str(score))
    except OSError:  # another system, or it was set higher already
        pass


def await_listener(family: int, address: object, timeout_s: float = _AWAIT_S) -> None:
    """Wait until something listens there, or for so long; then the program may say itself what it misses."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        with socket.socket(family) as one:
            one.settimeout(1.0)
            try:
                one.connect(address)  # type: ignore[arg-type]
                return
            except OSError:
                time.sleep(0.1)


def main() -> None:
    """Read the arguments and become the program."""
    arguments = sys.argv[1:]
    die_with_parent()
    os.umask(0o077)  # private_files.py, whose import costs too much here
    if arguments[0] == "--spare":
        may_be_spared(int(arguments[1]))
        arguments = arguments[2:]
    if arguments[0] == "--await-port":
        await_listener(socket.AF_INET, ("127.0.0.1", int(arguments[1])))
        arguments = arguments[2:]
    elif arguments[0] == "--await-socket":
        await_listener(socket.AF_UNIX, arguments[1])
        arguments = arguments[2:]
    os.execv(arguments[0], arguments)  # noqa: S606 (there is no shell in between)


if __name__ == "__main__":
    main()
