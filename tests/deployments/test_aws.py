"""The deployment on AWS: the same definitions, Dagster's own files, runs as tasks on an emulated ECS, figures
in an emulated CloudWatch.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import create_run_for_test

from assets.checks import ALL
from deployments.definitions import build_definitions
from exchange_platform.operations.checks import CheckOutcome
from exchange_platform.process.aws_clients import new_client
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from resources.platform import PlatformResource
from sensors.cloud_metrics import cloud_metrics_sensor, failed_checks
from sensors.evaluations import report
from tests.support.postgres_parts import Postgres
from tests.support.prepared import prepare

CHECKOUT = Path(__file__).parents[2]
REGION = "eu-west-1"
DAGSTER_YAML = CHECKOUT / "deployments" / "aws" / "dagster.yaml"


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def test_aws_runs_what_one_machine_runs_and_tells_cloudwatch() -> None:
    from deployments import aws, local

    def names(defs: dg.Definitions) -> dict[str, set[str]]:
        repository = defs.get_repository_def()
        return {
            "jobs": {job.name for job in repository.get_all_jobs()},
            "assets": {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()},
            "checks": {str(key) for key in repository.asset_graph.asset_check_keys},
            "schedules": {schedule.name for schedule in repository.schedule_defs},
            "sensors": {sensor.name for sensor in repository.sensor_defs},
        }

    here, there = names(local.defs), names(aws.defs)
    assert there.pop("sensors") == here.pop("sensors") | {"cloud_metrics_sensor"}
    assert there == here


def test_the_instance_on_aws_keeps_what_one_machine_keeps() -> None:
    here, there = read(CHECKOUT / "deployments" / "dagster.yaml"), read(DAGSTER_YAML)
    for same in ("telemetry", "retention", "freshness", "nux", "run_coordinator"):
        assert there[same] == here[same]
    assert (
        there["concurrency"]["runs"]["tag_concurrency_limits"]
        == here["concurrency"]["runs"]["tag_concurrency_limits"]
    )
    assert there["run_monitoring"]["start_timeout_seconds"] > 120


def test_every_variable_of_dagsters_files_is_passed_by_terraform() -> None:
    wanted = {
        name
        for file in (DAGSTER_YAML, DAGSTER_YAML.with_name("workspace.yaml"))
        for name in re.findall(r"env: ([A-Z_]+)", file.read_text())
    }
    passed = "".join(file.read_text() for file in (CHECKOUT / "deployments" / "terraform").rglob("*.tf"))
    assert len(wanted) == 8
    assert {name for name in wanted if name not in passed} == set()


def test_small_jobs_ask_for_less_than_a_consumer_run() -> None:
    sizes = {
        job.name: job.tags.get("ecs/cpu") for job in build_definitions().get_repository_def().get_all_jobs()
    }
    assert sizes["consume_bets"] is None
    assert sizes["maintain_lake"] is None or int(sizes["maintain_lake"]) >= 256
    assert sizes["notify_users"] == "512"
    assert sizes["reconcile_orders"] == "256"


class Cluster:
    """An ECS cluster with the run's task definition, and the task that Dagster's daemon would be."""

    def __init__(self, endpoint: str) -> None:
        self.ecs = new_client("ecs", region=REGION, endpoint_url=endpoint)
        ec2 = new_client("ec2", region=REGION, endpoint_url=endpoint)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        self.subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        self.group = ec2.create_security_group(GroupName=uuid.uuid4().hex, Description="tasks", VpcId=vpc)[
            "GroupId"
        ]
        self.name = f"exchange-{uuid.uuid4().hex[:6]}"
        self.ecs.create_cluster(clusterName=self.name)
        for name in ("daemon", "run"):
            self.ecs.register_task_definition(
                family=f"{self.name}-{name}",
                requiresCompatibilities=["FARGATE"],
                networkMode="awsvpc",
                cpu="1024",
                memory="2048",
                # The emulator asks for a container's memory, which on Fargate is the task's.
                containerDefinitions=[
                    {"name": "run", "image": "dagster:1", "essential": True, "memory": 2048, "cpu": 0}
                ],
            )
        self.daemon = self.ecs.run_task(
            cluster=self.name,
            taskDefinition=f"{self.name}-daemon",
            launchType="FARGATE",
            networkConfiguration={
                "awsvpcConfiguration": {"subnets": [self.subnet], "securityGroups": [self.group]}
            },
        )["tasks"][0]["taskArn"]

    def tasks(self) -> list[dict[str, Any]]:
        """What was started beside the daemon."""
        arns = [arn for arn in self.ecs.list_tasks(cluster=self.name)["taskArns"] if arn != self.daemon]
        return list(self.ecs.describe_tasks(cluster=self.name, tasks=arns)["tasks"]) if arns else []


@pytest.fixture
def cluster(emulator_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, and this process as its daemon: ECS tells a task where it runs over HTTP."""
    found = Cluster(emulator_url)
    told = json.dumps({"Cluster": found.name, "TaskARN": found.daemon}).encode()

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL": emulator_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "emulator",
        "AWS_SECRET_ACCESS_KEY": "emulator",
        "EXCHANGE_PLATFORM_RUN_TASK": f"{found.name}-run",
        "EXCHANGE_PLATFORM_COMPUTE_LOGS_BUCKET": f"{found.name}-logs",
        "ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1:{server.server_port}",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    s3 = new_client("s3", region=REGION, endpoint_url=emulator_url)
    s3.create_bucket(Bucket=f"{found.name}-logs", CreateBucketConfiguration={"LocationConstraint": REGION})
    yield found
    server.shutdown()


