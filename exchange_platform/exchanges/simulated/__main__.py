"""`python -m exchange_platform.exchanges.simulated`: arguments and signals of the simulated exchange's
process.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sqlite3
import sys
import threading
from pathlib import Path

from exchange_platform.exchanges.simulated.process import ExchangeAlreadyRunning, JournalDamaged, run
from exchange_platform.exchanges.simulated.publishing import REPEATED_ONE_IN
from exchange_platform.process.private_files import keep_new_files_private
from exchange_platform.settings import InvalidSettings, load_settings
from exchange_platform.stores.operational.sqlite_files import is_damage

MAX_RATE = 5000
MAX_PACE = 20


def main() -> int:
    """Run until SIGTERM or SIGINT; the exit status."""
    keep_new_files_private()
    parser = argparse.ArgumentParser(description="A simulated exchange that publishes to Kinesis.")
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--rate", type=_rate, default=50.0, help="executions a second (default 50)")
    parser.add_argument("--seed", type=int, default=None, help="make the same choices again")
    parser.add_argument("--pace", type=_pace, default=1.0, help="how much faster markets live (default 1)")
    parser.add_argument(
        "--repeat-one-in", type=int, default=REPEATED_ONE_IN, help="publish one put in so many twice; 0: none"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    for noisy in ("botocore", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(
            load_settings(arguments.data_dir),
            rate=arguments.rate,
            seed=arguments.seed,
            stop=stop,
            pace=arguments.pace,
            repeated_one_in=max(0, arguments.repeat_one_in),
        )
    except (ExchangeAlreadyRunning, InvalidSettings, JournalDamaged) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        print(
            f"error: a journal is damaged: {error}; `exchange-platform doctor` says which, and what to do",
            file=sys.stderr,
        )
        return 1
    return 0


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= MAX_RATE:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0 and at most {MAX_RATE}")
    return rate


def _pace(text: str) -> float:
    pace = float(text)
    if not 0.1 <= pace <= MAX_PACE:
        raise argparse.ArgumentTypeError(f"{text} is not from 0.1 to {MAX_PACE}")
    return pace


if __name__ == "__main__":
    sys.exit(main())
