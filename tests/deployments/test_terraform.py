"""Both environments are made, taken away and made again, each in an emulated account, and a second plan is
empty; tasks may do what they call.

Not here: that the platform runs on what was made (test_on_terraform.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.deployments.calls_of_function import work_as_function
from tests.deployments.calls_of_services import work_as_services
from tests.deployments.calls_of_tasks import folders, recorded, work
from tests.deployments.iam_of_requests import Call
from tests.deployments.policies import Grant, Policy
from tests.deployments.terraform_state import Resources
from tests.deployments.terraforming import (
    ARTIFACTS,
    DIGESTS,
    Account,
    Refused,
    Terraform,
    plugin_directory,
)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

ENVIRONMENTS = ("staging", "production")
UNPROTECTED = "-var=deletion_protection=false"


@dataclass(frozen=True)
class Story:
    """What was seen of an environment, from an empty account on."""

    outputs: dict[str, Any]
    resources: list[str]
    state: str
    second_plan: str
    refusals: list[str]
    left_after_destroy: list[str]
    resources_again: list[str]
    plan_again: str


def tell(directory: Path, plugins: str, environment: str) -> Story:
    """Make the environment as docs/deployment.md says, look at it, take it away, make it again."""
    directory.mkdir()
    account = Account(directory / "emulator.log")
    try:
        terraform = Terraform(directory, plugins, environment, account)
        terraform.prepare("module.release" if environment == "staging" else ARTIFACTS)
        terraform.apply()
        outputs, resources, state = terraform.outputs, terraform.resources, json.dumps(terraform.state)
        second_plan = terraform.changes()
        refusals: list[str] = []
        if environment == "production":
            refusals = _refusals(account)
            terraform.apply(UNPROTECTED)
        terraform.destroy(UNPROTECTED)
        left = terraform.resources
        terraform.prepare(ARTIFACTS)
        terraform.apply()
        again = terraform.resources, terraform.changes()
        return Story(outputs, resources, state, second_plan, refusals, left, *again)
    finally:
        account.close()


def _refusals(account: Account) -> list[str]:
    """What an account says to whoever deletes what holds data."""
    attempts: list[Callable[[], object]] = [
        lambda: account.client("dynamodb").delete_table(TableName="exchange-production-profiles"),
        lambda: account.client("rds").delete_db_cluster(
            DBClusterIdentifier="exchange-production-operational", SkipFinalSnapshot=True
        ),
    ]
    refusals = []
    for attempt in attempts:
        with pytest.raises(ClientError) as refused:
            attempt()
        refusals.append(str(refused.value))
    return refusals


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Story]]]:
    """Both at once: nearly all of their time is Terraform's waiting."""
    plugins = plugin_directory()
    if plugins is None:
        pytest.skip("no terraform, or no provider for it, on this machine")
    directory = tmp_path_factory.mktemp("environments")
    with ThreadPoolExecutor(len(ENVIRONMENTS)) as pool:
        yield {name: pool.submit(tell, directory / name, plugins, name) for name in ENVIRONMENTS}


@pytest.fixture(params=ENVIRONMENTS)
def story(request: pytest.FixtureRequest, stories: dict[str, Future[Story]]) -> Story:
    """One environment's."""
    return stories[request.param].result()


def test_nothing_is_left_of_a_destroyed_environment_and_it_is_made_again(story: Story) -> None:
    assert story.left_after_destroy == []
    assert len(story.resources) > 80
    assert story.resources_again == story.resources


def test_a_second_plan_changes_nothing(story: Story) -> None:
    assert story.second_plan == ""
    assert story.plan_again == ""


def test_production_s_data_is_not_deleted_without_lifting_its_protection(
    stories: dict[str, Future[Story]],
) -> None:
    refusals = stories["production"].result().refusals
    assert len(refusals) == 2
    assert all("protect" in refusal.lower() for refusal in refusals), refusals


def test_environments_are_made_of_the_same_parts(stories: dict[str, Future[Story]]) -> None:
    made = {name: set(stories[name].result().resources) for name in ENVIRONMENTS}
    assert {part for part in made["production"] if not _varies(part)} == {
        part for part in made["staging"] if not _varies(part)
    }


