"""What Dagster's webserver answers about its own health and runs. Not here: what the runs do."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

_UNFINISHED = ["QUEUED", "STARTING", "STARTED", "CANCELING"]
_RUNNING = _UNFINISHED[1:]
_POLL_S = 0.1


class PagesSilent(Exception):
    """The webserver does not answer (yet)."""


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A run that failed."""

    run_id: str
    job: str


@dataclass(frozen=True, slots=True)
class RunState:
    """A run, and Dagster's word for how far it is."""

    run_id: str
    job: str
    status: str

    @property
    def is_unfinished(self) -> bool:
        """Whether it waits, starts or runs."""
        return self.status in _UNFINISHED


class DagsterPages:
    """Asks one webserver. Every method raises `PagesSilent` where it can't be reached or makes no sense."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self.url = url
        self._timeout_s = timeout_s
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def version(self) -> str:
        """The webserver's version."""
        return str(self._ask(f"{self.url}/server_info").get("dagster_webserver_version"))

    def unhealthy_daemons(self) -> list[str]:
        """Required daemons without a fresh heartbeat."""
        answer = self._query(
            "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
        )
        daemons = answer["instance"]["daemonHealth"]["allDaemonStatuses"]
        return [str(one["daemonType"]) for one in daemons if one["required"] and not one["healthy"]]

    def load_error(self) -> str | None:
        """Why the code location could not be loaded; None when it is."""
        answer = self._query(
            "{ workspaceOrError { __typename ... on PythonError { message } ... on Workspace { locationEntries {"
            " name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"
        )["workspaceOrError"]
        entries = answer.get("locationEntries", [])
        if not entries:
            return str(answer.get("message", "no code location"))
        for entry in entries:
            if entry["loadStatus"] == "LOADING":
                return f"{entry['name']} is loading"
            if (entry["locationOrLoadError"] or {}).get("__typename") == "PythonError":
                return str(entry["locationOrLoadError"]["message"])
        return None

    def run_states(self, since_s: float) -> list[RunState]:
        """The newest runs created since then (seconds since 1970 UTC), whatever became of them."""
        runs = self._runs([*_UNFINISHED, "SUCCESS", "FAILURE", "CANCELED"], createdAfter=since_s)
        return [RunState(run["runId"], run["jobName"], run["status"]) for run in runs]

    def newest_tick_s(self) -> float:
        """When a sensor last ticked (seconds since 1970 UTC); 0.0: none did yet."""
        repositories = self._query(
            "{ repositoriesOrError { ... on RepositoryConnection { nodes { sensors { sensorState { ticks(limit: 1) { timestamp } } } } } } }"
        )["repositoriesOrError"].get("nodes", [])
        return max(
            (
                float(tick["timestamp"])
                for repository in repositories
                for sensor in repository["sensors"]
                for tick in sensor["sensorState"]["ticks"]
            ),
            default=0.0,
        )

    def failed_runs(self, since_s: float) -> list[FailedRun]:
        """Runs created since then (seconds since 1970 UTC) that failed."""
        return [
            FailedRun(run["runId"], run["jobName"]) for run in self._runs(["FAILURE"], createdAfter=since_s)
        ]

    def end_abandoned_runs(self, before_s: float) -> int:
        """Mark as canceled what says it runs but was started before; returns how many. For after every worker
        was killed.
        """
        runs = self._runs(_RUNNING, createdBefore=before_s)
        self._terminate(runs, "MARK_AS_CANCELED_IMMEDIATELY")
        return len(runs)

    def end_runs(self, patience_s: float) -> bool:
        """Let every run end as canceled, its work committed; says whether all had within `patience_s`."""
        until = time.monotonic() + patience_s
        self._terminate(self._runs(_UNFINISHED), "SAFE_TERMINATE")
        while self._runs(_UNFINISHED):
            if time.monotonic() > until:
                return False
            time.sleep(_POLL_S)
        return True

    def _terminate(self, runs: list[dict[str, Any]], policy: str) -> None:
        if runs:
            self._query(
                f"mutation ($ids: [String!]!) {{ terminateRuns(runIds: $ids, terminatePolicy: {policy}) {{ __typename }} }}",
                {"ids": [run["runId"] for run in runs]},
            )

    def _runs(self, statuses: list[str], **filters: float) -> list[dict[str, Any]]:
        answer = self._query(
            "query ($filter: RunsFilter!) { runsOrError(filter: $filter, limit: 200) {"
            " __typename ... on Runs { results { runId jobName status } } ... on PythonError { message } } }",
            {"filter": {"statuses": statuses, **filters}},
        )["runsOrError"]
        if "results" not in answer:
            raise PagesSilent(str(answer.get("message", answer["__typename"])))
        return list(answer["results"])

    def _query(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._ask(f"{self.url}/graphql", {"query": query, "variables": variables or {}})
        if answer.get("errors") or not isinstance(answer.get("data"), dict):
            raise PagesSilent(f"Dagster refused a query: {answer.get('errors')}")
        return dict(answer["data"])

    def _ask(self, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 (our own address)
            url,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._open(request, timeout=self._timeout_s) as answer:
                return dict(json.load(answer))
        except (OSError, ValueError, TypeError) as error:
            raise PagesSilent(f"{self.url} does not answer: {error}") from error
