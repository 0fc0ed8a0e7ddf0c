"""What the emulator answers by a shortcut is what moto answers: the same calls to both, one after the
other.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from exchange_platform.local.emulator.fast_paths import FastPaths
from exchange_platform.local.emulator.server import Emulator
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client

PASSED_ON: list[str] = []
DONE: dict[str, Any] = {"ConsumedCapacity": [], "ItemCollectionMetrics": {}}


class Noting(FastPaths):
    """Says which requests it left to moto."""

    def __init__(self, fast_paths: FastPaths) -> None:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            PASSED_ON.append(environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2])
            return fast_paths._application(environ, start_response)

        super().__init__(application)


def client(service: str, through: Callable[[Any], Any], directory: Path) -> Iterator[Any]:
    server = Emulator(0, through=through)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    settings = Settings(data_dir=directory, aws_endpoint_url=f"http://127.0.0.1:{server.port}")
    made = aws_client(settings, service)
    yield made
    made.close()
    server.close()
    thread.join(10)


class Both:
    """A service with fast paths and one without, in one process: they share moto's models."""

    def __init__(self, service: str, directory: Path) -> None:
        self._made = [
            client(service, Noting, directory),
            client(service, lambda one: one._application, directory),
        ]
        self.short, self.plain = (next(one) for one in self._made)

    def close(self) -> None:
        for one in self._made:
            next(one, None)

    def answers(self, operation: str, **asked: Any) -> tuple[Any, Any]:
        """What each says to the same call."""
        return told(self.short, operation, asked), told(self.plain, operation, asked)


def told(client: Any, operation: str, asked: dict[str, Any]) -> Any:
    try:
        answer = getattr(client, operation)(**asked)
    except ClientError as error:
        return error.response["Error"], error.response.get("CancellationReasons")
    answer.pop("ResponseMetadata")
    return answer


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Callable[[str], Both]]:
    made: list[Both] = []

    def of(service: str) -> Both:
        made.append(Both(service, tmp_path))
        return made[-1]

    PASSED_ON.clear()
    yield of
    for one in made:
        one.close()


@pytest.fixture
def name() -> str:
    return f"fast-paths-{uuid.uuid4().hex[:8]}"


