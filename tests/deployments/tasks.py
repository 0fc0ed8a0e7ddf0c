"""The tasks of a deployment as processes of this machine, after the task definitions that Terraform made; the
servers are here.

Each service has the command, the variables and the secrets of its definition; where that has no command, its
image's. Tasks that are started by ECS's API, as Dagster's runs are, get what their own definition says and
nothing else (ecs_agent.py). Other than on AWS is where the servers and the exchange are. Not here: what must
hold of them (test_on_terraform.py).
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from exchange_platform.local.orphans import UP_ID, end, marked
from exchange_platform.local.programs import HOST, free_ports
from exchange_platform.settings import Settings
from tests.deployments.ecs_agent import Agent, command_of, given_by_ecs
from tests.deployments.terraforming import Account
from tests.exchange_platform.local.conftest import wait_until
from tests.support.postgres_parts import Postgres

CHECKOUT = Path(__file__).parents[2]
AWS = CHECKOUT / "deployments" / "aws"
TOKEN = "a-token-of-an-application-000000"
EXCHANGE = "exchange"
DATABASE_URL = "EXCHANGE_PLATFORM_DATABASE_URL"
ADMINISTRATOR = "exchange"
"""The databases' administrator by Terraform's word: here it is the servers' own."""
SERVICES = ("code-server", "daemon", "webserver", "api")


@dataclass(frozen=True)
class Servers:
    """The servers beside the platform, each with a database or an index of this test's own."""

    mysql_url: str
    postgres: Postgres
    elasticsearch: Settings
    """Where it is, and the index's name."""

    lake: str
    """The name of the lake's database, which is made as Terraform makes it."""

    def variables(self, said: Mapping[str, str]) -> dict[str, str]:
        """Where they are, in the place of what a definition says; each task keeps its own users and their
        passwords.
        """
        place, here = self.postgres, dict(said)
        if DATABASE_URL in here:
            mysql, user = sa.make_url(self.mysql_url), str(sa.make_url(here[DATABASE_URL]).username)
            if user == ADMINISTRATOR:
                user = str(mysql.username)
                here["EXCHANGE_PLATFORM_DATABASE_PASSWORD"] = str(mysql.password)
            here[DATABASE_URL] = mysql.set(username=user)._replace(password=None).render_as_string()
        for catalog in ("EXCHANGE_PLATFORM_LAKE_CATALOG", "EXCHANGE_PLATFORM_LAKE_READ_CATALOG"):
            if catalog in here:
                user = here[catalog].rpartition("user=")[2]
                user = place.user if user == ADMINISTRATOR else user
                here[catalog] = f"postgres:host={place.host} port={place.port} dbname={self.lake} user={user}"
        own = {
            "EXCHANGE_PLATFORM_DATABASE_TLS": "preferred",
            "EXCHANGE_PLATFORM_DAGSTER_HOST": place.host,
            "EXCHANGE_PLATFORM_DAGSTER_PORT": place.port,
            "EXCHANGE_PLATFORM_DAGSTER_DATABASE": f"{self.lake}_dagster",
            "PGSSLMODE": "prefer",
            "EXCHANGE_PLATFORM_ELASTICSEARCH_URL": str(self.elasticsearch.elasticsearch_url),
        }
        here |= {name: value for name, value in own.items() if name in here}
        return here | {"EXCHANGE_PLATFORM_EVENT_INDEX": self.elasticsearch.event_index}


def put_secrets(account: Account, authority: str) -> None:
    """Give the secrets their values, as docs/deployment.md says; `authority` is PEM."""
    values = {
        "api-tokens": TOKEN,
        "mail-key": "k" * 48,
        "exchange-key": "e" * 48,
        "database-ca": authority,
        **{f"elasticsearch-{kind}api-key": "a-key" for kind in ("", "read-")},
        **{f"database-{user}": secrets.token_urlsafe(24) for user in ("migrator", "platform", "api")},
        **{user: secrets.token_urlsafe(24) for user in ("lake-reader", "dagster")},
    }
    for name, value in values.items():
        account.client("secretsmanager").put_secret_value(
            SecretId=f"exchange-staging/{name}", SecretString=value
        )