def launch(instance: dg.DagsterInstance, job: str, tags: dict[str, str]) -> str:
    """Launch a run as the daemon's queue does; its id."""
    origin = JobPythonOrigin(
        job,
        RepositoryPythonOrigin(
            executable_path="/opt/venv/bin/python",
            code_pointer=dg._core.code_pointer.ModuleCodePointer("deployments.aws", "defs"),
        ),
    )
    run = create_run_for_test(instance, job_name=job, tags=tags, job_code_origin=origin)
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return str(run.run_id)


def test_a_run_is_a_task_of_its_own_in_the_daemons_network(cluster: Cluster, tmp_path: Path) -> None:
    config = read(DAGSTER_YAML)
    overrides = {key: config[key] for key in ("run_launcher", "compute_logs")}
    overrides["compute_logs"]["config"]["local_dir"] = str(tmp_path)
    with dg.instance_for_test(overrides=overrides, temp_dir=str(tmp_path)) as instance:
        large = launch(instance, "consume_bets", {})
        small = launch(instance, "reconcile_orders", {"ecs/cpu": "256", "ecs/memory": "1024"})
        arns = {run_id: instance.get_run_by_id(run_id).tags["ecs/task_arn"] for run_id in (large, small)}  # type: ignore[union-attr]
        tasks = {task["taskArn"]: task for task in cluster.tasks()}
        instance.run_launcher.terminate(small)
        assert {task["taskArn"] for task in cluster.tasks() if task["lastStatus"] != "STOPPED"} == {
            arns[large]
        }
    for run_id, cpu in ((large, None), (small, "256")):
        task = tasks[arns[run_id]]
        assert task["taskDefinitionArn"].rpartition("/")[2] == f"{cluster.name}-run:1"
        assert task["launchType"] == "FARGATE"
        assert task["overrides"].get("cpu") == cpu
        (container,) = task["overrides"]["containerOverrides"]
        assert container["name"] == "run"
        assert container["command"][1:5] == ["-m", "dagster", "api", "execute_run"]
        assert len(json.dumps(task["overrides"])) < 8192  # ECS takes no more
        details = {pair["name"]: pair["value"] for pair in task["attachments"][0]["details"]}
        assert details["subnetId"] == cluster.subnet


