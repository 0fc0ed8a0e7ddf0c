"""How long after a SIGKILL the platform is caught up again, for each kind of process of `exchange-platform
up` in turn, and how long until the killed one is there again. Baseline in the same run: the same look without
a kill. python -m benchmarks.kills [--rate N] [--rounds N] [--only KIND]
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from exchange_platform.local.orphans import marked
from exchange_platform.local.programs import free_ports
from exchange_platform.operations.status import SOURCES, StatusReader
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import load_settings, read_platform_file
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database

CHECKOUT = Path(__file__).parents[1]
WITHIN_S = 20.0
_PATIENCE_S = 120.0
_BETWEEN_S = 15.0
BASELINE = "nothing (baseline)"
CONSUMER, ALL_RUNS = "consumer run", "all runs at once"
KINDS = {
    CONSUMER: r"spawn_main",
    ALL_RUNS: r"spawn_main",
    "AWS emulator": r"local\.emulator",
    "simulated exchange": r"exchanges\.simulated",
    "gateway": r"exchanges\.gateway",
    "API": r"exchange_platform\.api",
    "Dagster's code server": r"dagster api grpc",
    "Dagster's daemon": r"dagster\._daemon",
    "Dagster's webserver": r"deployments\.webserver",
    "supervisor": r"local\.supervisord",
}


class Platform:
    """A running `up`, whose processes are found and killed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rows = ConsumerRows(Database(load_settings(directory).operational_database_url))

    def pids(self, kind: str) -> set[int]:
        """The processes of a kind."""
        mine = set(marked(str(read_platform_file(self._directory)["up_id"])))
        found = [
            process for process in psutil.process_iter(["cmdline", "memory_info"]) if process.pid in mine
        ]
        alike = [one for one in found if re.search(KINDS[kind], " ".join(one.info["cmdline"] or ()))]
        if kind == CONSUMER:  # the one that has the bets' stores open is the largest by far
            alike = sorted(alike, key=lambda one: one.info["memory_info"].rss)[-1:]
        return {process.pid for process in alike}

    def caught_up_since(self, instant_us: int) -> bool:
        """Whether every source's consumer has found the end of its stream since then, with all before it
        committed by every sink.
        """
        newest = [self._rows.newest(source) for source in SOURCES]
        return all(
            row is not None and row.state == "running" and (row.caught_up_at_us or 0) > instant_us
            for row in newest
        )

    def dead_letters(self) -> int:
        """How many there are by now."""
        reader = StatusReader(load_settings(self._directory))
        try:
            return reader.read().dead_letters
        finally:
            reader.close()


def main() -> int:
    """Measure and print; 1 where it took too long, or a record became a dead letter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=50, help="executions a second")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=list(KINDS), help="one kind of process")
    arguments = parser.parse_args()
    port, api_port = map(str, free_ports(2))
    with tempfile.TemporaryDirectory() as directory:
        up = subprocess.Popen(
            [
                *(sys.executable, "-m", "exchange_platform", "up", "--rate", str(arguments.rate)),
                *("--data-dir", directory, "--port", port, "--api-port", api_port),
            ],
            stdout=subprocess.DEVNULL,
            cwd=CHECKOUT,
        )
        try:
            kinds = [arguments.only] if arguments.only else list(KINDS)
            return _measured(Path(directory), kinds, arguments.rounds)
        finally:
            up.terminate()
            up.wait(60)


def _measured(directory: Path, kinds: list[str], rounds: int) -> int:
    _until(lambda: "up_id" in read_platform_file(directory), 60)
    platform = Platform(directory)
    _until(lambda: platform.caught_up_since(0), 60)
    worst = 0.0
    print(f"{'':<24}caught up after            there again after")
    for kind in (BASELINE, *kinds):
        caught_up, back = [], []
        for _ in range(rounds):
            time.sleep(_BETWEEN_S)
            found = platform.pids(kind) if kind != BASELINE else set()
            killed_us, began = SYSTEM_CLOCK.now_us(), time.monotonic()
            for pid in found:
                os.kill(pid, signal.SIGKILL)
            _until(lambda: platform.caught_up_since(killed_us), _PATIENCE_S)  # noqa: B023
            caught_up.append(time.monotonic() - began)
            if found and kind not in (CONSUMER, ALL_RUNS):  # of a run, another comes in its place
                _until(lambda: bool(platform.pids(kind) - found), _PATIENCE_S)  # noqa: B023
                back.append(time.monotonic() - began)
        if kind != ALL_RUNS:  # the bound is for one process
            worst = max(worst, *caught_up)
        print(f"  {kind:<22}{_told(caught_up)}   {_told(back) if back else ''}", flush=True)
    dead = platform.dead_letters()
    print(f"  worst {worst:.1f} s (bound {WITHIN_S:.0f}), {dead} dead letters")
    return int(worst > WITHIN_S or dead > 0)


def _told(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):4.1f} s, worst {max(seconds):4.1f} s"


def _until(holds: Callable[[], bool], within_s: float) -> None:
    end = time.monotonic() + within_s
    while True:
        try:
            if holds():
                return
        except Exception:  # what is to be asked may have been killed, or is not there yet
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within_s:.0f} s")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
