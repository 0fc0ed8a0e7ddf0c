"""What this identity may do on AWS, tried with calls that change nothing. Not here: whether the parts are
there (findings.py).

A write is tried with a condition that can't hold, or is begun and taken back. What can't be tried so
(publishing orders, mail, messages, figures, runs' output) is not guessed at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client, error_code
from exchange_platform.settings.section import PREFIX
from exchange_platform.stores.dagster_database import dagster_answers

Trial = tuple[str, str, Callable[[], str]]
"""A part, what to do if it is refused, and the trial: what it says when it went well."""

_HELD_BACK = "ConditionalCheckFailedException"
_NOT_SETTINGS = ("CHILD", "CHECKOUT", "DEBUG", "PYTHON")
_GRANT = "give this identity {}; Terraform's roles have it (deployments/terraform/modules/)"


def trials(settings: Settings) -> Iterator[Trial]:
    """Each trial that the settings call for."""
    yield (
        "permission to read the stream",
        _GRANT.format("kinesis:ListShards, GetShardIterator and GetRecords"),
        lambda: _read_stream(settings),
    )
    yield (
        "permission to write the profile view",
        _GRANT.format("dynamodb:PutItem"),
        lambda: _write_profile(settings),
    )
    yield (
        "permission to write tokens",
        _GRANT.format("dynamodb:UpdateItem"),
        lambda: _write_token(settings),
    )
    location = urlsplit(settings.lake_data_location)
    if location.scheme == "s3":
        yield (
            "permission to write the lake's files",
            _GRANT.format("s3:PutObject and AbortMultipartUpload, and the use of the key"),
            lambda: _write_bucket(settings, location.netloc, location.path.lstrip("/")),
        )
    if settings.run_task is not None:
        task = settings.run_task
        yield (
            "task of runs",
            "is EXCHANGE_PLATFORM_RUN_TASK right, and may this identity ecs:DescribeTaskDefinition?",
            lambda: _task_definition(settings, task),
        )
    if settings.dagster_host is not None:
        yield (
            "dagster's database",
            "`exchange-platform migrate` creates it; are EXCHANGE_PLATFORM_DAGSTER_HOST and its password right?",
            lambda: f"PostgreSQL {dagster_answers(settings)} at {settings.dagster_host}",
        )


def unknown_variables() -> list[str]:
    """Variables of the environment that look like settings and are none: misspelt, or of another version."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX)
        and name.removesuffix("_SECRET") not in known
        and not name.startswith(f"{PREFIX}TEST_")
        and name.removeprefix(PREFIX) not in _NOT_SETTINGS
    )


def _read_stream(settings: Settings) -> str:
    client = aws_client(settings, "kinesis", read_timeout_s=5)
    try:
        shard = client.list_shards(StreamName=settings.bets_stream)["Shards"][0]["ShardId"]
        iterator = client.get_shard_iterator(
            StreamName=settings.bets_stream, ShardId=shard, ShardIteratorType="LATEST"
        )["ShardIterator"]
        client.get_records(ShardIterator=iterator, Limit=1)
    finally:
        client.close()
    return f"{settings.bets_stream} can be listed and read"


def _write_profile(settings: Settings) -> str:
    item = {"user_id": {"S": "doctor"}}
    return _held_back(settings, "put_item", settings.profiles_table, "user_id", Item=item)


def _write_token(settings: Settings) -> str:
    key = {"account_id": {"S": "doctor"}}
    return _held_back(settings, "update_item", settings.tokens_table, "account_id", Key=key)


def _held_back(settings: Settings, write: str, table: str, key: str, **what: Any) -> str:
    """Try a write whose condition can't hold."""
    client = aws_client(settings, "dynamodb", read_timeout_s=5)
    try:
        getattr(client, write)(
            TableName=table,
            ConditionExpression=f"attribute_exists({key}) AND attribute_not_exists({key})",
            **what,
        )
    except ClientError as error:
        if error_code(error) != _HELD_BACK:
            raise
    finally:
        client.close()
    return f"{table} can be written"


def _write_bucket(settings: Settings, bucket: str, prefix: str) -> str:
    client: Any = aws_client(settings, "s3", read_timeout_s=5)
    key = f"{prefix}doctor"
    try:
        begun = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=begun)
    finally:
        client.close()
    return f"{bucket} can be written"


def _task_definition(settings: Settings, task: str) -> str:
    client = aws_client(settings, "ecs", read_timeout_s=5)
    try:
        found = client.describe_task_definition(taskDefinition=task)["taskDefinition"]
    finally:
        client.close()
    if "run" not in [container["name"] for container in found["containerDefinitions"]]:
        raise LookupError(f"{task} has no container `run`")
    return f"{found['taskDefinitionArn'].rpartition('/')[2]}: {found.get('cpu')} CPU units, {found.get('memory')} MiB"
