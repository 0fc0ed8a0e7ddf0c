"""Runs the platform's programs under supervisord, which restarts what dies. Which programs they are stands in
programs.py.

supervisord is our child and dies with us; its children die with it (child.py). If it alone dies,
`restart_dead` starts everything again.
"""

from __future__ import annotations

import contextlib
import re
import resource
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from exchange_platform.local.orphans import UP_ID, end, is_alive, marked
from exchange_platform.local.programs import CHECKOUT, Program
from exchange_platform.process.back_off import BackOff
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock

RESTARTS = BackOff(first_s=1.0, max_s=30.0)
"""Between two starts of supervisord; and no program that keeps dying is left waiting for longer than its
`max_s`.
"""
_STEADY_S = 60.0
"""What ran for so long did not die of how it was started."""
_MAX_OPEN_FILES = 4096
_EXITED = re.compile(r"(?:WARN|INFO) exited: (\S+) \((.+?)(?:; (?:not )?expected)?\)")
_SUPERVISORD = """[supervisord]
nodaemon=true
silent=false
minfds={open_files}
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
    """One program's state: supervisord's word for it, its pid (0: none), seconds since it started, and its
    deaths so far.

    `last_exit` is how it last ended, such as `exit status 1` or `terminated by SIGKILL`; empty if it did not.
    """

    name: str
    state: str
    pid: int
    up_s: float
    deaths: int
    last_exit: str = ""

    @property
    def runs(self) -> bool:
        """Whether it runs, as far as supervisord knows, which says STARTING for a program's first seconds
        (programs.py).
        """
        return self.state == "RUNNING" or (self.state == "STARTING" and self.pid > 0 and self.up_s >= 1)


class _Output:
    """What supervisord prints, kept in memory: a file of it could not be written on a full disk, just when it
    is needed.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines: deque[str] = deque(maxlen=100)
        self.exits: dict[str, str] = {}
        self._thread = threading.Thread(target=self._drain, args=(stream,), daemon=True)
        self._thread.start()

    def reason(self) -> str:
        """The last error that it printed before it ended, or its last line."""
        self._thread.join(1.0)
        lines = [line for line in reversed(self._lines) if line.strip()]
        errors = [line for line in lines if line.startswith("Error:")]
        return next(iter([*errors, *lines]), "it printed nothing")

    def _drain(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                line = raw.decode(errors="replace").rstrip()
                self._lines.append(line)
                if exited := _EXITED.search(line):
                    self.exits[exited[1]] = exited[2]


class Processes:
    """All programs of one `up`. Call from the thread that lives as long as the process: children die
    with it.
    """

    def __init__(
        self,
        data_dir: Path,
        programs: Sequence[Program],
        environment: dict[str, str],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.programs = programs
        self.restarts = 0
        self.last_error: str | None = None
        """Why supervisord does not run now."""
        self._clock = clock
        self._failures = 0
        self._started_at_s = 0.0
        self._died_at_s: float | None = None
        self._waiting_since: dict[str, float] = {}
        self._aside: list[subprocess.Popen[bytes]] = []
        self._run_dir = data_dir / "run"
        self._log_dir = data_dir / "logs"
        self._environment = environment
        self._up_id = environment[UP_ID]
        self._supervisord: subprocess.Popen[bytes] | None = None
        self._output: _Output | None = None
        self._reaper: subprocess.Popen[bytes] | None = None
        self._starts: dict[str, int] = {}
        self._deaths: dict[str, deque[float]] = {program.name: deque(maxlen=1000) for program in programs}

    def start(self) -> None:
        """Start the reaper, supervisord and, through it, every program. They are starting when it returns."""
        for directory in (self._run_dir, self._log_dir):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)
        sections = "".join(program.section() for program in self.programs)
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[
            0
        ]  # supervisord ends where it is allowed fewer than it wants
        open_files = _MAX_OPEN_FILES if allowed == resource.RLIM_INFINITY else min(allowed, _MAX_OPEN_FILES)
        (self._run_dir / "supervisord.conf").write_text(_SUPERVISORD.format(open_files=open_files) + sections)
        self._start_reaper()
        self._start_supervisord()

    def restart_dead(self, *, retry_now: bool = False) -> list[str]:
        """Start again what supervisord can't, itself and the reaper, later with each failure. Returns what is
        new about it.

        A program that keeps dying is tried again after `RESTARTS.max_s` at the latest, with `retry_now` at
        once.
        """
        said: list[str] = []
        if self._reaper is not None and self._reaper.poll() is not None:
            said.append("the reaper died; started again")
            self._start_reaper()
        if self._supervisord is not None and self._supervisord.poll() is not None:
            said += self._mend_supervisord(self._supervisord.returncode, retry_now=retry_now)
        else:
            if self._clock.monotonic_s() - self._started_at_s >= _STEADY_S:
                self._failures, self.last_error = 0, None
            self._retry_the_dying(retry_now=retry_now)
        return said

    def _mend_supervisord(self, returncode: int, *, retry_now: bool) -> list[str]:
        """Start supervisord again when it is time; its death is said with its reason once, as long as it is
        the same.
        """
        said: list[str] = []
        now_s = self._clock.monotonic_s()
        if self._died_at_s is None:
            self._died_at_s = now_s
            self._failures += 1
            why = f"supervisord died (status {returncode})"
            if returncode >= 0 and self._output is not None:  # killed by a signal it says nothing
                why += f": {self._output.reason()}"
            if why != self.last_error or self._failures == 1:
                said.append(f"{why}; every program is started again with it")
            self.last_error = why
            end(lambda: marked(self._up_id))
            self._starts.clear()
        pause_s = (
            RESTARTS.pause_s(self._failures) if self._failures > 1 else 0.0
        )  # one death is no reason to wait
        if retry_now or now_s - self._died_at_s >= pause_s:
            self.restarts += 1
            try:
                self._start_supervisord()
            except OSError as error:  # no process, no memory, no room
                self._died_at_s, self._failures = now_s, self._failures + 1
                why = f"supervisord can't be started: {error.strerror or error}"
                said += [why] if why != self.last_error else []
                self.last_error = why
        return said

    def _retry_the_dying(self, *, retry_now: bool) -> None:
        """Cut supervisord's own pauses short: they grow by a second with each death, without bound."""
        now_s = self._clock.monotonic_s()
        waiting = [state.name for state in self.states() if state.state == "BACKOFF"]
        self._waiting_since = {name: self._waiting_since.get(name, now_s) for name in waiting}
        for name, since_s in self._waiting_since.items():
            if retry_now or now_s - since_s >= RESTARTS.max_s:
                with (
                    contextlib.suppress(SupervisorSilent, xmlrpc.client.Fault),
                    self._supervisor() as supervisor,
                ):
                    supervisor.stopProcess(name, False)
                    supervisor.startProcess(name, False)

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
        """Stop these programs for good, those that there are; they have ended, or were killed, when this
        returns.
        """
        with contextlib.suppress(SupervisorSilent):
            self._stop_together([program for program in self.programs if program.name in names])

    def start_some(self, *names: str) -> None:
        """Start these again, of those that there are."""
        for name in names:
            with contextlib.suppress(SupervisorSilent, xmlrpc.client.Fault), self._supervisor() as supervisor:
                supervisor.startProcess(name, False)

    def run_aside(self, name: str, *arguments: str) -> None:
        """Start a program of Dagster's that ends by itself; what it prints goes into a log of its name."""
        with contextlib.suppress(OSError), (self._log_dir / f"{name}.log").open("ab") as log:
            self._aside.append(
                subprocess.Popen(
                    [sys.executable, *arguments],
                    cwd=self._environment[CHECKOUT],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        self._aside = [process for process in self._aside if process.poll() is None]

    def stop(self) -> list[int]:
        """Stop every program, the latest stage first, then whatever they left; returns the pids that would
        not end.
        """
        with contextlib.suppress(SupervisorSilent):
            for stage in sorted({program.stage for program in self.programs}, reverse=True):
                self._stop_together([program for program in self.programs if program.stage == stage])
        if self._supervisord is not None:
            self._supervisord.kill()  # it has nothing left to do; what it could not stop dies with it
            self._supervisord.wait()
        left = end(lambda: marked(self._up_id))
        if self._reaper is not None:
            self._reaper.kill()  # for whatever would not end it could do no more
            self._reaper.wait()
            self._reaper.stdin.close()  # type: ignore[union-attr]
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
        self._started_at_s = self._clock.monotonic_s()
        supervisord = self._supervisord = subprocess.Popen(
            [
                *(sys.executable, "-S", "-E", str(Path(__file__).with_name("child.py"))),
                *(
                    sys.executable,
                    "-m",
                    "exchange_platform.local.supervisord",
                    "-n",
                    "-c",
                    "supervisord.conf",
                ),
            ],
            cwd=self._run_dir,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for `up`, which stops them in order
        )
        self._died_at_s = None
        self._output = _Output(supervisord.stdout)  # type: ignore[arg-type]

    def _start_reaper(self) -> None:
        unmarked = {name: value for name, value in self._environment.items() if name != UP_ID}
        self._reaper = subprocess.Popen(
            [sys.executable, "-m", "exchange_platform.local.reaper", self._up_id],
            env=unmarked,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @contextlib.contextmanager
    def _supervisor(self) -> Iterator[Any]:
        """Supervisord's RPC. Its socket is reached through its working directory: a socket's path has at most
        107 bytes.
        """
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
        last_exit = self._output.exits.get(name, "") if self._output is not None else ""
        return ProcessState(
            name, str(info["statename"]), int(info["pid"]), up_s, len(self._deaths[name]), last_exit
        )
