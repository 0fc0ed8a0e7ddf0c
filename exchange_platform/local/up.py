"""`exchange-platform up`: starts everything here, watches it, stops it. Not here: its looks (screen.py)."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import exchange_platform
from exchange_platform.local.dagster_pages import DagsterPages, PagesSilent
from exchange_platform.local.damage import refuse_damage
from exchange_platform.local.display import status_line
from exchange_platform.local.failures import Failures
from exchange_platform.local.health import CODE_LOADED, Health
from exchange_platform.local.machine_watch import MachineNews, MachineWatch
from exchange_platform.local.orphans import end, marked, marked_for
from exchange_platform.local.processes import Processes
from exchange_platform.local.programs import (
    HOST,
    Ports,
    api_url,
    code_socket,
    environment,
    exchange_url,
    free_ports,
    is_free,
    local_programs,
    remove_code_socket,
    write_dagster_home,
)
from exchange_platform.local.progress import Signs, StartPatience, StartWork
from exchange_platform.local.running import (
    CannotStart,
    data_dir_held,
    note_faults,
    remove_platform_file,
    write_api_file,
    write_platform_file,
)
from exchange_platform.local.screen import Screen
from exchange_platform.local.verdict import Lags, judge
from exchange_platform.operations.status import PlatformStatus, StatusReader
from exchange_platform.process.clock import MAX_SKEW_S
from exchange_platform.process.exchange_signing import MIN_KEY
from exchange_platform.process.machine import faults_of, out_of_memory_kills, raise_limits
from exchange_platform.settings import OUT_OF_MEMORY_KILLS, Settings, load_settings, read_platform_file
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.schema import migrate

DEFAULT_PORT = 3000
DEFAULT_API_PORT = 8000
DEFAULT_RATE = 50.0
FLOW_S = 90.0
_DEATHS_AT_START = 4
_FAILED_RUNS_AT_START = 8
_LOOK_S = 1.0
_LAKE_EVERY = 5
_RUNS_END_S = 6.0
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start: `rate` in executions a second; `for_s` None runs until it is stopped; `port` of the
    Dagster UI, `api_port` of the API.
    """

    simulated_exchange: bool = True
    rate: float = DEFAULT_RATE
    for_s: float | None = None
    port: int = DEFAULT_PORT
    api_port: int = DEFAULT_API_PORT


def run_platform(settings: Settings, wanted: Launch) -> int:
    """Run the platform in the foreground until `wanted.for_s` is over or a signal asks for the end; nothing
    is left behind.

    Returns the exit status: 0 if all went well. Call from the main thread. Raises `AlreadyRunning` and
    `CannotStart`.
    """
    checkout = find_checkout()
    raise_limits()
    with _ending_on_signals() as ending, data_dir_held(settings.data_dir):
        _refuse_what_can_not_work(settings.data_dir)
        begun_anyway = refuse_damage(settings.data_dir)
        for port, option in ((wanted.port, "--port"), (wanted.api_port, "--api-port")):
            if not is_free(port):
                raise CannotStart(
                    f"port {port} is taken by another program, or not allowed to this user;"
                    f" name a free one with {option}"
                )
        platform = _Platform(settings.data_dir, checkout, wanted, ending, begun_anyway)
        try:
            return platform.run()
        finally:
            platform.close()


def find_checkout() -> Path:
    """The checkout that this package runs from: Dagster loads its definitions there. Raises `CannotStart`."""
    checkout = Path(exchange_platform.__file__).resolve().parents[1]
    for needed in ("workspace.yaml", "deployments/dagster.yaml"):
        if not (checkout / needed).is_file():
            raise CannotStart(
                f"`up` runs from a checkout, and {checkout} is none ({needed} is missing): clone the repository and use"
                " its .venv/bin/exchange-platform (`make setup` makes it)"
            )
    return checkout


def _refuse_what_can_not_work(data_dir: Path) -> None:
    """Raise `CannotStart` where the machine lacks what no part of the platform works without."""
    refused = [fault.text for fault in faults_of(data_dir) if fault.stops]
    if refused:
        raise CannotStart("; ".join(refused))


