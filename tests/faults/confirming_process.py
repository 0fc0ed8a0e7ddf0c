"""A run that mails confirmations as a process that a test may kill: `python -m
tests.faults.confirming_process`, configured by environment.
"""

from __future__ import annotations

import logging
import os
import signal

from exchange_platform.confirmation.run import build_run
from exchange_platform.settings import load_settings


def main() -> None:
    """Mail until terminated or superseded."""
    logging.basicConfig(level=logging.WARNING)
    run = build_run(load_settings(), run_id=f"pid-{os.getpid()}", duration_s=600)
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    for _ in run.run():
        pass


if __name__ == "__main__":
    main()
