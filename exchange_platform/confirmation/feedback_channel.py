"""Receives what SES says of its mails from an SQS queue and marks the accounts. Not here: reading it
(feedback.py).

A queue behind the SNS topic needs no public endpoint, keeps what comes while nobody looks, and lets in what
its policy says. A message is deleted once what it reports is committed; one that comes twice changes nothing
the second time.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.confirmation.feedback import MailRefusal, UnreadableFeedback, read_feedback
from exchange_platform.delivery.delivery import Figures, Lease
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings.aws import error_code
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.accounts.accounts import mark_address_undeliverable
from exchange_platform.stores.operational.consumers.dead_letters import bury
from exchange_platform.stores.operational.database import Database

log = logging.getLogger(__name__)

FEEDBACK = "mail-feedback"
_AT_ONCE = 10
_WAIT_S = 1
_POLL_S = 1.0


class FeedbackChannel:
    """The feedback's way in: a `Channel` of the run that mails confirmations. Needs no claim: marking twice
    is marking once.
    """

    name = FEEDBACK

    def __init__(
        self, client: Any, queue: str, topic: str | None, database: Database, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """`queue` is a name or a URL; nothing is opened yet."""
        self._client = client
        self._queue = queue
        self._topic = topic
        self._database = database
        self._clock = clock
        self._url = queue if "://" in queue else ""
        self._counts: Counter[str] = Counter()

    def claim(self, epoch: int) -> None:
        """Nothing to claim."""

    def work(self, lease: Lease) -> float:
        """Receive some messages, mark what they tell, and delete them. Raises `StoreUnavailable`."""
        if not lease.holds():
            return _POLL_S
        try:
            if not self._url:
                self._url = self._client.get_queue_url(QueueName=self._queue)["QueueUrl"]
            answer = self._client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=_AT_ONCE, WaitTimeSeconds=_WAIT_S
            )
            messages = answer.get("Messages", [])
            if messages:
                self.apply([(one["MessageId"], one["Body"]) for one in messages])
                entries = [
                    {"Id": str(number), "ReceiptHandle": one["ReceiptHandle"]}
                    for number, one in enumerate(messages)
                ]
                self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        except (ClientError, BotoCoreError) as error:
            raise StoreUnavailable(f"queue {self._queue}: {error_code(error)}: {error}") from error
        return 0.0 if len(messages) == _AT_ONCE else _POLL_S

    def apply(self, messages: Sequence[tuple[str, str]]) -> None:
        """Mark what the messages (id, body) tell; what can't be read becomes a dead letter. One
        transaction.
        """
        now_us = self._clock.now_us()
        refusals: list[MailRefusal] = []
        unreadable: list[tuple[str, str, str]] = []
        for message_id, body in messages:
            try:
                refusals += read_feedback(body, self._topic)
            except UnreadableFeedback as error:
                unreadable.append((message_id, body, str(error)))
        marked = 0
        with self._database.write() as connection:
            for refusal in refusals:
                marked += mark_address_undeliverable(
                    connection,
                    refusal.address,
                    refusal.reason,
                    observed_at_us=refusal.observed_at_us,
                    now_us=now_us,
                )
            bury(connection, [_dead_letter(*one, now_us) for one in unreadable])
        self._counts.update(received=len(messages), undeliverable=marked, unreadable=len(unreadable))
        for _, _, why in unreadable:
            log.warning("feedback that can't be read: %s", why)

    def drain(self, timeout_s: float) -> None:
        """Nothing is under way between two calls."""

    def figures(self) -> Figures:
        """Counts since the run began."""
        return {name: self._counts[name] for name in ("received", "undeliverable", "unreadable")}

    def last_error(self) -> str | None:
        """What there is, `work` has raised."""
        return None

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def _dead_letter(message_id: str, body: str, reason: str, now_us: int) -> dict[str, Any]:
    return {
        "source": FEEDBACK,
        "shard": FEEDBACK,
        "position": message_id,
        "part": 0,
        "stage": "decode",
        "reason": reason,
        "data": body.encode("utf-8", "replace"),
        "partition_key": "",
        "arrived_at_us": now_us,
        "dead_at_us": now_us,
    }


def ensure_feedback_queue(sns: Any, sqs: Any, topic: str, queue: str) -> str:
    """Create the topic and the queue behind it unless they exist; only the topic may write to the queue.
    Returns the topic's ARN.
    """
    topic_arn: str = sns.create_topic(Name=topic)["TopicArn"]
    with contextlib.suppress(sqs.exceptions.QueueNameExists):
        sqs.create_queue(QueueName=queue)
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn, ReturnSubscriptionArn=True)
    return topic_arn
