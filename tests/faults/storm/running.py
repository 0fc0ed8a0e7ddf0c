"""A real `exchange-platform up` in a directory of its own: started, looked at, its exchange stopped,
stopped.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.kills import KINDS
from exchange_platform.local.orphans import marked, marked_for
from exchange_platform.local.programs import free_ports
from exchange_platform.settings import read_platform_file
from tests.faults.audit.audit import JOURNAL
from tests.faults.audit.exchange import unpublished

CHECKOUT = Path(__file__).parents[3]
_CHILD = str(CHECKOUT / "exchange_platform" / "local" / "child.py")
START_S = 400.0
"""`up` itself gives up long before; this is for one that hangs."""
STOP_S = 120.0
_OFTEN = {
    # A thousand people behind one address: what the limits do is not what is tried here.
    "LIMIT_REGISTRATIONS": "2000/minute",
    "LIMIT_REGISTRATIONS_CLIENT": "2000/minute",
    "LIMIT_REGISTRATIONS_CLIENT_ADDRESS": "500/minute",
    "LIMIT_MAILS_ADDRESS": "500/minute",
    "LIMIT_RESENDS": "500/minute",
    "LIMIT_CONFIRMATIONS_CLIENT": "2000/minute",
}
_RUNS = r"spawn_main"
_PROGRAMS = {kind: pattern for kind, pattern in KINDS.items() if pattern != _RUNS}
# What a run has open says whose it is: nobody else opens these.
_OPENED_BY = {
    "run of the bets' consumer": "lake/catalog.sqlite",
    "run of the feed's consumer": "/event-index",
}
OTHER_RUN = "run that mails"


class Running:
    """One `up`, with what it prints in `up.log`."""

    def __init__(self, data_dir: Path, *, rate: int) -> None:
        self.data_dir = data_dir
        self._rate = rate
        self._up: subprocess.Popen[bytes] | None = None
        self._log = data_dir.with_suffix(".log")

    def start(self) -> None:
        """Start it, and wait until everything runs."""
        port, api_port = map(str, free_ports(2))
        environment = {**os.environ, **{f"EXCHANGE_PLATFORM_{name}": rate for name, rate in _OFTEN.items()}}
        with self._log.open("wb") as log:
            self._up = subprocess.Popen(
                [
                    *(sys.executable, "-S", "-E", _CHILD),  # a storm that is killed leaves no platform behind
                    *(sys.executable, "-m", "exchange_platform", "up", "--rate", str(self._rate)),
                    *("--data-dir", str(self.data_dir), "--port", port, "--api-port", api_port),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=CHECKOUT,
                env=environment,
            )
        self.until(lambda: "Everything runs" in self.said(), START_S, "everything to run")
        missing = _PROGRAMS.keys() - self.processes().keys()
        assert not missing, f"not found by their command lines, so never struck: {missing}"

    def said(self) -> str:
        """What `up` has printed."""
        return self._log.read_text(errors="replace")

    def platform_file(self) -> dict[str, Any]:
        """Where its parts are."""
        return read_platform_file(self.data_dir)

    def api(self) -> tuple[str, str]:
        """The API's address and its token."""
        told = json.loads((self.data_dir / "api.json").read_text())
        return told["url"], told["token"]

    def processes(self) -> dict[str, list[psutil.Process]]:
        """What runs now, by kind; kinds of which none runs are left out."""
        mine = set(marked(str(self.platform_file()["up_id"])))
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter(["cmdline"]):
            if process.pid in mine and (kind := _kind(process)) is not None:
                found.setdefault(kind, []).append(process)
        return found

    def stop_exchange(self) -> None:
        """Stop the exchange alone, as an operator does, with nothing left to publish; the rest goes on."""
        self.until(
            lambda: self._exchange("stop") and self._all_is_published(), STOP_S, "the exchange to stop"
        )

    def _all_is_published(self) -> bool:
        if unpublished(self.data_dir / JOURNAL) == 0:
            return True
        self._exchange("start")  # it was given too little time for its last batches
        time.sleep(3.0)
        return False

    def _exchange(self, command: str) -> bool:
        """Have supervisord start or stop the exchange; whether it did."""
        supervisors = self.processes().get("supervisor", [])
        if not supervisors:  # it is being started again itself
            return False
        socket = f"unix:///proc/{supervisors[0].pid}/cwd/supervisor.sock"
        answer = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisorctl", "-s", socket, command, "exchange"],
            capture_output=True,
            check=False,
            timeout=60,
        )
        return answer.returncode == 0

    def stop(self) -> int:
        """Stop all of it; its exit status. Nothing of it may be left."""
        assert self._up is not None
        self._up.send_signal(signal.SIGTERM)
        status = self._up.wait(STOP_S)
        left = marked_for(self.data_dir, but="")
        assert not left, f"`up` left processes behind: {left}"
        return status

    def kill(self) -> None:
        """End whatever is left of it, however it stands."""
        if self._up is not None and self._up.poll() is None:
            self._up.kill()
            self._up.wait()
        for pid in marked_for(self.data_dir, but=""):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def until(self, holds: Callable[[], bool], within_s: float, what: str) -> None:
        """Wait for something; fail with what `up` printed last if it does not come, or `up` has ended."""
        assert self._up is not None
        end = time.monotonic() + within_s
        while not holds():
            if self._up.poll() is not None or time.monotonic() > end:
                why = f"not within {within_s:g} s" if self._up.poll() is None else "`up` has ended"
                raise AssertionError(f"{why}: {what}; it said\n{self.said()[-4000:]}")
            time.sleep(0.2)


def _kind(process: psutil.Process) -> str | None:
    command = " ".join(process.info["cmdline"] or ())
    for kind, pattern in _PROGRAMS.items():
        if re.search(pattern, command):
            return kind
    if not re.search(_RUNS, command):
        return None
    try:
        files = [file.path for file in process.open_files()]
    except psutil.Error:  # it has just ended
        return None
    for kind, part in _OPENED_BY.items():
        if any(part in file for file in files):
            return kind
    return OTHER_RUN
