"""The tasks at work on an emulator that records: consuming, notifying, confirming, tidying; and the API. Not
here: what they may do (test_terraform.py).
"""

from __future__ import annotations

import email
import email.policy
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pytest
import yaml
from fastapi.testclient import TestClient
from moto.ses.models import ses_backends
from pydantic import SecretStr

from exchange_platform.api.app import create_app
from exchange_platform.confirmation.run import build_run
from exchange_platform.doctor import diagnosis
from exchange_platform.doctor import permissions as doctor_permissions
from exchange_platform.doctor.aws import aws_findings
from exchange_platform.doctor.findings import Level
from exchange_platform.domain.orders import CancelOrder
from exchange_platform.domain.records import BetUpdate
from exchange_platform.local.emulator.server import Emulator, provision
from exchange_platform.operations.checks import view_agrees
from exchange_platform.settings import Settings, secret_settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.settings.section import PREFIX
from exchange_platform.stores.dynamodb.profile_view import ProfileView
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.bets.order_outbox import write_orders
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.schema import migrate
from exchange_platform.submission.order_publishing import relay_left
from tests.deployments.iam_of_requests import ACCOUNT
from tests.deployments.recorded_calls import Recorder
from tests.exchange_platform.betting import NOW, add_account, add_event, add_market
from tests.support.account_parts import codes_in
from tests.support.notification_parts import mail_states, register, running_notifier
from tests.support.platform_parts import consume_all, encoded, publish, wait_for
from tests.support.workload import START, matched_pairs

TOKEN = "a-token-of-an-application-000000"
DAGSTER_YAML = Path(__file__).parents[2] / "deployments" / "aws" / "dagster.yaml"
NOT_THERE = ("database_", "lake_catalog", "lake_read_", "dagster_", "elasticsearch_", "exchange_url")
"""Settings of servers that no emulator of AWS has."""

DAY = {"since": START.isoformat(), "until": (START + timedelta(days=1)).isoformat()}
"""In which the bets are executed."""

BET = {
    "account_id": "better",
    "market_id": "m1",
    "selection_id": 1,
    "side": "back",
    "odds": "3",
    "currency": "GBP",
    "stake_minor": 1000,
}


@contextmanager
def recorded(
    directory: Path, patch: pytest.MonkeyPatch, variables: Mapping[str, str]
) -> Iterator[tuple[Settings, Recorder]]:
    """A platform on an emulator that records: everything on AWS has the names that a deployment's variables
    give, the databases are SQLite.
    """
    patch.setenv("AWS_ACCESS_KEY_ID", "emulator")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "emulator")
    recorders: list[Recorder] = []

    def recording(application: Any) -> Recorder:
        recorders.append(Recorder(application))
        return recorders[0]

    server = Emulator(0, through=recording)
    (recorder,) = recorders
    threading.Thread(target=server.serve, daemon=True).start()
    url = f"http://127.0.0.1:{server.port}"
    settings = Settings(
        data_dir=directory, aws_endpoint_url=url, api_tokens=SecretStr(TOKEN), **_named(variables)
    )
    patch.setenv("AWS_ENDPOINT_URL", url)
    patch.setenv("AWS_DEFAULT_REGION", settings.aws_region)
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.setenv(f"{PREFIX}COMPUTE_LOGS_BUCKET", settings.compute_logs_bucket or "")
    _make(settings, recorder)
    try:
        yield settings, recorder
    finally:
        server.close()


def _named(variables: Mapping[str, str]) -> dict[str, Any]:
    """The settings that a deployment's variables state, but for servers that are no part of AWS's API."""
    stated = {
        name.removeprefix(PREFIX).lower(): text for name, text in variables.items() if name.startswith(PREFIX)
    }
    return {name: text for name, text in stated.items() if not name.startswith(NOT_THERE)}


def _make(settings: Settings, recorder: Recorder) -> None:
    """What Terraform makes, by its names."""
    queue, topic = settings.mail_feedback_queue or "", settings.mail_feedback_topic or ""
    short = {
        "mail_feedback_queue": queue.rpartition("/")[2],
        "mail_feedback_topic": topic.rpartition(":")[2],
    }
    provision(settings.model_copy(update=short))
    s3, ses = aws_client(settings, "s3"), aws_client(settings, "sesv2")
    for bucket in (urlsplit(settings.lake_data_location).netloc, settings.compute_logs_bucket):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": settings.aws_region})
    ses.create_email_identity(EmailIdentity=parseaddr(settings.mail_from)[1].partition("@")[2])
    ses.create_configuration_set(ConfigurationSetName=settings.ses_configuration_set)
    for client in (s3, ses):
        client.close()
    with recorder.at_work("once"):
        migrate(settings)


def work(settings: Settings, recorder: Recorder) -> None:
    """An account is registered, confirmed and bets; bets are executed; everybody is mailed; the lake is
    tidied. One task at a time.
    """
    database = Database(settings.operational_database_url)
    with recorder.at_work("api"), _api(settings) as client:
        account = _registered(client)
    _feedback_comes(settings)
    with recorder.at_work("runs"):
        _confirmation_is_mailed(settings, database)
    with recorder.at_work("api"), _api(settings) as client:
        _confirm_and_bet(settings, client, database, account)
        wait_for(
            lambda: recorder.was_asked("api", "kinesis:DescribeStreamSummary"),
            what="a look of the orders' relay",
        )
    _order_is_left(database)
    with recorder.at_work("runs"):
        assert relay_left(settings, database) == 1
        _consume(settings, database)
        _compare_view(settings, database)
        _tidy(settings)
        _print(settings.data_dir)
        _diagnose(settings)
    with recorder.at_work("api"), _api(settings) as client:
        market = records()[0].market_id
        add_market(database, market)
        answer = client.get(f"/markets/{market}/windows", params=DAY)
        assert answer.json()["windows"], answer.text
    database.dispose()


