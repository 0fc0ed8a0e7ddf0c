"""The code server's memory on AWS against what may run in it at once. Measured on Linux, resident, in MiB."""

from __future__ import annotations

import re

import yaml

from resources.run_sizes import SENSOR_LAKE_MB
from tests.deployments.tasks import CHECKOUT

TERRAFORM = CHECKOUT / "deployments" / "terraform" / "modules" / "dagster" / "main.tf"

PROXY_MB, SERVER_MB = 96, 182
"""`dagster code-server start` and the process that it starts, idle, with every definition loaded."""
HEALTH_CHECKS_MB = 2 * 120
"""The health check and the look at the passwords: a Python process each, every 20 s."""
TICK_MB = 32
"""A tick beside others: its events, its statements' rows."""
SPARE = 1.5


def code_server_memory_mb() -> int:
    """What Terraform gives the code server."""
    service = re.search(r"code-server = \{(.*?)\n    \}", TERRAFORM.read_text(), re.DOTALL)
    assert service is not None
    memory = re.search(r"\bmemory\s*= (\d+)", service[1])
    assert memory is not None
    return int(memory[1])


def test_the_code_server_has_room_for_every_sensor_at_once() -> None:
    instance = yaml.safe_load((CHECKOUT / "deployments" / "aws" / "dagster.yaml").read_text())
    workers = instance["sensors"]["num_workers"] + instance["schedules"]["num_workers"]
    needed = PROXY_MB + SERVER_MB + HEALTH_CHECKS_MB + workers * TICK_MB + SENSOR_LAKE_MB
    assert code_server_memory_mb() >= SPARE * needed
