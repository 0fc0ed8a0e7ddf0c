"""Parts of notifications for tests: accounts, changed bets, a running notifier, a subscriber of the topic."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from exchange_platform.delivery.delivery import DeliveryRun
from exchange_platform.domain.accounts import MailChoice, parse_address
from exchange_platform.domain.bets import Bet
from exchange_platform.local.emulator.server import ensure_topic
from exchange_platform.notifications.run import build_notifier
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client, topic_arn
from exchange_platform.stores.operational.accounts import accounts
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.tables.mails import mails
from tests.support.prepared import prepare_database


def ready(settings: Settings) -> Database:
    """The operational database and the topic of a platform."""
    database = Database(settings.operational_database_url)
    if not database.is_sqlite or not Path(str(database.engine.url.database)).exists():
        prepare_database(database)
    sns = aws_client(settings, "sns")
    ensure_topic(sns, settings.status_topic)
    sns.close()
    return database


def register(
    database: Database,
    account_id: str,
    *,
    email: str | None = None,
    name: str = "Ann",
    choice: MailChoice = MailChoice.ALL,
    confirmed: bool = True,
) -> None:
    """An account."""
    now_us = SYSTEM_CLOCK.now_us()
    address = parse_address(email or f"{account_id}@customer.example.org")
    with database.write() as connection:
        accounts.insert(connection, account_id, address, name, "GBP", choice, now_us)
        if confirmed:
            accounts.confirm(connection, accounts.lock(connection, account_id), now_us)


def change(database: Database, *updates: Bet) -> None:
    """Apply bet updates, as the bets' consumer does."""
    with database.write() as connection:
        verdicts = apply_bet_updates(connection, updates)
    assert all(verdict.applied for verdict in verdicts), verdicts


def mail_states(database: Database) -> dict[str, str]:
    """What has become of each mail, by its id."""
    with database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(sa.select(mails.c.mail_id, mails.c.state))}


@contextmanager
def running_notifier(settings: Settings, **options: Any) -> Iterator[DeliveryRun]:
    """A notifier in a thread; on leaving it is stopped, and must have ended well."""
    run = build_notifier(settings, run_id="a-test", **{"duration_s": 300, **options})
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in run.run():
                pass
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield run
    finally:
        run.stop()
        thread.join(40)
    assert not thread.is_alive()
    if problems:
        raise problems[0]


class Subscriber:
    """A queue that is subscribed to the topic."""

    def __init__(self, settings: Settings, *, attributes: dict[str, Sequence[str]] | None = None) -> None:
        self._sqs = aws_client(settings, "sqs")
        sns = aws_client(settings, "sns")
        arn = topic_arn(settings, settings.status_topic)
        is_fifo = arn.endswith(".fifo")
        name = f"subscriber-{abs(hash((arn, str(attributes)))) % 10**9}{'.fifo' if is_fifo else ''}"
        self._url = self._sqs.create_queue(
            QueueName=name, Attributes={"FifoQueue": "true"} if is_fifo else {}
        )["QueueUrl"]
        queue_arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
        options = {"RawMessageDelivery": "true"}
        if attributes is not None:
            options["FilterPolicy"] = json.dumps(attributes)
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn, Attributes=options)
        sns.close()
        self.messages: list[dict[str, Any]] = []

    def take(self) -> list[dict[str, Any]]:
        """Take what has arrived; returns all that ever did."""
        while True:
            got = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", [])
            if not got:
                return self.messages
            self.messages += [json.loads(one["Body"]) for one in got]
            self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(place), "ReceiptHandle": one["ReceiptHandle"]} for place, one in enumerate(got)
                ],
            )
