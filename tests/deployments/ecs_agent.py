"""What ECS does with the tasks that a deployment starts, and an emulator only notes: each becomes a process
of this machine. Not here: services (tasks.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from exchange_platform.local.programs import HOST
from tests.deployments.terraforming import Account

CHECKOUT = Path(__file__).parents[2]
MAX_OVERRIDES = 8192
"""Characters of JSON. Source: RunTask, overrides (ECS's API reference); an emulator takes any number."""
_STOP_GRACE_S = 30.0
_LOOK_EVERY_S = 0.3
STARTED = ("database-users", "migrate", "run")
"""The kinds of tasks that somebody starts by ECS's API; services are ECS's own."""


class Agent:
    """Starts a cluster's tasks, of families that it is told of, and says which have ended; stops those that
    somebody asked it to.
    """

    def __init__(
        self,
        account: Account,
        outputs: Mapping[str, Any],
        environment: Callable[[str], dict[str, str]],
        log: Path,
    ) -> None:
        """`environment` is what a task of a family gets. The daemon's own task is noted, not started: runs
        take after it.
        """
        self._ecs = account.client("ecs")
        self._cluster = outputs["cluster_name"]
        self._families = [outputs["task_families"][kind] for kind in STARTED]
        self._environment = environment
        self._log = log
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ended: dict[str, int] = {}
        """Exit status of each task that ended, by its ARN."""
        self.trouble: Exception | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        network = outputs["network"]
        (task,) = self._ecs.run_task(
            cluster=self._cluster,
            taskDefinition=outputs["task_families"]["daemon"],
            launchType="FARGATE",
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": network["subnet_ids"],
                    "securityGroups": [network["security_group_ids"]["daemon"]],
                }
            },
        )["tasks"]
        self._metadata = Metadata(task)
        self.metadata_url = self._metadata.url

    def start(self) -> None:
        """Begin with the tasks that are there."""
        self._thread.start()

    def close(self) -> None:
        """Start nothing any more. What runs is whoever's to end."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(30)
        self._metadata.close()
        for process in self._processes.values():
            process.wait()

    def _run(self) -> None:
        try:
            while not self._ending.wait(_LOOK_EVERY_S):
                self._look()
        except Exception as error:
            self.trouble = error
            raise

    def _look(self) -> None:
        for arn, process in list(self._processes.items()):
            status = process.poll()
            if status is not None and arn not in self.ended:
                self.ended[arn] = status
                self._ecs.stop_task(
                    cluster=self._cluster, task=arn, reason="Essential container in task exited"
                )
        for task in self._tasks("STOPPED"):
            started = self._processes.get(task["taskArn"])
            if started is not None and started.poll() is None:
                self._stop(started)
        for task in self._tasks("RUNNING"):
            if task["taskArn"] not in self._processes:
                self._start(task)

    def _tasks(self, status: str) -> list[dict[str, Any]]:
        arns = [
            arn
            for family in self._families
            for arn in self._ecs.list_tasks(cluster=self._cluster, family=family, desiredStatus=status)[
                "taskArns"
            ]
        ]
        if not arns:
            return []
        told = self._ecs.describe_tasks(cluster=self._cluster, tasks=arns)["tasks"]
        return [task for task in told if task["lastStatus"] == status]

    def _start(self, task: dict[str, Any]) -> None:
        overrides = task["overrides"]
        assert len(json.dumps(overrides)) <= MAX_OVERRIDES, overrides
        definition = self._ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])[
            "taskDefinition"
        ]
        (defined,) = definition["containerDefinitions"]
        (container,) = overrides.get("containerOverrides") or [{}]
        with self._log.open("ab") as log:
            self._processes[task["taskArn"]] = subprocess.Popen(
                command_of(defined | {key: container[key] for key in ("command",) if key in container}),
                cwd=CHECKOUT,
                env=self._environment(definition["family"])
                | {one["name"]: one["value"] for one in container.get("environment", ())},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def command_of(container: Mapping[str, Any]) -> list[str]:
    """What a container runs: its entry point and its command, of the programs that are installed here."""
    words: list[str] = []
    for part in (container.get("entryPoint"), container.get("command")):
        if part:
            program, *arguments = part
            words += [str(Path(sys.executable).with_name(program)), *arguments]
    return words


def given_by_ecs(metadata_url: str) -> dict[str, str]:
    """What a container has beside its definition's variables: a path and a home by its image, the rest by
    ECS.
    """
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "AWS_REGION": "eu-west-1",
        "ECS_CONTAINER_METADATA_URI_V4": metadata_url,
    }


class Metadata:
    """What a container is told of the task that it is in, under `ECS_CONTAINER_METADATA_URI_V4`."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        about = {"Cluster": task["clusterArn"], "TaskARN": task["taskArn"]}
        self._server = ThreadingHTTPServer((HOST, 0), partial(_Metadata, about))
        self.url = f"http://{HOST}:{self._server.server_port}/v4/a-container"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Tell no more."""
        self._server.shutdown()
        self._server.server_close()


class _Metadata(BaseHTTPRequestHandler):
    def __init__(self, about: dict[str, str], *request: Any) -> None:
        self._about = about
        super().__init__(*request)

    def do_GET(self) -> None:
        content = json.dumps(self._about).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing: each run asks."""
