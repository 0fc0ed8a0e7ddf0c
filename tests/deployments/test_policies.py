"""A policy is read as IAM reads it, and a request for what it asks: what the test of Terraform's policies
stands on. Not here: those (test_terraform.py).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.deployments.iam_of_requests import Call, Request, calls, given_out
from tests.deployments.policies import Grant, Policy, matches
from tests.deployments.recorded_calls import Recorder

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/bets"
LAKE = "arn:aws:s3:::a-lake"
READ, WRITE = Call("s3:GetObject", f"{LAKE}/lake/a/b"), Call("s3:PutObject", f"{LAKE}/lake/a/b")


def statement(**changes: Any) -> str:
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": f"{LAKE}/lake/*"}
    return json.dumps({"Statement": [{**allowed, **changes}]})


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("arn:aws:s3:::a/*", "arn:aws:s3:::a/b/c:d", True),
        ("arn:aws:s3:::a/*", "arn:aws:s3:::a", False),
        ("arn:aws:s3:::a", "arn:aws:s3:::ab", False),
        ("key-?", "key-1", True),
        ("key-?", "key-12", False),
        ("key-[1]", "key-1", False),
        ("a.b", "aXb", False),
    ],
)
def test_wildcards_stand_for_what_iam_says(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_a_call_is_refused_on_another_resource_and_for_another_action() -> None:
    elsewhere = Call("s3:GetObject", f"{LAKE}-of-others/lake/a")
    assert Policy.read(statement()).refused([READ, WRITE, elsewhere]) == {WRITE, elsewhere}
    assert Policy.read(statement(Action="S3:getobject")).refused([READ]) == set()


def test_a_call_is_refused_where_a_condition_does_not_hold() -> None:
    policy = Policy.read(statement(Condition={"StringEquals": {"aws:a": "1"}, "ArnEquals": {"aws:b": "2"}}))
    holds = READ._replace(context=(("aws:a", "1"), ("aws:b", "2"), ("aws:c", "3")))
    assert policy.refused([holds]) == set()
    for call in (READ, READ._replace(context=(("aws:a", "1"), ("aws:b", "3")))):
        assert policy.refused([call]) == {call}


def test_what_no_call_needs_is_found_on_each_resource() -> None:
    policy = Policy.read(statement(Resource=[f"{LAKE}/lake/*", f"{LAKE}/other"]))
    other = Grant("s3:GetObject", f"{LAKE}/other")
    assert policy.unused([READ]) == {other}
    assert policy.unexplained([READ], [Grant("s3:GetObject", "*/other")]) == set()


def test_a_reason_that_is_given_for_nothing_is_found() -> None:
    outdated = Grant("s3:DeleteObject", "*")
    assert Policy.read(statement()).unexplained([READ], [outdated]) == {outdated}


@pytest.mark.parametrize(
    "changes",
    [
        {"Resource": "*"},
        {"Resource": f"{LAKE}/*"},
        {"Resource": f"{LAKE}*/lake/*"},
        {"Resource": f"{LAKE}/lake/?"},
        {"Action": "s3:Get*"},
    ],
)
def test_a_wildcard_for_more_than_the_platform_s_folder_is_loose(changes: dict[str, str]) -> None:
    assert Policy.read(statement()).loose([f"{LAKE}/lake/"]) == set()
    assert len(Policy.read(statement(**changes)).loose([f"{LAKE}/lake/"])) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": "Deny"},
        {"Condition": {"StringLike": {"aws:SourceAccount": "1"}}},
        {"Condition": {"StringEquals": {"aws:SourceAccount": ["1", "2"]}}},
        {"NotAction": "s3:PutObject"},
        {"NotResource": LAKE},
    ],
)
def test_what_is_not_understood_is_not_taken_for_a_permission(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="statement"):
        Policy.read(statement(**changes))


def asked(target: str = "", service: str = "", body: Any = b"", **changes: str) -> Request:
    """A request of a signed call."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    values = {"method": "POST", "path": "/", "query": ""} | changes
    return Request(**values, target=target, service=service, region="eu-west-1", body=sent)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            asked("DynamoDB_20120810.Query", "dynamodb", {"TableName": "t", "IndexName": "by-name"}),
            {("dynamodb:Query", "arn:aws:dynamodb:eu-west-1:123456789012:table/t/index/by-name")},
        ),
        (
            asked(
                "DynamoDB_20120810.TransactWriteItems",
                "dynamodb",
                {"TransactItems": [{"Put": {"TableName": "t"}}, {"ConditionCheck": {"TableName": "u"}}]},
            ),
            {
                ("dynamodb:PutItem", "arn:aws:dynamodb:eu-west-1:123456789012:table/t"),
                ("dynamodb:ConditionCheckItem", "arn:aws:dynamodb:eu-west-1:123456789012:table/u"),
            },
        ),
        (
            asked("AmazonSQS.DeleteMessageBatch", "sqs", {"QueueUrl": "http://127.0.0.1:1/123456789012/q"}),
            {("sqs:DeleteMessage", "arn:aws:sqs:eu-west-1:123456789012:q")},
        ),
        (
            asked(service="sns", body=b"Action=PublishBatch&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A1%3At"),
            {("sns:Publish", "arn:aws:sns:eu-west-1:1:t")},
        ),
        (asked(service="sts", body=b"Action=GetCallerIdentity"), set()),
        (
            asked(service="ec2", body=b"Action=DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-1"),
            {("ec2:DescribeNetworkInterfaces", "*")},
        ),
        (
            asked(
                "AmazonEC2ContainerServiceV20141113.StopTask",
                "ecs",
                {"cluster": "c", "task": "arn:aws:ecs:eu-west-1:123456789012:task/c/1"},
            ),
            {("ecs:StopTask", "arn:aws:ecs:eu-west-1:123456789012:task/c/1")},
        ),
        (
            asked(
                service="ses",
                path="/v2/email/outbound-emails",
                body={
                    "FromEmailAddress": "Exchange <mail@exchange.example>",
                    "ConfigurationSetName": "feedback",
                    "Content": {"Raw": {}},
                },
            ),
            {
                ("ses:SendRawEmail", "arn:aws:ses:eu-west-1:123456789012:identity/exchange.example"),
                ("ses:SendRawEmail", "arn:aws:ses:eu-west-1:123456789012:configuration-set/feedback"),
            },
        ),
        (
            asked(service="s3", method="GET", path="/a-lake", query="list-type=2&prefix=lake"),
            {("s3:ListBucket", LAKE)},
        ),
        (
            asked(
                service="s3",
                path="/a-lake",
                query="delete=",
                body=b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a/b</Key></Object></Delete>',
            ),
            {("s3:DeleteObject", f"{LAKE}/a/b")},
        ),
        (
            asked(service="s3", method="DELETE", path="/a-lake/a/b", query="uploadId=1"),
            {("s3:AbortMultipartUpload", f"{LAKE}/a/b")},
        ),
        (
            asked(service="s3", path="/a-lake/a/b", query="uploads="),
            {("s3:PutObject", f"{LAKE}/a/b")},
        ),
    ],
    ids=lambda value: value.target or value.service if isinstance(value, Request) else "",
)
def test_a_request_asks_for_actions_on_resources(request_: Request, expected: set[tuple[str, str]]) -> None:
    assert {call[:2] for call in calls(request_, {})} == expected


