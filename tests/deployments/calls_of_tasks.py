"""The tasks at work on an emulator that records: consuming, notifying, confirming, tidying; and the API. Not here: what they may do (test_policies.py)."""

from __future__ import annotations

import email
import email.policy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from moto.ses.models import ses_backends
from pydantic import SecretStr

from exchange_platform.api.app import create_app
from exchange_platform.aws import aws_client
from exchange_platform.confirmation.run import build_run
from exchange_platform.local.emulator import Emulator, provision
from exchange_platform.records import BetUpdate
from exchange_platform.settings import Settings
from exchange_platform.stores.database import Database
from exchange_platform.stores.dead_letters import DeadLetters
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.schema import migrate
from tests.account_parts import codes_in
from tests.deployments.recorded_calls import Recorder
from tests.exchange_platform.betting import add_account, add_event, add_market
from tests.notification_parts import mail_states, register, running_notifier
from tests.platform_parts import consume_all, encoded, publish, wait_for
from tests.workload import matched_pairs

TOKEN = "a-token-of-an-application"
BUCKET = "the-lake"
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
def recorded(directory: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, Recorder]]:
    """A platform on an emulator that records, its lake on S3."""
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
        data_dir=directory,
        aws_endpoint_url=url,
        lake_data_path=f"s3://{BUCKET}/lake/",
        mail_sender="ses",
        mail_from="Exchange <mail@exchange.example>",
        mail_feedback_queue=f"{url}/123456789012/mail-feedback",
        mail_feedback_topic="mail-feedback",
        api_tokens=SecretStr(TOKEN),
    )
    provision(settings.model_copy(update={"mail_feedback_queue": "mail-feedback"}))
    s3 = aws_client(settings, "s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": settings.aws_region})
    s3.close()
    ses = aws_client(settings, "sesv2")
    ses.create_email_identity(EmailIdentity="exchange.example")
    ses.close()
    migrate(settings)
    yield settings, recorder
    server.close()


def work(settings: Settings, recorder: Recorder) -> None:
    """An account is registered, confirmed and bets; bets are executed; everybody is mailed; the lake is tidied."""
    database = Database(settings.operational_database_url)
    recorder.task = "api"
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        account = _registered(client)
        recorder.task = None
        _feedback_comes(settings)
        recorder.task = "runs"
        _confirmation_is_mailed(settings, database)
        recorder.task = "api"
        _confirm_and_bet(client, database, account)
    recorder.task = "runs"
    _consume(settings, database)
    _tidy(settings)
    recorder.task = "api"
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        market = records()[0].market_id
        add_market(database, market)
        answer = client.get(f"/markets/{market}/windows")
        assert answer.status_code == 200, answer.text
    recorder.task = None
    database.dispose()


def _sent() -> list[Any]:
    """What the emulator, which is in this process, was given to mail."""
    return list(ses_backends["123456789012"]["eu-west-1"].sent_messages)


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
    wait_for(_sent)
    wait_for(DeadLetters(database).waiting_ids)
    run.stop()
    thread.join()


def _confirm_and_bet(client: TestClient, database: Database, account: str) -> None:
    (message,) = _sent()
    mail = email.message_from_string(message.raw_data, policy=email.policy.default)
    (code,) = codes_in([mail.get_body(("plain",)).get_content()])  # type: ignore[union-attr]
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


def _tidy(settings: Settings) -> None:
    lake = Lake.from_settings(settings)
    lake.maintain()
    lake.close()