class _Platform:
    """One platform from start to end."""

    def __init__(
        self, data_dir: Path, checkout: Path, wanted: Launch, ending: threading.Event, warnings: Sequence[str]
    ) -> None:
        self._wanted = wanted
        self._warnings = warnings
        self._ending = ending
        self._data_dir = data_dir
        self._began_s = time.time()
        emulator, exchange = free_ports(2)
        ports = Ports(wanted.port, emulator, wanted.api_port, exchange)
        self._up_id = uuid.uuid4().hex
        self._pages = DagsterPages(f"http://{HOST}:{wanted.port}")
        self._api_url = api_url(ports)
        self._exchange_url = exchange_url(ports)
        self._exchange_key = secrets.token_urlsafe(MIN_KEY)
        data_dir.mkdir(parents=True, exist_ok=True)
        self._emulator_key = secrets.token_urlsafe(32)
        self._code_socket = code_socket(data_dir)
        self._settings = load_settings(
            data_dir,
            aws_endpoint_url=f"http://{HOST}:{emulator}",
            exchange_url=self._exchange_url,
            emulator_key=self._emulator_key,
            exchange_key=self._exchange_key,
        )
        write_dagster_home(data_dir, checkout, self._code_socket)
        surroundings = environment(
            os.environ,
            data_dir=data_dir,
            checkout=checkout,
            up_id=self._up_id,
            ports=ports,
            api_token=write_api_file(data_dir, self._api_url),
            emulator_key=self._emulator_key,
            code_socket=self._code_socket,
            exchange_key=self._exchange_key,
        )
        rate = wanted.rate if wanted.simulated_exchange else None
        self._processes = Processes(data_dir, local_programs(ports, exchange_rate=rate), surroundings)
        self._screen = Screen()
        self._reader: StatusReader | None = None
        self._lags = Lags()
        self._failures = Failures(self._processes, self._screen, data_dir / "logs")
        self._machine = MachineWatch(data_dir)
        self._holds_exchange = False

    def run(self) -> int:
        """Start, watch, and judge if that was asked for."""
        with self._screen:
            self._prepare()
            reader = self._reader = StatusReader(self._settings)
            before = reader.read()
            self._processes.start()
            self._await_health(reader)
            if not self._watch(reader, before):
                return 0 if self._wanted.for_s is None else INTERRUPTED
            if self._wanted.simulated_exchange:
                self._screen.say("Stopping the exchange, letting the consumers catch up ...")
                self._processes.stop_some("exchange")
            verdict = judge(
                self._settings,
                reader,
                self._processes,
                self._pages,
                began_s=self._began_s,
                before=before,
                lags=self._lags,
                data_expected=self._wanted.simulated_exchange,
            )
        self._screen.show_verdict(verdict)
        return 1 if verdict.reasons else 0

    def close(self) -> None:
        """Stop everything; says so, and what would not stop."""
        self._screen.say("Stopping ...")
        began = time.monotonic()
        self._processes.stop_some("exchange", "dagster-daemon")  # the daemon would start another run
        with contextlib.suppress(PagesSilent):
            self._pages.end_runs(_RUNS_END_S)
        left = self._processes.stop()
        self._machine.close()
        remove_code_socket(self._code_socket, self._data_dir)
        remove_platform_file(self._data_dir)
        if self._reader is not None:
            self._reader.close()
        if left:
            self._screen.warn(f"these processes would not end: {', '.join(map(str, left))}")
        self._screen.say(f"Stopped ({time.monotonic() - began:.1f} s). The data stays in {self._data_dir}")

    def _prepare(self) -> None:
        """What must be there before the first program starts; whatever an earlier `up` left running ends."""
        end(lambda: marked_for(self._data_dir, but=self._up_id))
        if left := read_platform_file(self._data_dir).get("code_socket"):
            remove_code_socket(Path(str(left)), self._data_dir)
        self._screen.say(f"Preparing {self._data_dir} ...")
        for warning in self._warnings:
            self._screen.warn(warning)
        try:
            migrate(self._settings)
        except StoreUnavailable as error:
            raise CannotStart(f"the stores can't be prepared: {error}") from error
        write_platform_file(
            self._data_dir,
            {
                "pid": os.getpid(),
                "up_id": self._up_id,
                "aws_endpoint_url": self._settings.aws_endpoint_url,
                "emulator_key": self._emulator_key,
                "code_socket": str(self._code_socket),
                "dagster_url": self._pages.url,
                "api_url": self._api_url,
                "exchange_url": self._exchange_url,
                "exchange_key": self._exchange_key,
                "exchange": "simulated" if self._wanted.simulated_exchange else "none",
                "started_at_us": int(self._began_s * 1e6),
                OUT_OF_MEMORY_KILLS: out_of_memory_kills(),
            },
        )

    def _await_health(self, reader: StatusReader) -> None:
        """Wait until everything answers. Raises `CannotStart` if something keeps dying or all stalls."""
        health = Health(
            self._settings,
            self._processes,
            self._pages,
            reader,
            api_url=self._api_url,
            exchange_url=self._exchange_url,
            began_s=self._began_s,
        )
        patience, work = StartPatience(), StartWork(lambda: marked(self._up_id))
        sensors_looked_at = False
        try:
            while waiting := health.waiting_for():
                described = health.described(waiting)
                self._screen.show_waiting(described, time.time() - self._began_s)
                self._mend()
                self._give_up_on_the_dying(health)
                if CODE_LOADED not in waiting and not sensors_looked_at:
                    sensors_looked_at = True
                    if (
                        self._newest_tick_s() - time.time() > MAX_SKEW_S
                    ):  # the clock was set back since the last `up`
                        self._let_sensors_tick()
                runs = {run.run_id: run.status for run in health.runs}
                patience.note(Signs(frozenset(waiting), work.is_busy(), runs))
                if why := patience.why_over():
                    raise CannotStart(
                        f"there is no answer from {', '.join(described)}: {why}; see {self._data_dir / 'logs'}"
                    )
                if self._ending.wait(0.2):
                    return
        finally:
            health.close()
        self._screen.say(
            f"Everything runs after {time.time() - self._began_s:.1f} s: operators {self._pages.url}, API {self._api_url}"
        )
        if health.abandoned_runs:
            self._screen.say(
                f"{health.abandoned_runs} runs of an earlier platform that was killed are marked as canceled"
            )

    def _watch(self, reader: StatusReader, before: PlatformStatus) -> bool:
        """Show the status until the time is over (true) or a signal asks for the end (false)."""
        looks = 0
        healthy_at = time.monotonic()
        flowing_at = None if self._wanted.simulated_exchange else healthy_at
        patience, work = StartPatience(stall_s=FLOW_S), StartWork(lambda: marked(self._up_id))
        status: PlatformStatus | None = None
        while not self._ending.is_set():
            self._mend()
            with_lake = looks % _LAKE_EVERY == 0
            looks += 1
            held = ("exchange",) if self._holds_exchange else ()
            notes = self._failures.say_new(self._processes.states(), held=held)
            try:
                fresh = reader.read(with_lake=with_lake)
            except Exception as error:  # whatever it is: showing the platform must not end it
                notes.append(f"the status can't be read: {' '.join(str(error).split()) or repr(error)}")
            else:
                known = status.executions if status is not None and not with_lake else fresh.executions
                status = msgspec.structs.replace(fresh, executions=known)
                self._lags.add(status)
                if flowing_at is None and status.records > before.records:
                    flowing_at = time.monotonic()
                    self._screen.say(f"Data flows after {time.time() - self._began_s:.1f} s")
            if status is not None:
                self._screen.show_status(status, self._processes.states(), notes)
            now = time.monotonic()
            if self._wanted.for_s is not None:
                if flowing_at is not None and now - flowing_at >= self._wanted.for_s:
                    return True
                if flowing_at is None:
                    patience.note(Signs(frozenset(), work.is_busy()))
                    if why := patience.why_over():
                        self._screen.warn(f"no data flowed within {now - healthy_at:.0f} s, and {why}")
                        return True
            self._ending.wait(_LOOK_S)
        if status is not None:
            self._screen.say(status_line(status))
        return False

    def _mend(self) -> None:
        """Look at the machine, start again what died, and note what is wrong where others look."""
        states = self._processes.states()
        news = self._machine.look(states)
        for text in news.begun:
            self._screen.warn(text)
        for text in news.over:
            self._screen.say(text)
        if news.set_back:
            self._let_sensors_tick()
        self._hold_the_exchange(news)
        for said in self._processes.restart_dead(retry_now=bool(news.over)):
            self._screen.warn(said)
        note_faults(self._data_dir, [*(fault.text for fault in news.faults), *self._failures.noted()])

    def _newest_tick_s(self) -> float:
        try:
            return self._pages.newest_tick_s()
        except PagesSilent:
            return 0.0

    def _let_sensors_tick(self) -> None:
        """Dagster would wait until the clock is again where it was."""
        self._processes.run_aside("set-back-clock", "-m", "deployments.set_back_clock")

    def _hold_the_exchange(self, news: MachineNews) -> None:
        """On a full disk nobody writes who need not, so that there is room for saying so."""
        if not self._wanted.simulated_exchange or news.has_room is not self._holds_exchange:
            return
        self._holds_exchange = not news.has_room
        if self._holds_exchange:
            self._screen.warn("the simulated exchange is held until there is room")
            self._processes.stop_some("exchange")
        else:
            self._screen.say("the simulated exchange goes on")
            self._processes.start_some("exchange")

    def _give_up_on_the_dying(self, health: Health) -> None:
        failed = [run for run in health.runs if run.status == "FAILURE"]
        if len(failed) >= _FAILED_RUNS_AT_START:
            jobs = ", ".join(sorted({run.job for run in failed}))
            raise CannotStart(
                f"{len(failed)} runs failed while starting ({jobs}); {self._pages.url}/runs/{failed[0].run_id} says why"
            )
        states = self._processes.states()
        self._failures.say_new(states)
        for state in states:
            if state.deaths >= _DEATHS_AT_START:
                self._failures.show_log(state.name)
                raise CannotStart(
                    f"{state.name} died {state.deaths} times while starting; its log is {self._data_dir / 'logs' / state.name}.log"
                )


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and a closed terminal set; they interrupt nothing else until the end."""
    ending = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: dict[signal.Signals, Any] = {
        number: signal.signal(number, lambda *_: ending.set()) for number in numbers
    }
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
