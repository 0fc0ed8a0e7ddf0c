"""Whether everything that `up` started answers, and what it is waited for. Not here: starting it (processes.py)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.aws import aws_client
from exchange_platform.local.dagster_pages import DagsterPages, PagesSilent
from exchange_platform.local.processes import Processes
from exchange_platform.settings import Settings
from exchange_platform.status import SOURCES, StatusReader
from exchange_platform.stores.checkpoints import StoreUnavailable


class Health:
    """Looks at each part until it was seen well once; `waiting_for` says which were not yet."""

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
        self._client = aws_client(settings, "kinesis", read_timeout_s=2.0)
        self._unseen: dict[str, Callable[[], bool]] = {
            "the AWS emulator": self._emulator_answers,
            "the operators' pages": self._pages_answer,
            "Dagster's code location": self._code_is_loaded,
            "Dagster's daemon": self._daemons_beat,
            "the consumer runs": self._consumers_run,
            "the API": lambda: _is_healthy(self._api_url),
            "the exchange's gateway": lambda: _is_healthy(self._exchange_url),
        }
        if any(program.name == "exchange" for program in processes.programs):
            self._unseen["the exchange"] = self._exchange_runs

    def waiting_for(self) -> list[str]:
        """Look at what was not well yet; returns what still is not."""
        for name, looks_well in list(self._unseen.items()):
            with contextlib.suppress(PagesSilent, StoreUnavailable, ClientError, BotoCoreError):
                if looks_well():
                    del self._unseen[name]
        return list(self._unseen)

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def _emulator_answers(self) -> bool:
        return bool(self._client.describe_stream_summary(StreamName=self._settings.bets_stream))

    def _pages_answer(self) -> bool:
        return bool(self._pages.version())

    def _code_is_loaded(self) -> bool:
        if "the operators' pages" in self._unseen or self._pages.load_error() is not None:
            return False
        # Every worker of an earlier `up` is dead by now: what still says that it runs does not.
        self.abandoned_runs = self._pages.end_abandoned_runs(self._began_s)
        return True

    def _daemons_beat(self) -> bool:
        return "the operators' pages" not in self._unseen and not self._pages.unhealthy_daemons()

    def _consumers_run(self) -> bool:
        consumers = self._reader.read(with_lake=False).consumers
        return {consumer.source for consumer in consumers if consumer.state == "running"} == set(SOURCES)

    def _exchange_runs(self) -> bool:
        return any(state.name == "exchange" and state.runs for state in self._processes.states())


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False
