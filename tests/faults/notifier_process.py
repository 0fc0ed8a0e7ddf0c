"""The run that notifies, as a process that a test may kill: `python -m tests.faults.notifier_process`,
configured by environment.
"""

from __future__ import annotations

import logging
import os
import signal
import sys

from exchange_platform.notifications.run import build_notifier
from exchange_platform.settings import load_settings


def main() -> None:
    """Deliver until terminated or superseded."""
    logging.basicConfig(level=logging.WARNING)
    run = build_notifier(load_settings(), run_id=f"pid-{os.getpid()}", duration_s=600)
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    for _ in run.run():
        pass
    sys.exit(3 if run.superseded else 0)


if __name__ == "__main__":
    main()