def folders(settings: Settings) -> tuple[str, ...]:
    """Where files are the platform's own, all of them: ARNs of S3's folders."""
    logs = f"{settings.compute_logs_bucket}/{_compute_logs()['config']['prefix']}/"
    return tuple(
        f"arn:aws:s3:::{folder}" for folder in (settings.lake_data_location.removeprefix("s3://"), logs)
    )


@contextmanager
def _api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client


def own_variables(settings: Settings) -> dict[str, str]:
    """The environment that says all that these settings were given, but for secrets."""
    said = settings.model_fields_set - secret_settings()
    return {f"{PREFIX}{name.upper()}": str(getattr(settings, name)) for name in said}


def mails(settings: Settings) -> list[str]:
    """The texts of what was mailed by this deployment."""
    raw = (
        email.message_from_string(message.raw_data, policy=email.policy.default)
        for message in _sent(settings)
    )
    return [message.get_body(("plain",)).get_content() for message in raw]  # type: ignore[union-attr]


def _sent(settings: Settings) -> list[Any]:
    """What this process's emulators, which share all that they hold, were given to mail by this
    deployment.
    """
    mailed = ses_backends[ACCOUNT][settings.aws_region].sent_messages
    return [message for message in mailed if parseaddr(message.source) == parseaddr(settings.mail_from)]


def records() -> list[BetUpdate]:
    """Matched bets and their executions, more than the lake keeps in its catalog."""
    return list(matched_pairs(300))  # type: ignore[arg-type]


def _registered(client: TestClient) -> str:
    assert client.get("/health").status_code == 200
    answer = client.post("/accounts", json={"email": "ann@exchange.example", "display_name": "Ann"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["account_id"])


def _feedback_comes(settings: Settings) -> None:
    sqs = aws_client(settings, "sqs")
    sqs.send_message(QueueUrl=settings.mail_feedback_queue, MessageBody="not a message of SES's")
    sqs.close()


def _confirmation_is_mailed(settings: Settings, database: Database) -> None:
    run = build_run(settings, run_id="a-test", duration_s=60)
    thread = threading.Thread(target=lambda: list(run.run()))
    thread.start()
    wait_for(lambda: _sent(settings))
    wait_for(DeadLetters(database).waiting_ids)
    run.stop()
    thread.join()


def _confirm_and_bet(settings: Settings, client: TestClient, database: Database, account: str) -> None:
    (code,) = codes_in(mails(settings))
    assert client.post("/confirm", data={"code": code}).status_code == 200
    add_event(database)
    add_market(database)
    add_account(database, "better", funds_minor=10_000)
    answer = client.post("/bets", json=BET, headers={"Idempotency-Key": "k1"})
    assert answer.status_code in {200, 201, 202}, answer.text
    assert client.get(f"/accounts/{account}/profile").status_code in {200, 404}


def _consume(settings: Settings, database: Database) -> None:
    published = records()
    user = next(record.user_id for record in published if isinstance(record, BetUpdate))
    register(database, user, email="ben@exchange.example")
    consume_all(settings, publish(settings, encoded(published)))  # reconcile_orders publishes there too
    with running_notifier(settings):
        wait_for(lambda: list(mail_states(database).values()).count("sent") > 1)


def _compare_view(settings: Settings, database: Database) -> None:
    dynamodb = aws_client(settings, "dynamodb")
    assert view_agrees(database, ProfileView(dynamodb, settings.profiles_table), wait=time.sleep).passed
    dynamodb.close()


def _order_is_left(database: Database) -> None:
    """As by a process that died after its commit."""
    order = CancelOrder(order_id="left", bet_id="b", user_id="better", market_id="m1", ordered_at=NOW)
    with database.write() as connection:
        write_orders(connection, [order])


def _tidy(settings: Settings) -> None:
    """Twice, as days later: what was merged is deleted the second time. A killed writer left a file."""
    lake = Lake.from_settings(settings)
    for _ in range(2):
        lake.maintain(keep_snapshots="0 seconds")
    _writer_left_a_file(settings)
    assert lake.delete_orphans(before=datetime.now(UTC) + timedelta(days=1)) == 1
    lake.close()


def _writer_left_a_file(settings: Settings) -> None:
    """As by a writer that was killed before its commit."""
    place = urlsplit(settings.lake_data_location)
    key = f"{place.path.lstrip('/')}main/executions/ducklake-left.parquet"
    s3 = aws_client(settings, "s3")
    s3.put_object(Bucket=place.netloc, Key=key, Body=b"PAR1")
    s3.close()


def _compute_logs() -> dict[str, Any]:
    """How Dagster's file says that what runs print is kept."""
    configured: dict[str, Any] = yaml.safe_load(DAGSTER_YAML.read_text())["compute_logs"]
    return configured


def _print(directory: Path) -> None:
    """A run prints something."""
    compute_logs = _compute_logs()
    compute_logs["config"]["local_dir"] = str(directory / "compute-logs")
    with (
        dg.instance_for_test(overrides={"compute_logs": compute_logs}, temp_dir=str(directory)) as instance,
        instance.compute_log_manager.capture_logs(["a-run", "compute_logs", "a-step"]),
    ):
        print("said on the way")


def _diagnose(settings: Settings) -> None:
    """`exchange-platform doctor` as a task of its own, as docs/deployment.md has it: what it asks of AWS."""
    trials = (diagnosis.tried(*trial) for trial in doctor_permissions.trials(settings))
    for finding in (*aws_findings(settings), *trials):
        assert finding.level is not Level.WRONG, finding
