"""A consumer of the stream as a process that a test may kill: `python -m tests.faults.consumer_process`,
configured by environment.
"""

from __future__ import annotations

import logging
import os
import signal
import sys

from exchange_platform.settings import load_settings
from exchange_platform.streams.exchange_bets import build_consumer


def main() -> None:
    """Consume until terminated or superseded."""
    logging.basicConfig(level=logging.WARNING)
    consumer = build_consumer(load_settings(), run_id=f"pid-{os.getpid()}", duration_s=600)
    signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
    for _ in consumer.run():
        pass
    sys.exit(3 if consumer.superseded else 0)


if __name__ == "__main__":
    main()
