"""Dagster's services at work on an emulator that records: runs are started as tasks, followed, stopped and
read. Not here: what runs do (calls_of_tasks.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.test_utils import create_run_for_test

from exchange_platform.operations import cloud_metrics
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.settings.section import PREFIX
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.database import Database
from tests.deployments.calls_of_tasks import DAGSTER_YAML
from tests.deployments.ecs_agent import Metadata
from tests.deployments.recorded_calls import Recorder

SERVICES = "services"
LOG = ["a-run", "compute_logs", "a-step"]


@dg.job
def nothing() -> None:
    """A job to be run by a task."""


def work_as_services(
    settings: Settings, recorder: Recorder, outputs: dict[str, Any], patch: pytest.MonkeyPatch
) -> None:
    """A run is started, looked at and stopped; what one printed is shown; figures are told; the lake
    is read.
    """
    database = Database(settings.operational_database_url)
    with _task_of_services(settings, outputs) as url:
        patch.setenv("ECS_CONTAINER_METADATA_URI_V4", url)
        patch.setenv(f"{PREFIX}RUN_TASK", outputs["run_task_family"])
        with recorder.at_work(SERVICES), _instance(settings.data_dir) as instance:
            _start_and_stop(instance)
            _print_and_show(instance)
            metrics = cloud_metrics.source_metrics(database, settings, SYSTEM_CLOCK)
            cloud_metrics.publish(settings, metrics)
            with closing(Lake.from_settings(settings, read_only=True)) as lake:
                lake.query("SELECT sum(stake) FROM executions")
    database.dispose()


@contextmanager
def _task_of_services(settings: Settings, outputs: dict[str, Any]) -> Iterator[str]:
    """The task that the daemon is, in a cluster with the deployment's names; where its container asks about
    it.
    """
    ec2, ecs = aws_client(settings, "ec2"), aws_client(settings, "ecs")
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=network, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="tasks", Description="Tasks", VpcId=network)["GroupId"]
    ecs.create_cluster(clusterName=outputs["cluster_name"])
    container = {"name": "run", "image": "an-image", "memory": 512, "cpu": 256, "essential": True}
    ecs.register_task_definition(
        family=outputs["run_task_family"],
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[container],
    )
    (task,) = ecs.run_task(
        cluster=outputs["cluster_name"],
        taskDefinition=outputs["run_task_family"],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}},
    )["tasks"]
    with closing(Metadata(task)) as metadata:
        yield metadata.url
    for client in (ec2, ecs):
        client.close()


@contextmanager
def _instance(directory: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance as on AWS, but for where it keeps what it knows."""
    configured = yaml.safe_load(DAGSTER_YAML.read_text())
    parts = {name: configured[name] for name in ("run_launcher", "compute_logs")}
    parts["compute_logs"]["config"]["local_dir"] = str(directory / "logs-of-services")
    home = directory / "dagster-of-services"
    home.mkdir()
    with dg.instance_for_test(overrides=parts, temp_dir=str(home)) as instance:
        yield instance


def _start_and_stop(instance: dg.DagsterInstance) -> None:
    launcher = instance.run_launcher
    origin = dg.reconstructable(nothing).get_python_origin()
    run = create_run_for_test(instance, job_name="nothing", job_code_origin=origin)
    launcher.launch_run(LaunchRunContext(run, None))
    started = instance.get_run_by_id(run.run_id)
    assert started is not None
    assert launcher.check_run_worker_health(started).status is not WorkerStatus.NOT_FOUND
    assert launcher.terminate(run.run_id)


def _print_and_show(instance: dg.DagsterInstance) -> None:
    manager = instance.compute_log_manager
    with manager.capture_logs(LOG):
        print("said on the way")
    assert manager.get_log_keys_for_log_key_prefix(LOG[:2], ComputeIOType.STDOUT)
    data = manager.get_log_data(LOG)
    assert data.stdout is not None
