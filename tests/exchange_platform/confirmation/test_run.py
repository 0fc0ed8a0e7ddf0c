"""The run that mails confirmations, with a real SMTP server at its other end: accepted, refused, put off,
handed over, told of bounces.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from exchange_platform.confirmation.feedback_channel import ensure_feedback_queue
from exchange_platform.confirmation.run import build_run
from exchange_platform.confirmation.service import Pressed
from exchange_platform.delivery.delivery import DeliveryRun
from exchange_platform.domain.accounts import AccountState
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.confirmation.test_feedback import bounce
from tests.support.account_parts import CLIENT, AccountParts, codes_in
from tests.support.platform_parts import wait_for
from tests.support.prepared import prepare_database
from tests.support.smtp_server import SmtpServer, first_times


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    server = SmtpServer().start()
    yield server
    server.stop()


@pytest.fixture
def mailing(settings: Settings, smtp: SmtpServer) -> Iterator[AccountParts]:
    """The accounts, on the system's time, with settings of a run that mails through the server."""
    own = settings.model_copy(
        update={
            "mail_sender": "smtp",
            "mail_from": "Exchange <mail@exchange.example>",
            "smtp_host": "127.0.0.1",
            "smtp_port": smtp.port,
            "smtp_security": "none",
            "mail_retry_first_s": 0.2,
            "public_url": "https://bets.example",
            "stale_heartbeat_s": 60.0,  # on a busy machine nobody is taken for dead
        }
    )
    database = Database(own.operational_database_url)
    prepare_database(database)
    database.dispose()
    parts = AccountParts(own)
    parts.clock.now = SYSTEM_CLOCK.now_us()
    yield parts
    parts.close()


@contextmanager
def _running(settings: Settings) -> Iterator[DeliveryRun]:
    """A run at work; it has ended cleanly afterwards."""
    run = build_run(settings, run_id="a-test", duration_s=120)
    thread = threading.Thread(target=lambda: list(run.run()))
    thread.start()
    wait_for(lambda: run.epoch > 0)
    yield run
    run.stop()
    thread.join()


def test_a_mail_leaves_within_two_seconds_and_its_code_confirms(
    mailing: AccountParts, smtp: SmtpServer
) -> None:
    with _running(mailing.settings):
        mailing.register("warm-up@example.com")
        wait_for(lambda: len(smtp.received) == 1)
        asked_s = time.time()
        account_id = mailing.register()
        wait_for(lambda: len(smtp.received) == 2)
    mail = smtp.received[1]
    assert mail.at_s - asked_s < 2
    assert mail.recipient == "ann@example.com"
    (code,) = codes_in([mail.text])
    assert f"https://bets.example/confirm#{code}" in mail.html
    assert mailing.service.confirm(code, CLIENT) is Pressed.CONFIRMED
    assert mailing.account(account_id).state is AccountState.CONFIRMED


def test_an_address_that_is_refused_is_undeliverable_and_gets_no_more_mail(
    mailing: AccountParts, smtp: SmtpServer
) -> None:
    smtp.on_recipient = lambda address: "550 5.1.1 no such user" if address.startswith("ann") else None
    with _running(mailing.settings):
        account_id = mailing.register()
        other = mailing.register("bob@example.com")
        wait_for(lambda: mailing.account(account_id).state is AccountState.UNDELIVERABLE)
        wait_for(lambda: len(smtp.received) == 1)
    assert "no such user" in (mailing.account(account_id).state_reason or "")
    assert mailing.account(other).state is AccountState.PENDING
    (letter,) = DeadLetters(mailing.database).list()
    assert letter.partition_key == account_id
    assert codes_in([letter.data.decode()]) == []
    assert [mail.recipient for mail in smtp.received] == ["bob@example.com"]


def test_a_mail_that_is_put_off_arrives_and_its_code_confirms(
    mailing: AccountParts, smtp: SmtpServer
) -> None:
    smtp.on_recipient = first_times(2, "451 4.7.1 greylisted")
    with _running(mailing.settings):
        account_id = mailing.register()
        wait_for(lambda: len(smtp.received) == 1)
    (code,) = codes_in([smtp.received[0].text])
    assert mailing.service.confirm(code, CLIENT) is Pressed.CONFIRMED
    assert mailing.account(account_id).state is AccountState.CONFIRMED


def test_a_hand_over_mails_everybody_once(mailing: AccountParts, smtp: SmtpServer) -> None:
    with _running(mailing.settings):
        for number in range(10):
            mailing.register(f"ann{number}@example.com")
        with _running(mailing.settings) as successor:
            for number in range(10, 20):
                mailing.register(f"ann{number}@example.com")
            wait_for(lambda: len(smtp.received) == 20)
            assert successor.epoch == 2
    recipients = Counter(mail.recipient for mail in smtp.received)
    assert recipients == {f"ann{number}@example.com": 1 for number in range(20)}
    rows = ConsumerRows(mailing.database).recent("confirmations")
    assert [row.state for row in rows] == ["ended", "superseded"]
    codes = codes_in(mail.text for mail in smtp.received)
    assert {mailing.service.confirm(code, CLIENT) for code in codes} == {Pressed.CONFIRMED}


def test_a_bounce_that_ses_tells_of_stops_mail(mailing: AccountParts, smtp: SmtpServer) -> None:
    sns, sqs = aws_client(mailing.settings, "sns"), aws_client(mailing.settings, "sqs")
    name = mailing.settings.tokens_table.replace("tokens", "feedback")
    topic_arn = ensure_feedback_queue(sns, sqs, name, name)
    own = mailing.settings.model_copy(update={"mail_feedback_queue": name, "mail_feedback_topic": name})
    account_id = mailing.register()
    with _running(own):
        wait_for(lambda: len(smtp.received) == 1)
        told = json.dumps(bounce())
        at = told.partition('"timestamp": "')[2].partition('"')[0]
        sns.publish(TopicArn=topic_arn, Message=told.replace(at, "2100-01-01T00:00:00Z"))
        wait_for(lambda: mailing.account(account_id).state is AccountState.UNDELIVERABLE)
    assert mailing.account(account_id).state_reason == "bounced: smtp; 550 5.1.1 user unknown"
    sns.close()
    sqs.close()