def test_a_run_is_started_in_the_group_of_runs_where_the_environment_names_one(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the daemon's own group a run had the daemon's network, and the daemon that of every run."""
    ec2 = new_client("ec2", region=REGION, endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    vpc = ec2.describe_subnets(SubnetIds=[cluster.subnet])["Subnets"][0]["VpcId"]
    group = ec2.create_security_group(GroupName=f"runs-{cluster.name}", Description="runs", VpcId=vpc)[
        "GroupId"
    ]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    monkeypatch.setenv("EXCHANGE_PLATFORM_RUN_SUBNETS", subnet)
    monkeypatch.setenv("EXCHANGE_PLATFORM_RUN_SECURITY_GROUP", group)
    config = read(DAGSTER_YAML)
    overrides = {"run_launcher": config["run_launcher"]}
    with dg.instance_for_test(overrides=overrides, temp_dir=str(tmp_path)) as instance:
        launch(instance, "consume_bets", {})
    (task,) = cluster.tasks()
    details = {pair["name"]: pair["value"] for pair in task["attachments"][0]["details"]}
    assert details["subnetId"] == subnet
    found = ec2.describe_network_interfaces(NetworkInterfaceIds=[details["networkInterfaceId"]])
    assert [one["GroupId"] for one in found["NetworkInterfaces"][0]["Groups"]] == [group]


@pytest.mark.servers
def test_the_instance_of_dagster_yaml_keeps_runs_on_postgresql_and_output_on_s3(
    cluster: Cluster, emulator_url: str, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exchange_platform.stores.dagster_database import dagster_answers, ensure_dagster_database

    database = f"dagster_{uuid.uuid4().hex[:8]}"
    named = {
        "DAGSTER_HOST": postgres.host,
        "DAGSTER_PORT": postgres.port,
        "DAGSTER_USER": postgres.user,
        "DAGSTER_PASSWORD": "trusted",
        "DAGSTER_DATABASE": database,
    }
    for name, value in named.items():
        monkeypatch.setenv(f"EXCHANGE_PLATFORM_{name}", value)
    settings = Settings()
    for _ in range(2):
        ensure_dagster_database(settings)
    assert dagster_answers(settings)
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML.read_text().replace("/tmp/", f"{tmp_path}/"))

    @dg.op
    def say() -> None:
        print("said on the way")

    @dg.job(executor_def=dg.in_process_executor)
    def saying() -> None:
        say()

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        result = saying.execute_in_process(instance=instance)
        assert instance.get_run_by_id(result.run_id).is_success  # type: ignore[union-attr]
        launch(instance, "consume_bets", {"source": "exchange-bets"})
        assert len(cluster.tasks()) == 1
        objects = new_client("s3", region=REGION, endpoint_url=emulator_url).list_objects_v2(
            Bucket=f"{cluster.name}-logs"
        )
        assert any(result.run_id in entry["Key"] for entry in objects["Contents"])


def test_figures_are_published_as_terraforms_alarms_expect_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = f"Test{uuid.uuid4().hex[:6]}"
    named = {
        "aws_endpoint_url": settings.aws_endpoint_url,
        "metrics_namespace": namespace,
        "environment": "exchange-test",
    }
    for name, value in named.items():
        monkeypatch.setenv(f"EXCHANGE_PLATFORM_{name.upper()}", str(value))
    prepare(settings)
    platform = PlatformResource(data_dir=str(settings.data_dir))
    with dg.instance_for_test() as instance:
        ticked = cloud_metrics_sensor(dg.build_sensor_context(instance, resources={"platform": platform}))
    assert isinstance(ticked, dg.SkipReason)
    assert ticked.skip_message is not None
    assert ticked.skip_message.startswith(f"20 figures published to {namespace}: OldestMailWaiting 0,"), (
        ticked
    )
    client = new_client("cloudwatch", region=REGION, endpoint_url=settings.aws_endpoint_url)
    told = {
        (metric["MetricName"], *sorted((pair["Name"], pair["Value"]) for pair in metric["Dimensions"]))
        for metric in client.list_metrics(Namespace=namespace)["Metrics"]
    }
    terraform = (CHECKOUT / "deployments" / "terraform" / "modules" / "observability" / "main.tf").read_text()
    composition = (CHECKOUT / "deployments" / "terraform" / "main.tf").read_text()
    by_source = set(re.findall(r'metric\s+= "(HeartbeatAge|Lag|DeadLetters)"', terraform))
    sources = json.loads(re.findall(r"sources\s+= (\[.*\])", composition)[0])
    plain = set(re.findall(r'\{ metric = "(\w+)", above', terraform))
    assert by_source == {"HeartbeatAge", "Lag", "DeadLetters"}
    assert plain == {"OldestMailWaiting", "StuckOrders", "FailedChecks", "FailedRuns"}
    environment = ("Environment", "exchange-test")
    for metric in by_source:
        for source in sources:
            assert (metric, environment, ("Source", source)) in told
    for metric in plain:
        assert (metric, environment) in told
    Database(settings.operational_database_url).dispose()


def test_a_check_that_nobody_evaluates_any_more_counts_as_failed() -> None:
    with dg.instance_for_test() as instance:
        assert failed_checks(instance) == len(ALL), "none was ever evaluated"
        report(
            instance,
            [check.evaluation(CheckOutcome(check is not ALL[0], "said")) for check in ALL],
            {},
        )
        now_s = time.time()
        assert failed_checks(instance, now_s=now_s + 590) == 1
        assert failed_checks(instance, now_s=now_s + 610) == len(ALL)


def test_without_a_namespace_nothing_is_published(settings: Settings) -> None:
    with dg.instance_for_test() as instance:
        platform = PlatformResource(data_dir=str(settings.data_dir))
        ticked = cloud_metrics_sensor(dg.build_sensor_context(instance, resources={"platform": platform}))
    assert "no namespace is configured" in str(ticked)