def _varies(part: str) -> bool:
    """Where the API runs, who is told of alarms, and which services have an endpoint inside are variables."""
    return part.startswith("module.api.") or part.endswith(("subscription.operators", "endpoint.interface"))


def test_the_application_is_told_all_it_reads_and_no_secret_is_in_the_state(story: Story) -> None:
    said = story.outputs["environment_variables"]["run"]
    assert said["EXCHANGE_PLATFORM_BETS_STREAM"].endswith("-exchange-bets")
    arns = [arn for kind in story.outputs["secret_variables"].values() for arn in kind.values()]
    assert all(arn.startswith("arn:aws:secretsmanager:") for arn in arns)
    assert '"master_password": null' in story.state
    assert "secret_string" not in story.state


THE_KEY = "arn:aws:kms:*:key/*"
TO_TASKS = (("iam:PassedToService", "ecs-tasks.amazonaws.com"),)
# What a task may do beyond what was recorded, and why no recording shows it.
BEYOND = {
    "runs": {
        Grant("kms:Decrypt", THE_KEY): "AWS asks for it in the caller's name",
        Grant("kms:GenerateDataKey", THE_KEY): "AWS asks for it in the caller's name",
        Grant(
            "ses:SendEmail", "*"
        ): "SES's second version asks for this or SendRawEmail, by the message's form",
        Grant(
            "ses:DeleteSuppressedDestination", "*"
        ): "an address that bounced is mailed again; the emulator knows no list of these (tests/exchange_platform/mail/test_ses.py)",
    },
    "api": {
        Grant("kms:Decrypt", THE_KEY): "AWS asks for it in the caller's name",
        Grant("kms:GenerateDataKey", THE_KEY): "AWS asks for it in the caller's name",
    },
    "lambda": {
        Grant("kms:Decrypt", THE_KEY): "AWS asks for it in the caller's name",
        Grant("kms:GenerateDataKey", THE_KEY): "AWS asks for it in the caller's name",
        Grant("logs:*", "*:log-group:*"): "Lambda writes what the function says in its name",
        Grant("ec2:*", "*"): "Lambda joins the network in the function's name",
        Grant("xray:*", "*"): "Lambda tells of its calls in the function's name",
    },
    "services": {
        Grant("kms:Decrypt", THE_KEY): "AWS asks for it in the caller's name",
        Grant("kms:GenerateDataKey", THE_KEY): "AWS asks for it in the caller's name",
        Grant("iam:PassRole", "*:role/exchange-*", TO_TASKS): "ECS asks for it where a task gets roles",
        Grant("logs:GetLogEvents", "*"): "what a task that failed said; an emulator's tasks fail at nothing",
    },
}
# Grants by a wildcard, other than for the platform's folders, and why none is narrower.
WIDE = {
    "runs": {Grant("ses:DeleteSuppressedDestination", "*"): "knows no resource"},
    "lambda": {
        Grant("logs:*", "*:log-group:*"): "every stream of one group",
        Grant("ec2:*", "*"): "knows no resource",
        Grant("xray:*", "*"): "knows no resource",
    },
    "services": {
        Grant("ecs:*", "*:task-definition/exchange-*-run:*"): "every revision of one definition",
        Grant("ecs:*", "*:task/exchange-*/*"): "every task of one cluster",
        Grant("logs:GetLogEvents", "*:log-group:*"): "every stream of one group",
        Grant("ecs:DescribeTaskDefinition", "*"): "knows no resource",
        Grant("ec2:DescribeNetworkInterfaces", "*"): "knows no resource",
        Grant("cloudwatch:PutMetricData", "*"): "knows no resource, but a namespace",
    },
}