def test_a_listing_is_asked_for_with_its_prefix() -> None:
    (listing,) = calls(
        asked(service="s3", method="GET", path="/a-lake", query="list-type=2&prefix=lake%2F"), {}
    )
    (everything,) = calls(asked(service="s3", method="GET", path="/a-lake", query="list-type=2"), {})
    policy = Policy(frozenset({Grant("s3:ListBucket", LAKE, (("s3:prefix", "lake/"),))}))
    assert policy.refused([listing, everything]) == {everything}


def test_a_task_is_started_in_a_cluster_and_tagged() -> None:
    started = {
        "cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/c",
        "taskDefinition": "runs",
        "tags": [{}],
    }
    ecs = "arn:aws:ecs:eu-west-1:123456789012"
    assert calls(asked("AmazonEC2ContainerServiceV20141113.RunTask", "ecs", started), {}) == {
        Call("ecs:RunTask", f"{ecs}:task-definition/runs:1", (("ecs:cluster", f"{ecs}:cluster/c"),)),
        Call("ecs:TagResource", f"{ecs}:task/c/a-new-one"),
    }


def test_an_iterator_is_of_the_stream_that_it_was_given_out_for() -> None:
    first = asked("Kinesis_20131202.GetShardIterator", "kinesis", {"StreamName": "bets"})
    iterators = given_out(first, b'{"ShardIterator": "one"}', {})
    read = asked("Kinesis_20131202.GetRecords", "kinesis", {"ShardIterator": "one"})
    assert calls(read, iterators) == {Call("kinesis:GetRecords", STREAM)}
    assert given_out(read, b'{"NextShardIterator": "two", "Records": []}', iterators) == {"two": STREAM}


def test_two_tasks_are_not_at_work_at_once() -> None:
    recorder = Recorder(None)
    with (
        recorder.at_work("api"),
        pytest.raises(RuntimeError, match="api is at work"),
        recorder.at_work("runs"),
    ):
        pass