def test_records_are_put_and_read(both: Callable[[str], Both], name: str) -> None:
    kinesis = both("kinesis")
    kinesis.plain.create_stream(StreamName=name, ShardCount=2)
    records = [{"Data": f"{number} é".encode(), "PartitionKey": f"key {number}"} for number in range(40)]
    short, plain = kinesis.answers("put_records", StreamName=name, Records=records)
    assert [one["ShardId"] for one in short["Records"]] == [one["ShardId"] for one in plain["Records"]]
    assert set(short) == set(plain)
    assert set(short["Records"][0]) == set(plain["Records"][0])
    for shard in ("shardId-000000000000", "shardId-000000000001"):
        iterator = kinesis.plain.get_shard_iterator(
            StreamName=name, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for limit in (1, 10_000):
            short, plain = kinesis.answers("get_records", ShardIterator=iterator, Limit=limit)
            for one, other in zip(short["Records"], plain["Records"], strict=True):
                arrived, as_told = (each.pop("ApproximateArrivalTimestamp") for each in (one, other))
                assert abs((arrived - as_told).total_seconds()) < 0.001
            assert short == plain
            assert short["Records"]
    assert PASSED_ON == []


@pytest.mark.parametrize(
    ("operation", "asked"),
    [
        ("get_records", {"ShardIterator": "nonsense"}),
        ("put_records", {"StreamName": "there-is-none", "Records": [{"Data": b"1", "PartitionKey": "1"}]}),
        (
            "put_records",
            {"StreamName": "there-is-none", "Records": [{"Data": b"1", "PartitionKey": "1"}] * 501},
        ),
    ],
)
def test_what_kinesis_refuses(both: Callable[[str], Both], operation: str, asked: dict[str, Any]) -> None:
    short, plain = both("kinesis").answers(operation, **asked)
    assert short == plain
    assert "Code" in short[0]
    assert len(PASSED_ON) == 1


def with_table(dynamodb: Both, name: str) -> Both:
    dynamodb.plain.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "user_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "user_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return dynamodb


def put(table: str, user: str, version: int, **more: Any) -> dict[str, Any]:
    return {
        "Put": {
            "TableName": table,
            "Item": {"user_id": {"S": user}, "version": {"N": str(version)}, "note": {"S": "é"}},
            "ConditionExpression": "attribute_not_exists(user_id) OR #version < :version",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": {":version": {"N": str(version)}},
            **more,
        }
    }


def test_transactions_of_puts(both: Callable[[str], Both], name: str) -> None:
    dynamodb = with_table(both("dynamodb"), name)

    def transact(*items: dict[str, Any]) -> Any:
        return told(dynamodb.short, "transact_write_items", {"TransactItems": list(items)})

    assert transact(put(name, "a", 1), put(name, "b", 1)) == DONE
    assert PASSED_ON == ["TransactWriteItems"]  # the first of its kind
    PASSED_ON.clear()
    assert transact(put(name, "a", 2), put(name, "c", 2)) == DONE
    assert PASSED_ON == []
    older = {"TransactItems": [put(name, "d", 3), put(name, "a", 1)]}
    short, plain = dynamodb.answers("transact_write_items", **older)
    assert short == plain
    assert [reason["Code"] for reason in short[1]] == ["None", "ConditionalCheckFailed"]
    held = {
        item["user_id"]["S"]: item["version"]["N"] for item in dynamodb.plain.scan(TableName=name)["Items"]
    }
    assert held == {"a": "2", "b": "1", "c": "2"}


@pytest.mark.parametrize(
    "more",
    [
        {"Item": {"user_id": {"S": ""}, "version": {"N": "1"}}},
        {"ExpressionAttributeNames": {"#version": "version", "#unused": "unused"}},
        {"ConditionExpression": "nonsense ("},
        {"TableName": "there-is-none"},
    ],
)
def test_transactions_that_are_refused_are_refused_again(
    both: Callable[[str], Both], name: str, more: dict[str, Any]
) -> None:
    dynamodb = with_table(both("dynamodb"), name)
    for _ in range(2):
        short, plain = dynamodb.answers("transact_write_items", TransactItems=[put(name, "a", 1, **more)])
        assert short == plain
        assert "Code" in short[0]


def entry(number: int, **more: Any) -> dict[str, Any]:
    return {
        "Id": f"id-{number}",
        "Message": f'{{"a": "é & <b> {number}"}}',
        "MessageGroupId": f"group {number}",
        "MessageDeduplicationId": f"only-{number}",
        "MessageAttributes": {
            "change": {"DataType": "String", "StringValue": "matched"},
            "count": {"DataType": "Number", "StringValue": "3"},
        },
        **more,
    }


def test_messages_are_published(both: Callable[[str], Both], name: str) -> None:
    sns, sqs = both("sns"), both("sqs")
    topic = sns.plain.create_topic(Name=f"{name}.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    heard: list[list[tuple[Any, ...]]] = []
    for number, publish in enumerate((sns.short, sns.plain)):
        queue = sqs.plain.create_queue(QueueName=f"{name}-{number}.fifo", Attributes={"FifoQueue": "true"})
        arn = sqs.plain.get_queue_attributes(QueueUrl=queue["QueueUrl"], AttributeNames=["QueueArn"])
        subscribed = sns.plain.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        asked = {"TopicArn": topic, "PublishBatchRequestEntries": [entry(one) for one in range(3)]}
        answer = told(publish, "publish_batch", asked)
        assert [one["Id"] for one in answer["Successful"]] == ["id-0", "id-1", "id-2"]
        assert answer["Failed"] == []
        got = sqs.plain.receive_message(
            QueueUrl=queue["QueueUrl"],
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
        )["Messages"]
        heard.append(
            [(one["Body"], one["MessageAttributes"], one["Attributes"]["MessageGroupId"]) for one in got]
        )
        sns.plain.unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])
    assert heard[0] == heard[1]
    assert heard[0][1][0] == '{"a": "é & <b> 1"}'
    assert PASSED_ON == []


@pytest.mark.parametrize(
    "entries",
    [
        [entry(number) for number in range(11)],
        [entry(1), entry(1)],
        [entry(1, MessageAttributes={"change": {"DataType": "Nonsense", "StringValue": "x"}})],
        [{"Id": "1", "Message": "no group"}],
    ],
    ids=["too many", "one id twice", "an attribute of no type", "no group"],
)
def test_what_sns_refuses(both: Callable[[str], Both], name: str, entries: list[dict[str, Any]]) -> None:
    sns = both("sns")
    topic = sns.plain.create_topic(Name=f"{name}.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    short, plain = sns.answers("publish_batch", TopicArn=topic, PublishBatchRequestEntries=entries)
    assert short == plain
    assert "Code" in short[0]


def test_other_calls_are_left_to_moto(both: Callable[[str], Both], name: str) -> None:
    sns = both("sns")
    topic = sns.short.create_topic(Name=name)["TopicArn"]
    binary = entry(1, MessageAttributes={"raw": {"DataType": "Binary", "BinaryValue": b"\0"}})
    for field in ("MessageGroupId", "MessageDeduplicationId"):
        del binary[field]
    answer = sns.short.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[binary])
    assert [one["Id"] for one in answer["Successful"]] == ["id-1"]
    assert len(PASSED_ON) == 2