_SAID_TO_SOME = {
    f"EXCHANGE_PLATFORM_{name}" for name in ("EXCHANGE_URL", "DATABASE_CA_FILE", "CODE_SERVER_HOST")
}
"""What is this machine's where a definition says it at all."""


def container(account: Account, family: str) -> dict[str, Any]:
    """The one container of a task definition."""
    found = account.client("ecs").describe_task_definition(taskDefinition=family)
    (only,) = found["taskDefinition"]["containerDefinitions"]
    return dict(only)


def variables(account: Account, family: str) -> dict[str, str]:
    """What ECS gives to a task: the variables of its definition, and its secrets' values."""
    defined = container(account, family)
    given = {pair["name"]: pair["value"] for pair in defined["environment"]}
    return given | {pair["name"]: _secret(account, pair["valueFrom"]) for pair in defined["secrets"]}


def _secret(account: Account, place: str) -> str:
    """The value of the secret with this ARN, or of a key of its JSON, as in `<arn>:<key>::`."""
    parts = place.split(":")
    arn, key = ":".join(parts[:7]), parts[7] if len(parts) > 7 else ""
    value = account.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    return str(yaml.safe_load(value)[key]) if key else str(value)


class Tasks:
    """A deployment's tasks, each a process; the environment that they share is this process's too."""

    def __init__(
        self,
        directory: Path,
        account: Account,
        outputs: Mapping[str, Any],
        servers: Servers,
        patch: pytest.MonkeyPatch,
    ) -> None:
        self.data_dir = directory / "data"
        self._home = directory / "dagster"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._account = account
        self._exchange, self._code, self._api, self._pages = free_ports(4)
        self.api_url = f"http://{HOST}:{self._api}"
        self.pages_url = f"http://{HOST}:{self._pages}"
        self._write_dagster_home()
        self._mark = uuid.uuid4().hex
        self._agent = Agent(account, outputs, self._environment, directory / "runs.log")
        self._servers = servers
        self._outputs = outputs
        own = {
            "EXCHANGE_PLATFORM_DATA_DIR": str(self.data_dir),
            "EXCHANGE_PLATFORM_AWS_ENDPOINT_URL": account.url,
            "EXCHANGE_PLATFORM_EXCHANGE_URL": f"http://{HOST}:{self._exchange}",
            "EXCHANGE_PLATFORM_DATABASE_CA_FILE": str(directory / "database-ca.pem"),
            "PGSSLROOTCERT": str(directory / "database-ca.pem"),
            "EXCHANGE_PLATFORM_CODE_SERVER_HOST": HOST,
            "AWS_ENDPOINT_URL": account.url,
            "AWS_ACCESS_KEY_ID": "emulator",
            "AWS_SECRET_ACCESS_KEY": "emulator",
            "NO_PROXY": HOST,
            "no_proxy": HOST,
            "DAGSTER_HOME": str(self._home),
            "ECS_CONTAINER_METADATA_URI_V4": self._agent.metadata_url,
        }
        self._own = own
        for name, value in self._environment(_family("run")).items():
            patch.setenv(name, value)

    def run(self, *arguments: str) -> str:
        """Run a command of the platform's to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "exchange_platform", *arguments],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_tasks(self) -> None:
        """Make the databases' users and the schemas, each by a task that ECS is asked for: as
        docs/deployment.md says.
        """
        self._agent.start()
        for done, kind in enumerate(("database-users", "migrate")):
            self._ask_for(kind)
            wait_until(lambda: len(self._agent.ended) > done, within_s=120, told=self.told)  # noqa: B023
            assert set(self._agent.ended.values()) == {0}, self.told()

    def start(self) -> None:
        """Start the exchange, which is somebody else's, and the services."""
        data = ("--data-dir", str(self.data_dir))
        exchange = [sys.executable, "-m", "exchange_platform.exchanges.simulated", *data, "--rate", "30"]
        gateway = [sys.executable, "-m", "exchange_platform.exchanges.gateway", *data]
        self._commands = {
            EXCHANGE: exchange,
            "gateway": [*gateway, "--port", str(self._exchange)],
            **{service: self._command(service) for service in SERVICES},
        }
        for name in self._commands:
            self._start(name)

    def kill(self, service: str) -> None:
        """A service's task dies at once; another is started for it, as ECS does."""
        process = self._processes[service]
        process.kill()
        process.wait()
        self._start(service)

    def kill_run(self) -> None:
        """A Dagster run's process dies at once; nobody but the platform sees to another."""
        pids: list[int] = []

        def found() -> bool:
            assert self._agent.trouble is None, self._agent.trouble
            pids[:] = [pid for pid in marked(self._mark) if _is_run(pid)]
            return bool(pids)

        wait_until(found, within_s=60, told=self.told)
        os.kill(pids[0], signal.SIGKILL)

    def end_exchange(self) -> None:
        """No bet is taken and nothing is executed any more."""
        self._processes[EXCHANGE].terminate()
        self._processes[EXCHANGE].wait(30)

    def told(self) -> str:
        """The end of each process's log, for whoever asks why."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}"
            for log in sorted(self._home.parent.glob("*.log"))
        )

    def close(self) -> None:
        """End all processes, Dagster's runs too."""
        end(lambda: marked(self._mark), grace_s=15)
        self._agent.close()
        for process in self._processes.values():
            process.wait()

    def _command(self, service: str) -> list[str]:
        """A service's command as its task definition has it, or its image; ports and places are this
        machine's.
        """
        here = {
            "0.0.0.0": HOST,
            "3000": str(self._pages),
            "4000": str(self._code),
            "8000": str(self._api),
            "deployments/aws/workspace.yaml": str(self._home / "workspace.yaml"),
        }
        defined = container(self._account, _family(service))
        whole = command_of(defined if "command" in defined else {"command": _command_of_image(service)})
        return [here.get(word, word) for word in whole]

    def _ask_for(self, kind: str) -> None:
        """Have ECS start a task of that kind."""
        network = self._outputs["network"]
        started = self._account.client("ecs").run_task(
            cluster=self._outputs["cluster_name"],
            taskDefinition=self._outputs["task_families"][kind],
            launchType="FARGATE",
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": network["subnet_ids"],
                    "securityGroups": [network["security_group_ids"][kind]],
                }
            },
        )
        assert len(started["tasks"]) == 1
        assert started["failures"] == []

    def _start(self, name: str) -> None:
        own = self._environment(_family(name)) if name in SERVICES else {**os.environ, UP_ID: self._mark}
        with (self._home.parent / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._commands[name],
                cwd=CHECKOUT,
                env=own,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _environment(self, family: str) -> dict[str, str]:
        """What a task of a definition has, but for where the servers are."""
        said = self._servers.variables(variables(self._account, family))
        own = {name: value for name, value in self._own.items() if name in said or name not in _SAID_TO_SOME}
        return {**given_by_ecs(self._agent.metadata_url), **said, **own, UP_ID: self._mark}

    def _write_dagster_home(self) -> None:
        """The image's, but for where the code server is and what may be written."""
        self._home.mkdir()
        instance = (AWS / "dagster.yaml").read_text().replace("/tmp/", f"{self._home}/")
        (self._home / "dagster.yaml").write_text(instance)
        workspace = (AWS / "workspace.yaml").read_text().replace("4000", str(self._code))
        (self._home / "workspace.yaml").write_text(workspace)


def _family(service: str) -> str:
    return f"exchange-staging-{service}"


def _command_of_image(target: str) -> list[str]:
    """What a container of this target of the Dockerfile runs if it is not told otherwise."""
    stage = (CHECKOUT / "Dockerfile").read_text().partition(f" AS {target}\n")[2].partition("\nFROM ")[0]
    (command,) = (line.removeprefix("CMD ") for line in stage.splitlines() if line.startswith("CMD "))
    return [str(word) for word in json.loads(command)]


def _is_run(pid: int) -> bool:
    """Whether a process carries out a Dagster run."""
    try:
        return b"execute_run" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