def test_each_task_may_do_what_it_calls_and_nothing_beyond(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = story.outputs["environment_variables"]["run"]
    with recorded(tmp_path, monkeypatch, variables) as (settings, recorder):
        work(settings, recorder)
        work_as_function(settings, recorder, story.outputs, monkeypatch)
        work_as_services(settings, recorder, story.outputs, monkeypatch)
    # Whoever changes the schemas calls nothing of AWS: its role has no policy.
    assert recorder.calls.pop("once", set()) == set()
    assert recorder.calls.keys() == BEYOND.keys()
    for task, calls in recorder.calls.items():
        policy = Policy.read(story.outputs["policies"][task])
        assert policy.refused(calls) == set()
        assert policy.unexplained(calls, BEYOND[task]) == set()
        loose, reasons = policy.loose(folders(settings)), WIDE.get(task, {})
        assert {grant for grant in loose if not any(reason.covers(grant) for reason in reasons)} == set()
        assert {reason for reason in reasons if not any(reason.covers(grant) for grant in loose)} == set()


def _api_container(story: Story) -> tuple[dict[str, Any], dict[str, Any]]:
    task = Resources(story.state).one("aws_ecs_task_definition", "api")
    (container,) = json.loads(task["container_definitions"])
    return task, container


def test_the_api_believes_one_entry_of_x_forwarded_for_behind_a_load_balancer_and_none_as_a_function(
    story: Story,
) -> None:
    _, container = _api_container(story)
    environment = {one["name"]: one["value"] for one in container["environment"]}
    assert environment["EXCHANGE_PLATFORM_TRUSTED_PROXIES"] == "1"
    for function in Resources(story.state).all("aws_lambda_function", "api"):
        assert "EXCHANGE_PLATFORM_TRUSTED_PROXIES" not in function["environment"][0]["variables"]


def test_the_role_that_starts_the_api_s_tasks_may_write_their_log_and_read_their_secrets(
    story: Story,
) -> None:
    task, container = _api_container(story)
    role = Resources(story.state).one("aws_iam_role", "execution", "module.api")
    assert task["execution_role_arn"] == role["arn"]
    policy = Policy.read(story.outputs["policies"]["api-execution"])
    group = Resources(story.state).one("aws_cloudwatch_log_group", "api")
    assert container["logConfiguration"]["options"]["awslogs-group"] == group["name"]
    log = Call("logs:PutLogEvents", f"{group['arn']}:log-stream:api/api/1")
    secrets = [
        Call("secretsmanager:GetSecretValue", one["valueFrom"].partition(":password")[0])
        for one in container["secrets"]
    ]
    assert policy.refused([log, *secrets]) == set()
    of_others = Call("logs:PutLogEvents", log.resource.replace("/api:", "/daemon:"))
    assert policy.refused([of_others]) == {of_others}


def test_the_load_balancer_may_write_its_log_to_a_bucket_that_its_service_can_write_to(story: Story) -> None:
    resources = Resources(story.state)
    bucket = resources.one("aws_s3_bucket", "access_logs")
    (logs,) = resources.one("aws_lb", "api")["access_logs"]
    assert logs["bucket"] == bucket["bucket"]
    (rule,) = resources.one("aws_s3_bucket_server_side_encryption_configuration", "access_logs")["rule"]
    (default,) = rule["apply_server_side_encryption_by_default"]
    assert default["sse_algorithm"] == "AES256"
    statements = json.loads(resources.one("aws_s3_bucket_policy", "access_logs")["policy"])["Statement"]
    (delivery,) = [one for one in statements if one["Effect"] == "Allow"]
    assert delivery["Principal"] == {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}
    assert delivery["Action"] == "s3:PutObject"
    assert delivery["Resource"].startswith(f"{bucket['arn']}/{logs['prefix']}/AWSLogs/")


def test_a_firewall_stops_one_address_before_the_load_balancer_and_all_traffic_is_logged(
    story: Story,
) -> None:
    resources = Resources(story.state)
    firewall, balancer = resources.one("aws_wafv2_web_acl", "api"), resources.one("aws_lb", "api")
    association = resources.one("aws_wafv2_web_acl_association", "api")
    assert (association["resource_arn"], association["web_acl_arn"]) == (balancer["arn"], firewall["arn"])
    (rule,) = firewall["rule"]
    assert rule["statement"][0]["rate_based_statement"][0]["aggregate_key_type"] == "IP"
    assert resources.one("aws_flow_log", "this")["traffic_type"] == "ALL"


def test_a_version_s_tag_alone_publishes_nothing_and_a_published_artifact_is_never_overwritten(
    story: Story,
) -> None:
    resources = Resources(story.state)
    subjects = {}
    for name in ("plan", "publish", "apply"):
        (statement,) = json.loads(resources.one("aws_iam_role", name)["assume_role_policy"])["Statement"]
        subjects[name] = statement["Condition"]["StringLike"]["token.actions.githubusercontent.com:sub"]
    assert all(":job_workflow_ref:" in subject for subject in subjects.values())
    assert all(":environment:" in subjects[name] for name in ("publish", "apply"))
    statements = json.loads(resources.one("aws_iam_role_policy", "publish")["policy"])["Statement"]
    (upload,) = [one for one in statements if "s3:PutObject" in one["Action"]]
    assert upload["Condition"] == {"Null": {"s3:if-none-match": "false"}}


KINDS = ("api", "code-server", "daemon", "webserver", "run", "migrate", "database-users")


def _containers(story: Story) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """By kind of task: its definition, and its container."""
    found = {}
    resources = Resources(story.state)
    for name in ("service", "run", "once", "api"):
        for task in resources.all("aws_ecs_task_definition", name):
            (container,) = json.loads(task["container_definitions"])
            found[task["family"].split("-", 2)[2]] = (task, container)
    assert set(found) == set(KINDS)
    return found


def test_each_kind_of_task_has_its_own_secrets_and_its_starter_reads_no_others(story: Story) -> None:
    containers = _containers(story)
    secrets = {
        kind: {one["valueFrom"].partition(":password")[0] for one in container["secrets"]}
        for kind, (_, container) in containers.items()
    }
    named = {kind: {arn.rpartition("/")[2][:-7] for arn in arns} for kind, arns in secrets.items()}
    assert named["daemon"] == named["webserver"] == {"dagster", "database-ca"}
    assert not named["api"] & {
        "database-platform",
        "database-migrator",
        "exchange-key",
        "dagster",
        "elasticsearch-api-key",
    }
    assert not named["run"] & {"api-tokens", "database-api", "database-migrator"}
    assert named["migrate"] == {"database-migrator", "database-ca", "elasticsearch-api-key"}
    masters = {
        arn for kind in KINDS for arn in secrets[kind] if "/exchange-" not in arn and ":exchange-" not in arn
    }
    assert {kind for kind in KINDS if secrets[kind] & masters} == {"database-users"}
    every = set().union(*secrets.values())
    for kind, (task, _) in containers.items():
        policy = Policy.read(story.outputs["policies"][f"{kind}-execution"])
        reads = {arn for arn in every if not policy.refused([Call("secretsmanager:GetSecretValue", arn)])}
        assert reads == secrets[kind], kind
        others = [one["execution_role_arn"] for other, (one, _) in containers.items() if other != kind]
        assert task["execution_role_arn"] not in others


def test_each_kind_of_task_has_a_group_with_the_ways_that_its_work_takes(story: Story) -> None:
    resources = Resources(story.state)
    kinds = {
        group["id"]: group["name"].split("-", 2)[2] for group in resources.all("aws_security_group", "tasks")
    }
    databases = {
        group["id"]: group["name"].split("-", 2)[2]
        for group in resources.all("aws_security_group", "databases")
    }
    assert set(kinds.values()) == set(KINDS)

    def pairs(kind: str, name: str) -> set[tuple[str, str, int]]:
        return {
            (
                (kinds | databases).get(rule["security_group_id"], "load-balancer"),
                (kinds | databases).get(rule["referenced_security_group_id"], "load-balancer"),
                rule["from_port"],
            )
            for rule in resources.all(f"aws_vpc_security_group_{kind}_rule", name)
        }

    to_databases = {(kind, "postgresql", 5432) for kind in KINDS} | {
        (kind, "mysql", 3306) for kind in KINDS if kind not in {"daemon", "webserver"}
    }
    assert pairs("egress", "tasks_to_databases") == to_databases
    assert pairs("ingress", "databases") == {(database, kind, port) for kind, database, port in to_databases}
    assert pairs("ingress", "from_load_balancer") == {("api", "load-balancer", 8000)}
    assert pairs("ingress", "code_server") == {
        ("code-server", kind, 4000) for kind in ("daemon", "webserver")
    }
    assert resources.all("aws_vpc_security_group_ingress_rule", "operators") == []
    for service in resources.all("aws_ecs_service", "this") + resources.all("aws_ecs_service", "api"):
        (group,) = service["network_configuration"][0]["security_groups"]
        assert kinds[group] == service["name"]
    for _, container in _containers(story).values():
        for one in container["environment"]:
            if one["name"] == "EXCHANGE_PLATFORM_RUN_SECURITY_GROUP":
                assert kinds[one["value"]] == "run"


def test_each_kind_of_task_logs_in_as_its_own_user_and_verifies_the_server(story: Story) -> None:
    users = {}
    for kind, (_, container) in _containers(story).items():
        said = {
            one["name"].removeprefix("EXCHANGE_PLATFORM_"): one["value"] for one in container["environment"]
        }
        users[kind] = {
            said[name].partition("//")[2].partition("@")[0] or said[name].rpartition("user=")[2]
            for name in ("DATABASE_URL", "LAKE_CATALOG")
            if name in said
        }
        assert said["DATABASE_TLS"] == "verified"
        assert "EXCHANGE_PLATFORM_DATABASE_CA" in {one["name"] for one in container["secrets"]}
        assert all("sslmode" not in said.get(name, "") for name in ("LAKE_CATALOG", "LAKE_READ_CATALOG"))
        if "DAGSTER_HOST" in said:
            assert said["PGSSLMODE"] == "verify-full"
            assert said["PGSSLROOTCERT"] == said["DATABASE_CA_FILE"]
            assert container["entryPoint"][-1] == "exchange_platform.process.database_ca"
            assert said["DAGSTER_USER"] == "exchange_dagster"
    assert users == {
        "api": {"exchange_api"},
        "run": {"exchange_platform"},
        "code-server": {"exchange_platform"},
        "daemon": set(),
        "webserver": set(),
        "migrate": {"exchange_migrator"},
        "database-users": {"exchange"},
    }


def test_every_image_runs_by_its_digest(story: Story) -> None:
    for kind, (_, container) in _containers(story).items():
        target = "api" if kind == "api" else "dagster"
        assert container["image"].endswith(f"/{target}@{json.loads(DIGESTS)[target]}"), kind


def test_a_request_under_another_name_than_the_api_s_reaches_no_task(story: Story) -> None:
    resources = Resources(story.state)
    (default,) = resources.one("aws_lb_listener", "api")["default_action"]
    assert default["type"] == "fixed-response"
    assert default["fixed_response"][0]["status_code"] == "421"
    rule = resources.one("aws_lb_listener_rule", "api")
    (condition,) = rule["condition"]
    public = story.outputs["environment_variables"]["api"]["EXCHANGE_PLATFORM_PUBLIC_URL"]
    assert condition["host_header"][0]["values"] == [public.removeprefix("https://")]


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ('image_digests={dagster="1.2.3",api="1.2.3"}', "a tag can come to name another image"),
        ("exchange_url=http://exchange.example", "exchange_url begins with https"),
        ('operators_cidrs=["0.0.0.0/0"]', "operators_cidrs are private addresses"),
    ],
)
def test_what_would_open_the_platform_is_refused_by_name(tmp_path: Path, variable: str, said: str) -> None:
    plugins = plugin_directory()
    if plugins is None:
        pytest.skip("no terraform, or no provider for it, on this machine")
    account = Account(tmp_path / "emulator.log")
    try:
        terraform = Terraform(tmp_path, plugins, "staging", account)
        with pytest.raises(Refused) as refused:
            terraform._run("plan", *terraform._variables, f"-var={variable}")
    finally:
        account.close()
    assert said in " ".join(str(refused.value).replace("│", " ").split())
