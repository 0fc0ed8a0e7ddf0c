"""SES's bounces and complaints, as they come through SNS into the queue: read strictly, applied once, never
lost.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.confirmation.feedback import MailRefusal, UnreadableFeedback, read_feedback
from exchange_platform.confirmation.feedback_channel import FEEDBACK, FeedbackChannel, ensure_feedback_queue
from exchange_platform.domain.accounts import AccountState
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.stores.operational.database import from_us
from tests.support.account_parts import CLIENT, MINUTE, NOW_US, AccountParts

TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail-feedback"
AT = from_us(NOW_US + MINUTE).isoformat().replace("+00:00", "Z")


def bounce(
    address: str = "ann@example.com", kind: str = "Permanent", named: str = "notificationType"
) -> dict[str, Any]:
    """A notification as SES writes it."""
    return {
        named: "Bounce",
        "bounce": {
            "bounceType": kind,
            "bounceSubType": "General",
            "bouncedRecipients": [
                {
                    "emailAddress": address,
                    "action": "failed",
                    "status": "5.1.1",
                    "diagnosticCode": "smtp; 550 5.1.1 user\nunknown",
                }
            ],
            "timestamp": AT,
            "feedbackId": "0102",
            "remoteMtaIp": "192.0.2.7",
        },
        "mail": {"timestamp": AT, "messageId": "x", "destination": [address]},
    }


def complaint(kind: str | None) -> dict[str, Any]:
    told = {"complainedRecipients": [{"emailAddress": "ann@example.com"}], "timestamp": AT}
    return {
        "notificationType": "Complaint",
        "complaint": told | ({"complaintFeedbackType": kind} if kind else {}),
        "mail": {},
    }


def envelope(message: object, topic: str = TOPIC, kind: str = "Notification") -> str:
    return json.dumps(
        {
            "Type": kind,
            "MessageId": "22b80b92",
            "TopicArn": topic,
            "Message": message if isinstance(message, str) else json.dumps(message),
            "Timestamp": AT,
            "SignatureVersion": "1",
        }
    )


@pytest.mark.parametrize("named", ["notificationType", "eventType"])
def test_a_permanent_bounce_refuses_its_address_with_the_server_s_words_on_one_line(named: str) -> None:
    assert read_feedback(envelope(bounce(named=named)), TOPIC) == [
        MailRefusal("ann@example.com", "bounced: smtp; 550 5.1.1 user unknown", NOW_US + MINUTE)
    ]


def test_a_complaint_refuses_its_address_unless_it_takes_one_back() -> None:
    assert [one.reason for one in read_feedback(envelope(complaint("abuse")), TOPIC)] == ["complained: abuse"]
    assert [one.reason for one in read_feedback(envelope(complaint(None)), TOPIC)] == ["complained: as spam"]
    assert read_feedback(envelope(complaint("not-spam")), TOPIC) == []


@pytest.mark.parametrize(
    "message",
    [
        bounce(kind="Transient"),
        bounce(kind="Undetermined"),
        {"notificationType": "Delivery", "delivery": {}, "mail": {}},
        {"eventType": "Open", "open": {}},
        "Successfully validated SNS topic for Amazon SES event publishing.",
    ],
)
def test_what_asks_for_nothing_is_read_and_changes_nothing(message: object) -> None:
    assert read_feedback(envelope(message), TOPIC) == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "{}",
        json.dumps(bounce()),  # not through SNS
        envelope(bounce(), kind="SubscriptionConfirmation"),
        envelope(bounce(), topic="arn:aws:sns:eu-west-1:999999999999:others"),
        envelope("no JSON"),
        envelope({"bounce": {}}),
        envelope({"notificationType": "Bounce"}),
        envelope({"notificationType": "Complaint", "complaint": {"complainedRecipients": "ann@example.com"}}),
        envelope(bounce(address="nobody")),
        envelope(bounce()).replace(AT, "yesterday").replace("Timestamp", "T"),
    ],
)
def test_anything_else_is_refused(body: str) -> None:
    with pytest.raises(UnreadableFeedback):
        read_feedback(body, TOPIC)


@given(
    st.one_of(
        st.text(),
        st.recursive(st.none() | st.text(), lambda x: st.dictionaries(st.text(), x)).map(json.dumps),
    )
)
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    for body in (text, envelope(text)):
        try:
            assert read_feedback(body, TOPIC) == []
        except UnreadableFeedback:
            continue


class _Held:
    ending = threading.Event()

    def holds(self) -> bool:
        return True


@pytest.fixture
def channel(parts: AccountParts) -> Iterator[FeedbackChannel]:
    sns, sqs = aws_client(parts.settings, "sns"), aws_client(parts.settings, "sqs")
    name = parts.settings.tokens_table.replace("tokens", "feedback")
    for _ in range(2):
        parts.topic_arn = ensure_feedback_queue(sns, sqs, name, name)  # type: ignore[attr-defined]
    made = FeedbackChannel(sqs, name, name, parts.database, clock=parts.clock)
    yield made
    sns.close()
    made.close()


def _publish(parts: AccountParts, message: object) -> None:
    sns = aws_client(parts.settings, "sns")
    text = message if isinstance(message, str) else json.dumps(message)
    sns.publish(TopicArn=parts.topic_arn, Message=text)  # type: ignore[attr-defined]
    sns.close()


def _received(channel: FeedbackChannel, count: int) -> None:
    while (channel.figures()["received"] or 0) < count:
        channel.work(_Held())


def test_a_bounce_through_sns_marks_its_account_and_a_repeat_changes_nothing(
    parts: AccountParts, channel: FeedbackChannel
) -> None:
    account_id = parts.register("Ann@example.com")
    parts.service.confirm(parts.codes()[0], CLIENT)
    parts.clock.now += 2 * MINUTE
    for _ in range(2):
        _publish(parts, bounce(address="ann@EXAMPLE.com"))
    _received(channel, 2)
    account = parts.account(account_id)
    assert account.state is AccountState.UNDELIVERABLE
    assert account.state_reason == "bounced: smtp; 550 5.1.1 user unknown"
    assert channel.figures() == {"received": 2, "undeliverable": 1, "unreadable": 0}
    assert channel.work(_Held()) > 0
    assert (channel.figures()["received"] or 0) == 2


def test_what_can_t_be_read_is_a_dead_letter_and_the_rest_goes_on(
    parts: AccountParts, channel: FeedbackChannel
) -> None:
    account_id = parts.register()
    parts.clock.now += 2 * MINUTE
    _publish(parts, "nonsense")
    _publish(parts, bounce())
    _received(channel, 2)
    assert parts.account(account_id).state is AccountState.UNDELIVERABLE
    (letter,) = DeadLetters(parts.database).list()
    assert (letter.source, letter.stage) == (FEEDBACK, "decode")
    assert "no notification of SES" in letter.reason


def test_a_message_is_deleted_only_once_it_is_applied(parts: AccountParts, channel: FeedbackChannel) -> None:
    account_id = parts.register()
    parts.clock.now += 2 * MINUTE
    _publish(parts, bounce())
    messages = channel._client.receive_message(QueueUrl=_url(channel), VisibilityTimeout=0)["Messages"]
    assert len(messages) == 1  # received by somebody who died with it
    _received(channel, 1)
    assert parts.account(account_id).state is AccountState.UNDELIVERABLE


def test_a_queue_that_is_not_there_is_waited_for(parts: AccountParts) -> None:
    channel = FeedbackChannel(aws_client(parts.settings, "sqs"), "no-such-queue", None, parts.database)
    with pytest.raises(StoreUnavailable, match="no-such-queue"):
        channel.work(_Held())
    channel.close()


def _url(channel: FeedbackChannel) -> str:
    return str(channel._client.get_queue_url(QueueName=channel._queue)["QueueUrl"])
