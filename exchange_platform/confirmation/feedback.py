"""What SES reports of mails that it could not deliver: read strictly, as it comes through SNS into a queue.
Not here: receiving it (feedback_channel.py).

Formats: the SNS envelope (Amazon SNS, "Fanout to Amazon SQS queues"), and in it SES's notification or event
("Amazon SNS notification contents for Amazon SES"; "Contents of event data that Amazon SES publishes to
Amazon SNS"): the same but for the name of the field that says what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parseaddr
from typing import Annotated, Literal

import msgspec

from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.operational.database import to_us

_VALIDATED = "Successfully validated SNS topic for Amazon SES"
_MAX_SAID = 160

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


COMPLAINED = "complained"
"""How the reason of a complaint begins."""


class UnreadableFeedback(ValueError):
    """The message is not what SES sends through the topic: dead-letter it. The text says why."""


@dataclass(frozen=True, slots=True)
class MailRefusal:
    """An address that mail does not reach, or whose reader complained; why, and when that was observed."""

    address: str
    reason: str
    observed_at_us: int


class _Envelope(msgspec.Struct, frozen=True):
    kind: Literal["Notification"] = msgspec.field(name="Type")
    message_id: str = msgspec.field(name="MessageId")
    topic_arn: str = msgspec.field(name="TopicArn")
    message: str = msgspec.field(name="Message")


class _Recipient(msgspec.Struct, frozen=True, rename="camel"):
    email_address: str
    status: str = ""
    diagnostic_code: str = ""


class _Bounce(msgspec.Struct, frozen=True, rename="camel"):
    bounce_type: str
    bounced_recipients: list[_Recipient]
    timestamp: Instant
    bounce_sub_type: str = ""


class _Complaint(msgspec.Struct, frozen=True, rename="camel"):
    complained_recipients: list[_Recipient]
    timestamp: Instant
    complaint_feedback_type: str | None = None


class _Feedback(msgspec.Struct, frozen=True, rename="camel"):
    notification_type: str | None = None
    event_type: str | None = None
    bounce: _Bounce | None = None
    complaint: _Complaint | None = None


_envelopes = json_decoder(_Envelope)
_feedbacks = json_decoder(_Feedback)


def read_feedback(body: str | bytes, topic: str | None) -> list[MailRefusal]:
    """The refusals that a queue's message reports; none for what asks for nothing (deliveries, bounces that
    pass). Raises `UnreadableFeedback`.

    `topic` is the name or ARN of the only topic that is believed; None believes whatever the queue's own
    policy lets in.
    """
    try:
        envelope = _envelopes.decode(body)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise UnreadableFeedback(f"no SNS notification: {error}") from None
    if topic is not None and topic not in (envelope.topic_arn, envelope.topic_arn.rpartition(":")[2]):
        raise UnreadableFeedback(
            f"it came through the topic {envelope.topic_arn!r}; {topic!r} alone is believed"
        )
    if envelope.message.startswith(_VALIDATED):
        return []
    try:
        feedback = _feedbacks.decode(envelope.message)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise UnreadableFeedback(f"no notification of SES: {error}") from None
    kind = feedback.notification_type or feedback.event_type
    if kind is None:
        raise UnreadableFeedback("no notification of SES: it has neither a notificationType nor an eventType")
    if kind == "Bounce":
        if feedback.bounce is None:
            raise UnreadableFeedback("a Bounce without its bounce")
        return _of_bounce(feedback.bounce)
    if kind == "Complaint":
        if feedback.complaint is None:
            raise UnreadableFeedback("a Complaint without its complaint")
        return _of_complaint(feedback.complaint)
    return []


def _of_bounce(bounce: _Bounce) -> list[MailRefusal]:
    """Only what is permanent: a full mailbox or a slow server passes, and SES has tried again by itself."""
    if bounce.bounce_type != "Permanent":
        return []
    return [
        MailRefusal(
            address,
            _line("bounced", recipient.diagnostic_code or recipient.status or bounce.bounce_sub_type),
            at,
        )
        for recipient, address, at in _addresses(bounce.bounced_recipients, bounce.timestamp)
    ]


def _of_complaint(complaint: _Complaint) -> list[MailRefusal]:
    """Every complaint but that a mail was taken for spam by mistake."""
    if complaint.complaint_feedback_type == "not-spam":
        return []
    return [
        MailRefusal(address, _line(COMPLAINED, complaint.complaint_feedback_type or "as spam"), at)
        for _, address, at in _addresses(complaint.complained_recipients, complaint.timestamp)
    ]


def _addresses(recipients: Sequence[_Recipient], observed_at: datetime) -> list[tuple[_Recipient, str, int]]:
    found: list[tuple[_Recipient, str, int]] = []
    for recipient in recipients:
        address = parseaddr(recipient.email_address)[1]
        if "@" not in address:
            raise UnreadableFeedback(f"{recipient.email_address!r} is no address")
        found.append((recipient, address, to_us(observed_at)))
    return found


def _line(what: str, said: str) -> str:
    visible = "".join(character if character.isprintable() else " " for character in said)
    return f"{what}: {' '.join(visible.split())[:_MAX_SAID]}"
