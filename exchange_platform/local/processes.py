"""Runs the platform's programs under supervisord, which restarts what dies. Not here: which programs (programs.py).

supervisord is our child and dies with us; its children die with it (child.py). If it alone dies, `mend` starts everything anew.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import xmlrpc.client
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exchange_platform.local.leftovers import UP_ID, end, is_alive, marked
from exchange_platform.local.programs import Program

_SUPERVISORD = """[supervisord]
nodaemon=true
silent=true
logfile=../logs/supervisord.log
logfile_maxbytes=10MB
logfile_backups=2
pidfile=supervisord.pid
childlogdir=../logs
[unix_http_server]
file=/proc/self/cwd/supervisor.sock
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


class SupervisorSilent(Exception):
    """supervisord does not answer: it has died, or is starting or ending."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One program's state: supervisord's word for it, its pid (0: none), seconds since it started, and its deaths so far."""

    name: str
    state: str
    pid: int
    up_s: float
    deaths: int

    @property
    def runs(self) -> bool:
        """Whether it runs, as far as supervisord knows."""
        return self.state == "RUNNING"


class Processes:
    """All programs of one `up`. Call from the thread that lives as long as the process: children die with it."""

    def __init__(self, data_dir: Path, programs: Sequence[Program], environment: dict[str, str]) -> None:
        self.programs = programs
        self.restarts = 0
        self._run_dir = data_dir / "run"
        self._log_dir = data_dir / "logs"
        self._environment = environment
        self._up_id = environment[UP_ID]
        self._supervisord: subprocess.Popen[bytes] | None = None
        self._sweeper: subprocess.Popen[bytes] | None = None
        self._starts: dict[str, int] = {}
        self._deaths: dict[str, deque[float]] = {program.name: deque(maxlen=1000) for program in programs}

    def start(self) -> None:
        """Start the sweeper, supervisord and, through it, every program. They are starting when it returns."""
        for directory in (self._run_dir, self._log_dir):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)
        self._start_sweeper()
        self._start_supervisord()

    def mend(self) -> list[str]:
        """Start again what supervisord can't: itself and the sweeper. Says what had died."""
        said: list[str] = []
        if self._sweeper is not None and self._sweeper.poll() is not None:
            said.append("the sweeper died; started again")
            self._start_sweeper()
        if self._supervisord is not None and self._supervisord.poll() is not None:
            said.append(
                f"supervisord died (status {self._supervisord.returncode}); started again with every program"
            )
            self.restarts += 1
            end(lambda: marked(self._up_id))
            self._starts.clear()
            self._start_supervisord()
        return said

    def states(self) -> list[ProcessState]:
        """Every program's state, in the order they were started. Empty while supervisord does not answer."""
        try:
            with self._supervisor() as supervisor:
                infos = {info["name"]: info for info in supervisor.getAllProcessInfo()}
        except SupervisorSilent:
            return []
        return [self._state(infos[program.name]) for program in self.programs if program.name in infos]

    def deaths_lately(self, name: str, within_s: float = 60.0) -> int:
        """How often the program died in the last seconds."""
        since = time.monotonic() - within_s
        return sum(1 for at in self._deaths[name] if at >= since)

    def last_lines(self, name: str, count: int = 12) -> list[str]:
        """The newest lines of a program's log."""
        try:
            with (self._log_dir / f"{name}.log").open("rb") as log:
                log.seek(0, 2)
                log.seek(max(0, log.tell() - 16_384))
                return log.read().decode(errors="replace").splitlines()[-count:]
        except OSError:
            return []

    def stop_some(self, *names: str) -> None:
        """Stop these programs for good, those that there are; they have ended, or were killed, when this returns."""
        with contextlib.suppress(SupervisorSilent):
            self._stop_together([program for program in self.programs if program.name in names])

    def stop(self) -> list[int]:
        """Stop every program, the latest stage first, then whatever they left; returns the pids that would not end."""
        with contextlib.suppress(SupervisorSilent):
            for stage in sorted({program.stage for program in self.programs}, reverse=True):
                self._stop_together([program for program in self.programs if program.stage == stage])
        if self._supervisord is not None:
            self._supervisord.kill()  # it has nothing left to do; what it could not stop dies with it
            self._supervisord.wait()
        left = end(lambda: marked(self._up_id))
        if self._sweeper is not None:
            self._sweeper.kill()  # for whatever would not end it could do no more
            self._sweeper.wait()
            self._sweeper.stdin.close()  # type: ignore[union-attr]
        for name in ("supervisor.sock", "supervisord.pid"):
            (self._run_dir / name).unlink(missing_ok=True)
        return left

    def _stop_together(self, programs: Sequence[Program]) -> None:
        if not programs:
            return
        with self._supervisor() as supervisor:
            for program in programs:
                with contextlib.suppress(xmlrpc.client.Fault):  # it does not run
                    supervisor.stopProcess(program.name, False)
        until = time.monotonic() + max(program.stop_s for program in programs) + 2
        names = {program.name for program in programs}
        while time.monotonic() < until:
            if all(state.pid == 0 for state in self.states() if state.name in names):
                return
            time.sleep(0.05)

    def _start_supervisord(self) -> None:
        (self._run_dir / "supervisor.sock").unlink(missing_ok=True)
        sections = "".join(program.section() for program in self.programs)
        (self._run_dir / "supervisord.conf").write_text(_SUPERVISORD + sections)
        with (self._log_dir / "supervisord.out").open("wb") as output:
            self._supervisord = subprocess.Popen(
                [
                    *(sys.executable, "-S", "-E", str(Path(__file__).with_name("child.py"))),
                    *(sys.executable, "-m", "supervisor.supervisord", "-n", "-c", "supervisord.conf"),
                ],
                cwd=self._run_dir,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for `up`, which stops them in order
            )

    def _start_sweeper(self) -> None:
        unmarked = {name: value for name, value in self._environment.items() if name != UP_ID}
        self._sweeper = subprocess.Popen(
            [sys.executable, "-m", "exchange_platform.local.sweeper", self._up_id],
            env=unmarked,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @contextlib.contextmanager
    def _supervisor(self) -> Iterator[Any]:
        """Supervisord's RPC. Its socket is reached through its working directory: a socket's path has 107 bytes at the most."""
        from supervisor.xmlrpc import SupervisorTransport

        process = self._supervisord
        if process is None or process.poll() is not None or not is_alive(process.pid):
            raise SupervisorSilent("supervisord does not run")
        transport = SupervisorTransport(None, None, f"unix:///proc/{process.pid}/cwd/supervisor.sock")
        try:
            yield xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor
        except (OSError, xmlrpc.client.ProtocolError) as error:
            raise SupervisorSilent(str(error)) from error
        except xmlrpc.client.Fault as fault:
            raise SupervisorSilent(fault.faultString) from fault
        finally:
            transport.close()

    def _state(self, info: dict[str, Any]) -> ProcessState:
        name = str(info["name"])
        started = int(info["start"])
        if started and self._starts.get(name) not in (None, started):
            self._deaths[name].append(time.monotonic())
        if started:
            self._starts[name] = started
        up_s = max(0.0, float(info["now"]) - started) if info["pid"] else 0.0
        return ProcessState(name, str(info["statename"]), int(info["pid"]), up_s, len(self._deaths[name]))
