"""What `doctor` finds of AWS, or of the emulator in its place. Not here: what this identity may do
(permissions.py).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.doctor.findings import Finding, Level, safely
from exchange_platform.process.aws_clients import is_on_this_machine
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client, error_code, topic_arn
from exchange_platform.settings.locations import shown_url
from exchange_platform.stores.dynamodb.confirmation_tokens import TTL_ATTRIBUTE, ttl_attribute

MAX_SKEW_S = 60.0
_MISSING = (
    "ResourceNotFoundException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
)


def aws_findings(settings: Settings) -> Iterator[Finding]:
    """AWS answers, its clock, the streams, tables, the topic and the queue, each as a finding."""
    endpoint = shown_url(settings.aws_endpoint_url or f"AWS {settings.aws_region}")
    kinesis, dynamodb = (
        aws_client(settings, "kinesis", read_timeout_s=3),
        aws_client(settings, "dynamodb", read_timeout_s=3),
    )
    makes = "`exchange-platform up` makes it" if _is_emulator(settings) else "create it (Terraform does)"
    try:
        clock: Callable[[], Finding] | None = None
        for stream in (settings.bets_stream, settings.orders_stream):
            answer, finding = _asked(
                "stream",
                stream,
                makes,
                lambda stream=stream: kinesis.describe_stream_summary(StreamName=stream),  # type: ignore[misc]
            )
            if answer is not None:
                summary = answer["StreamDescriptionSummary"]
                finding = Finding(
                    "stream",
                    Level.FINE if summary["StreamStatus"] in ("ACTIVE", "UPDATING") else Level.WRONG,
                    f"{stream} at {endpoint}: {summary['StreamStatus'].lower()}, {summary['OpenShardCount']} open shards",
                )
                clock = functools.partial(_clock, answer)
            yield finding
        if clock is not None:
            yield safely("clock", clock)
        answer, finding = _asked(
            "profile view",
            settings.profiles_table,
            makes,
            lambda: dynamodb.describe_table(TableName=settings.profiles_table),
        )
        if answer is not None:
            status = answer["Table"]["TableStatus"]
            finding = Finding(
                "profile view",
                Level.FINE if status in ("ACTIVE", "UPDATING") else Level.WRONG,
                f"table {settings.profiles_table} at {endpoint}: {status.lower()}",
            )
        yield finding
        yield _tokens(settings, dynamodb, endpoint, makes)
        yield _topic(settings, endpoint, makes)
        if settings.mail_feedback_queue is not None:
            yield _feedback(settings, makes)
    finally:
        kinesis.close()
        dynamodb.close()


def _tokens(settings: Settings, dynamodb: Any, endpoint: str, makes: str) -> Finding:
    part, table = "confirmation tokens", settings.tokens_table
    answer, finding = _asked(part, table, makes, lambda: dynamodb.describe_table(TableName=table))
    if answer is None:
        return finding
    if ttl_attribute(dynamodb, table) != TTL_ATTRIBUTE:
        return Finding(
            part,
            Level.WRONG,
            f"table {table} at {endpoint}: no TTL on {TTL_ATTRIBUTE}, so hashes of old tokens stay for ever",
            f"enable its TTL on the attribute {TTL_ATTRIBUTE}",
        )
    return Finding(part, Level.FINE, f"table {table} at {endpoint}: TTL on {TTL_ATTRIBUTE}")


def _topic(settings: Settings, endpoint: str, makes: str) -> Finding:
    topic = settings.status_topic
    sns = aws_client(settings, "sns", read_timeout_s=3)
    try:
        answer, finding = _asked(
            "topic", topic, makes, lambda: sns.get_topic_attributes(TopicArn=topic_arn(settings, topic))
        )
    finally:
        sns.close()
    if answer is None:
        return finding
    subscribers = int(answer["Attributes"].get("SubscriptionsConfirmed", 0))
    told = "1 subscriber" if subscribers == 1 else f"{subscribers} subscribers"
    return Finding("topic", Level.FINE, f"{topic} at {endpoint}: {told}")


def _feedback(settings: Settings, makes: str) -> Finding:
    queue = settings.mail_feedback_queue or ""
    sqs = aws_client(settings, "sqs", read_timeout_s=3)
    try:
        return _asked(
            "mail feedback", queue, makes, lambda: sqs.get_queue_url(QueueName=queue.rpartition("/")[2])
        )[1]
    finally:
        sqs.close()


def _asked(part: str, name: str, makes: str, call: Callable[[], Any]) -> tuple[Any, Finding]:
    """The service's answer, or None and what is wrong with it."""
    try:
        return call(), Finding(part, Level.FINE, name)
    except (ClientError, BotoCoreError) as error:
        code = error_code(error)
        if code in _MISSING:
            return None, Finding(part, Level.WRONG, f"{name} does not exist", makes)
        if "AccessDenied" in code or "UnrecognizedClient" in code or "InvalidSignature" in code:
            return None, Finding(
                part,
                Level.WRONG,
                f"{name}: {code}",
                "give this identity permission to describe, read and write it",
            )
        if "Credentials" in code:
            return None, Finding(
                part,
                Level.WRONG,
                f"{name}: no AWS credentials",
                "set AWS_PROFILE, or the variables that boto3 reads",
            )
        return None, Finding(
            part,
            Level.WRONG,
            f"{name}: {' '.join(str(error).split())[:300]}",
            "is the endpoint right (EXCHANGE_PLATFORM_AWS_ENDPOINT_URL), and reachable from here?",
        )


def _is_emulator(settings: Settings) -> bool:
    return settings.aws_endpoint_url is not None and is_on_this_machine(settings.aws_endpoint_url)


def _clock(answer: Any) -> Finding:
    said = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
    skew_s = abs(time.time() - said)
    found = f"{skew_s:.0f} s from the stream's"
    if skew_s > MAX_SKEW_S:
        return Finding(
            "clock",
            Level.WRONG,
            found,
            "set this machine's clock (chrony, systemd-timesyncd): AWS refuses a wrong one",
        )
    return Finding("clock", Level.FINE, found)
