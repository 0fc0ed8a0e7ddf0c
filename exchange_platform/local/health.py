"""Whether everything that `up` started answers, and what it is waited for. Not here: starting it
(processes.py).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.local.dagster_pages import DagsterPages, PagesSilent, RunState
from exchange_platform.local.processes import Processes
from exchange_platform.operations.status import SOURCES, StatusReader
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.checkpoints import StoreUnavailable

CODE_LOADED = "Dagster's code location"
CONSUMER_RUNS = "the consumer runs"
_RUNS_EVERY_S = 2.0


class Health:
    """Looks at each part until it was seen well once; `waiting_for` says which were not yet, `runs` how far
    Dagster's runs are.
    """

    def __init__(
        self,
        settings: Settings,
        processes: Processes,
        pages: DagsterPages,
        reader: StatusReader,
        *,
        api_url: str,
        exchange_url: str,
        began_s: float,
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._pages = pages
        self._reader = reader
        self._api_url = api_url
        self._exchange_url = exchange_url
        self._began_s = began_s
        self.abandoned_runs = 0
        self.runs: list[RunState] = []
        self._runs_at_s = 0.0
        self._client = aws_client(settings, "kinesis", read_timeout_s=2.0)
        self._unseen: dict[str, Callable[[], bool]] = {
            "the AWS emulator": self._emulator_answers,
            "the Dagster UI": self._pages_answer,
            CODE_LOADED: self._code_is_loaded,
            "Dagster's daemon": self._daemons_beat,
            CONSUMER_RUNS: self._consumers_run,
            "the API": lambda: _is_healthy(self._api_url),
            "the exchange's gateway": lambda: _is_healthy(self._exchange_url),
        }
        if any(program.name == "exchange" for program in processes.programs):
            self._unseen["the exchange"] = self._exchange_runs

    def waiting_for(self) -> list[str]:
        """Look at what was not well yet; returns what still is not."""
        self._look_at_runs()
        for name, looks_well in list(self._unseen.items()):
            with contextlib.suppress(PagesSilent, StoreUnavailable, ClientError, BotoCoreError):
                if looks_well():
                    del self._unseen[name]
        return list(self._unseen)

    def described(self, waiting: Sequence[str]) -> list[str]:
        """The same, and what each that depends on runs of Dagster waits for."""
        unfinished = [f"{run.job} is {run.status.lower()}" for run in self.runs if run.is_unfinished]
        runs = f" ({', '.join(sorted(set(unfinished)))})" if unfinished else ""
        return [f"{name}{runs}" if name == CONSUMER_RUNS else name for name in waiting]

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def _look_at_runs(self) -> None:
        now_s = time.monotonic()
        if "the Dagster UI" not in self._unseen and now_s - self._runs_at_s >= _RUNS_EVERY_S:
            self._runs_at_s = now_s
            with contextlib.suppress(PagesSilent):
                self.runs = self._pages.run_states(self._began_s)

    def _emulator_answers(self) -> bool:
        return bool(self._client.describe_stream_summary(StreamName=self._settings.bets_stream))

    def _pages_answer(self) -> bool:
        return bool(self._pages.version())

    def _code_is_loaded(self) -> bool:
        if "the Dagster UI" in self._unseen or self._pages.load_error() is not None:
            return False
        # Every worker of an earlier `up` is dead by now: what still says that it runs does not.
        self.abandoned_runs = self._pages.end_abandoned_runs(self._began_s)
        return True

    def _daemons_beat(self) -> bool:
        return "the Dagster UI" not in self._unseen and not self._pages.unhealthy_daemons()

    def _consumers_run(self) -> bool:
        consumers = self._reader.read(with_lake=False).consumers
        return {consumer.source for consumer in consumers if consumer.state == "running"} == set(SOURCES)

    def _exchange_runs(self) -> bool:
        return any(state.name == "exchange" and state.runs for state in self._processes.states())


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(
            f"{url}/health", timeout=2.0, trust_env=False, verify=url.startswith("https:")
        ).is_success
    except httpx.HTTPError:
        return False
