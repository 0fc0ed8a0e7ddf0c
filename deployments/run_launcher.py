"""How Dagster's runs are started on AWS: as tasks in a security group of their own, not in that of the daemon
which starts them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_aws.ecs import EcsRunLauncher

SUBNETS, GROUP = "EXCHANGE_PLATFORM_RUN_SUBNETS", "EXCHANGE_PLATFORM_RUN_SECURITY_GROUP"


class OwnGroupEcsRunLauncher(EcsRunLauncher):
    """Dagster's launcher, with the network that the environment names for runs; where it names none, runs
    start in the daemon's.
    """

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """As dagster.yaml configures it."""
        subnets, group = os.environ.get(SUBNETS), os.environ.get(GROUP)
        own: dict[str, Any] = {}
        if subnets and group:
            network = {
                "subnets": subnets.split(","),
                "securityGroups": [group],
                "assignPublicIp": "DISABLED",
            }
            own = {"networkConfiguration": {"awsvpcConfiguration": network}}
        given = config_value.get("run_task_kwargs") or {}
        return super().from_config_value(inst_data, {**config_value, "run_task_kwargs": {**given, **own}})
