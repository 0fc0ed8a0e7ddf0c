"""Only whoever has this start's key writes to the emulator: real requests over HTTP, signed by boto3 as AWS's
are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange_platform.local.emulator.server import Emulator
from exchange_platform.process.aws_clients import new_client
from exchange_platform.settings.aws import error_code
from exchange_platform.stores.lake import extensions as lake_extensions
from exchange_platform.stores.lake.s3 import S3Access
from exchange_platform.streams.sources.kinesis import ensure_stream

KEY = "a-key-of-this-start"
STREAM = "exchange-bets"
PUT = b'{"StreamName": "exchange-bets", "Records": [{"Data": "eA==", "PartitionKey": "1"}]}'


@dataclass(frozen=True)
class Locked:
    """An emulator that checks signatures."""

    url: str
    http: httpx.Client

    def client(self, service: str, key: str | None = KEY) -> Any:
        return new_client(service, region="eu-west-1", endpoint_url=self.url, emulator_key=key)

    def records(self) -> int:
        kinesis = self.client("kinesis")
        shard = kinesis.list_shards(StreamName=STREAM)["Shards"][0]["ShardId"]
        iterator = kinesis.get_shard_iterator(
            StreamName=STREAM, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        return len(kinesis.get_records(ShardIterator=iterator)["Records"])

    def put(self, headers: dict[str, str], body: bytes = PUT) -> httpx.Response:
        given = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Kinesis_20131202.PutRecords"}
        return httpx.post(
            f"{self.url}/", headers={**given, **headers}, content=body, trust_env=False, verify=False
        )


@pytest.fixture(scope="module")
def locked() -> Iterator[Locked]:
    server = Emulator(0, secret=KEY)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    with httpx.Client(trust_env=False, verify=False) as http:
        emulator = Locked(f"http://127.0.0.1:{server.port}", http)
        ensure_stream(emulator.client("kinesis"), STREAM)
        yield emulator
    server.close()
    thread.join(10)


def signed(url: str, body: bytes = PUT, *, key: str = KEY, age: timedelta = timedelta(0)) -> dict[str, str]:
    """The headers of a PutRecords that is signed as botocore signs it."""
    request = AWSRequest(
        "POST",
        f"{url}/",
        {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "Kinesis_20131202.PutRecords",
            "X-Amz-Date": (datetime.now(UTC) - age).strftime("%Y%m%dT%H%M%SZ"),
        },
        body,
    )
    request.context["timestamp"] = request.headers["X-Amz-Date"]
    auth: Any = SigV4Auth(Credentials("emulator", key), "kinesis", "eu-west-1")
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    auth._inject_signature_to_request(request, signature)
    return dict(request.headers.items())


def test_whoever_has_the_key_is_served_by_every_service(locked: Locked) -> None:
    before = locked.records()
    assert (
        locked.client("kinesis").put_records(
            StreamName=STREAM, Records=[{"Data": b"x", "PartitionKey": "1"}]
        )["FailedRecordCount"]
        == 0
    )
    assert locked.put(signed(locked.url)).status_code == 200
    assert locked.records() == before + 2
    assert locked.client("dynamodb").list_tables()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert locked.client("sts").get_caller_identity()["Account"]
    topic = locked.client("sns").create_topic(Name="a-topic")["TopicArn"]
    locked.client("sns").publish(TopicArn=topic, Message="a message: ä & <b>", Subject="s + t")
    sqs = locked.client("sqs")
    queue = sqs.create_queue(QueueName="a-queue")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="ä")
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "ä"
    s3 = locked.client("s3")
    s3.create_bucket(Bucket="a-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key in ("lake/a=b/ä ö+%2F~.parquet", "a//b", "an empty one"):
        s3.put_object(Bucket="a-bucket", Key=key, Body=b"" if "empty" in key else b"x" * 100_000)
        assert s3.head_object(Bucket="a-bucket", Key=key)["ContentLength"] in (0, 100_000)
    assert s3.list_objects_v2(Bucket="a-bucket", Prefix="lake/a=b/ä ö+")["KeyCount"] == 1


def test_duckdb_reads_and_writes_the_lake_on_it_with_the_key(
    locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked.client("s3").create_bucket(
        Bucket="a-lake", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "emulator")
    for key, reads in ((KEY, True), ("another", False)):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key)
        with duckdb.connect(config={**lake_extensions.CONFIG}) as connection:
            lake_extensions.load(connection, "httpfs")
            S3Access("eu-west-1", locked.url).grant(connection)
            copy = "COPY (SELECT 7 AS a) TO 's3://a-lake/ordner ä/a=b.parquet'"
            if reads:
                connection.execute(copy)
                assert connection.execute("SELECT a FROM 's3://a-lake/*/*.parquet'").fetchall() == [(7,)]
            else:
                with pytest.raises(duckdb.Error, match="403"):
                    connection.execute(copy)


def test_a_put_that_is_signed_with_another_key_writes_nothing(locked: Locked) -> None:
    """Any signature was taken: whoever reached the port wrote bets."""
    before = locked.records()
    for key in ("another-key", None):
        with pytest.raises(ClientError) as refused:
            locked.client("kinesis", key).put_records(
                StreamName=STREAM, Records=[{"Data": b"x", "PartitionKey": "1"}]
            )
        assert error_code(refused.value) == "InvalidSignatureException"
        for service, call in (("sns", "list_topics"), ("sqs", "list_queues"), ("sts", "get_caller_identity")):
            with pytest.raises(ClientError, match="signature"):
                getattr(locked.client(service, key), call)()
    assert locked.records() == before


def test_an_unsigned_an_old_and_a_changed_put_write_nothing(locked: Locked) -> None:
    before = locked.records()
    good = signed(locked.url)
    wrong: list[tuple[dict[str, str], bytes]] = [
        ({}, PUT),
        ({"Authorization": ""}, PUT),
        (signed(locked.url, age=timedelta(minutes=16)), PUT),
        (signed(locked.url, age=timedelta(minutes=-16)), PUT),
        (good, PUT.replace(b"eA==", b"eQ==")),
        ({**good, "X-Amz-Content-SHA256": "0" * 64}, PUT),
        ({**good, "X-Amz-Date": "20260101T000000Z"}, PUT),
        ({**good, "X-Amz-Date": "yesterday"}, PUT),
        ({**good, "X-Amz-Target": "Kinesis_20131202.DeleteStream"}, PUT),
        ({**good, "Authorization": good["Authorization"].replace("emulator/", "another/")}, PUT),
        (
            {**good, "Authorization": good["Authorization"].replace("content-type;host;", "content-type;")},
            PUT,
        ),
        ({**good, "Authorization": good["Authorization"].replace("x-amz-target", "x-amz-targets")}, PUT),
    ]
    for headers, body in wrong:
        answer = locked.put(headers, body)
        assert answer.status_code == 403, headers
    assert locked.records() == before
    unsigned_digest = signed(locked.url)
    unsigned_digest["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    assert locked.put(unsigned_digest).status_code == 403


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=200),
    st.integers(0, 300),
)
def test_no_header_of_any_form_is_a_signature(locked: Locked, text: str, cut: int) -> None:
    good = signed(locked.url)["Authorization"]
    for value in (text, good[:cut] + text.strip() + good[cut + 1 :]):
        if value == good:
            continue
        answer = locked.http.post(
            f"{locked.url}/",
            headers=[
                (b"Authorization", value.strip().encode("latin-1")),
                (b"X-Amz-Target", b"Kinesis_20131202.PutRecords"),
            ],
            content=PUT,
        )
        assert answer.status_code in (400, 403)


@pytest.mark.parametrize("path", ["/moto-api/reset", "/moto-api/data.json", "/moto-api/", "/moto-api"])
def test_nobody_resets_the_emulator(locked: Locked, path: str) -> None:
    """`POST /moto-api/reset` deleted every stream."""
    for headers in ({}, signed(locked.url)):
        assert (
            httpx.post(f"{locked.url}{path}", headers=headers, trust_env=False, verify=False).status_code
            == 403
        )
        assert httpx.get(f"{locked.url}{path}", trust_env=False, verify=False).status_code == 403
    assert locked.records() >= 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "kinesis.eu-west-1.amazonaws.com"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["OPTIONS", "POST", "GET"])
def test_no_page_of_a_browser_gets_in_whatever_its_origin(
    locked: Locked, emulator_url: str, method: str, headers: dict[str, str]
) -> None:
    """It echoed any Origin, and so let its page read and write."""
    for url in (locked.url, emulator_url):  # with a key, and without one
        answer = httpx.request(
            method,
            f"{url}/",
            headers={"Access-Control-Request-Method": "POST", **headers},
            trust_env=False,
            verify=False,
        )
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_what_is_let_in_is_answered_without_cors(locked: Locked) -> None:
    own = {"Origin": locked.url}
    answer = locked.put({**signed(locked.url), **own})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_its_health_needs_no_key(locked: Locked) -> None:
    assert httpx.get(f"{locked.url}/health", trust_env=False, verify=False).json() == {"healthy": True}
