"""Waits for `up` to end, however it ends, then ends every process that it left: `python -m
exchange_platform.local.reaper ID`.

`up` holds the other end of our standard input; the kernel closes it when `up` dies. Not here: finding the
processes (orphans.py).
"""

from __future__ import annotations

import signal
import sys
import time

from exchange_platform.local.orphans import end, marked

_QUIET_S = 0.5
_AT_MOST_S = 15.0


def sweep(up_id: str) -> list[int]:
    """End the processes of this `up` until none is seen for a while (one may be starting another); returns
    what is left.
    """
    began = quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < _QUIET_S and time.monotonic() - began < _AT_MOST_S:
        if marked(up_id):
            end(lambda: marked(up_id))
            quiet_since = time.monotonic()
        time.sleep(0.05)
    return marked(up_id)


def main() -> None:
    """Wait for the end of standard input, then sweep."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while sys.stdin.buffer.read(1):
        pass
    sys.exit(1 if sweep(sys.argv[1]) else 0)


if __name__ == "__main__":
    main()
