"""Peers without an end behind other libraries than httpx: boto3's, Elasticsearch's and Betfair's. Each is
left in bounded time and memory.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, HTTPClientError
from pydantic import SecretStr

from exchange_platform.exchanges.betfair import connection as betfair
from exchange_platform.exchanges.betfair import login as betfair_login
from exchange_platform.exchanges.betfair.connection import Connection, ConnectionEnded, Endpoint
from exchange_platform.exchanges.betfair.login import AccountLogin, BetfairAccount
from exchange_platform.mail.sender import SenderUnavailable
from exchange_platform.mail.senders.ses import SesSender
from exchange_platform.process import aws_clients
from exchange_platform.process.aws_clients import new_client
from exchange_platform.process.call_bounds import bounded_call, left_s
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import is_transient
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.event_index import elasticsearch as event_index_elasticsearch
from exchange_platform.stores.event_index.elasticsearch import ElasticsearchEventIndex
from tests.exchange_platform.mail.mails import outgoing
from tests.exchange_platform.mail.test_unbounded_servers import serving
from tests.exchange_platform.process.test_bounded_http import (
    ENDLESS,
    MB,
    compressed_bomb,
    dripped_body,
    endless_body,
)
from tests.support.certificates import Certificate

BOUND_S = 0.4
"""The time-outs in these tests; what is read drips faster than that, so that no single read ever times out.
"""
PATIENCE_S = 20 * BOUND_S
Talk = Callable[[socket.socket], None]
CALLS = {
    "kinesis": lambda client: client.get_records(ShardIterator="x"),
    "dynamodb": lambda client: client.get_item(TableName="t", Key={"user_id": {"S": "ann"}}),
    "sns": lambda client: client.publish(TopicArn="arn:aws:sns:eu-west-1:1:t", Message="m"),
    "sqs": lambda client: client.receive_message(QueueUrl="http://127.0.0.1/q"),
    "s3": lambda client: client.get_object(Bucket="b", Key="k")["Body"].read(),
}


@contextmanager
def left_soon() -> Iterator[None]:
    """What happens inside takes little time and little memory."""
    tracemalloc.start()
    began = time.monotonic()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < PATIENCE_S
    assert peak < 16 * MB


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_clients, "CONNECT_TIMEOUT_S", BOUND_S)
    for module in (aws_clients, event_index_elasticsearch):
        monkeypatch.setattr(module, "MAX_BYTES", MB)
    monkeypatch.setattr(event_index_elasticsearch, "_TIMEOUT_S", BOUND_S)
    monkeypatch.setattr(betfair_login, "MAX_LOGIN_S", BOUND_S)
    monkeypatch.setattr(betfair, "MAX_LINE_BYTES", MB)


@pytest.mark.parametrize(
    ("service", "talk"),
    [
        *(("kinesis", talk) for talk in ENDLESS if talk is not compressed_bomb),
        ("dynamodb", dripped_body),
        ("sns", endless_body),
        ("sqs", dripped_body),
    ],
)
def test_a_call_of_aws_ends_whatever_the_answer(service: str, talk: Talk) -> None:
    """A dripped answer held the caller for ever, an endless one filled the memory."""
    with serving(talk) as port:
        url = f"http://127.0.0.1:{port}"
        with closing(
            new_client(service, region="eu-west-1", endpoint_url=url, read_timeout_s=BOUND_S)
        ) as client:
            client.meta.events.register(
                "before-sign.sqs", lambda request, **_: setattr(request, "url", f"{url}/q")
            )
            with left_soon(), pytest.raises(BotoCoreError) as ended:
                CALLS[service](client)
    assert is_transient(ended.value)


def test_a_bomb_from_aws_stays_small() -> None:
    with serving(compressed_bomb) as port:
        url = f"http://127.0.0.1:{port}"
        client = new_client("kinesis", region="eu-west-1", endpoint_url=url, read_timeout_s=BOUND_S)
        with left_soon(), pytest.raises((BotoCoreError, ValueError)):
            client.get_records(ShardIterator="x")


def test_an_object_of_s3_may_be_longer_than_an_answer_and_its_error_may_not() -> None:
    def long_object(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3145728\r\n\r\n" + b"x" * 3 * MB)

    def endless_error(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            connection.sendall(b" " * 65536)

    for talk, fails in ((long_object, False), (endless_error, True)):
        with serving(talk) as port:
            url = f"http://127.0.0.1:{port}"
            client = new_client("s3", region="eu-west-1", endpoint_url=url, read_timeout_s=BOUND_S)
            if fails:
                with left_soon(), pytest.raises(HTTPClientError):
                    CALLS["s3"](client)
            else:
                assert len(CALLS["s3"](client)) == 3 * MB


def test_a_whole_answer_is_read_and_the_connection_kept() -> None:
    connections = []

    def polite(connection: socket.socket) -> None:
        connections.append(connection)
        while received := connection.recv(65536):
            if not received.endswith(b"}"):  # the request's head, without its body
                continue
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: 900000\r\n\r\n"
                + b'{"Records": []'.ljust(899_999)
                + b"}"
            )

    with serving(polite) as port:
        url = f"http://127.0.0.1:{port}"
        client = new_client("kinesis", region="eu-west-1", endpoint_url=url, read_timeout_s=5.0)
        for _ in range(3):
            assert client.get_records(ShardIterator="x")["Records"] == []
        client.close()
    assert len(connections) == 1


def test_a_peer_that_takes_a_large_request_bit_by_bit_is_left() -> None:
    def slow_reader(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        for _ in range(40):
            connection.recv(1024)
            time.sleep(0.05)

    with serving(slow_reader) as port:
        url = f"http://127.0.0.1:{port}"
        client = new_client("kinesis", region="eu-west-1", endpoint_url=url, read_timeout_s=BOUND_S)
        began = time.monotonic()
        with pytest.raises(BotoCoreError):
            client.put_record(StreamName="s", PartitionKey="1", Data=b"x" * 4 * MB)
        assert time.monotonic() - began < PATIENCE_S


@pytest.mark.parametrize("talk", [endless_body, dripped_body])
def test_a_mail_to_an_endless_ses_is_left_and_tried_later(talk: Talk, tmp_path: Path) -> None:
    with serving(talk) as port:
        settings = Settings(data_dir=tmp_path, aws_endpoint_url=f"http://127.0.0.1:{port}")
        client = new_client(
            "sesv2", region="eu-west-1", endpoint_url=settings.aws_endpoint_url, read_timeout_s=BOUND_S
        )
        sender = SesSender(settings, client)
        with left_soon(), pytest.raises(SenderUnavailable):
            sender.send(outgoing())


@pytest.mark.parametrize("talk", ENDLESS)
def test_an_endless_search_engine_is_unavailable(talk: Talk) -> None:
    with serving(talk) as port:
        index = ElasticsearchEventIndex(
            f"http://127.0.0.1:{port}", alias="events", api_key=None, clock=SYSTEM_CLOCK
        )
        with closing(index), left_soon(), pytest.raises(StoreUnavailable):
            index.prepare()


@pytest.mark.parametrize("talk", ENDLESS)
def test_an_endless_login_ends(talk: Talk) -> None:
    secret = SecretStr("secret")
    with serving(talk) as port:
        login = AccountLogin(BetfairAccount(secret, secret, secret, None, None, f"http://127.0.0.1:{port}"))
        with left_soon(), pytest.raises(ConnectionEnded):
            login.token(fresh=False)


def _endless_line(tls: ssl.SSLSocket) -> None:
    while True:
        tls.sendall(b" " * 65536)


def _dripped_line(tls: ssl.SSLSocket) -> None:
    while True:
        tls.sendall(b" ")
        time.sleep(0.05)


def _nothing_but_heartbeats(tls: ssl.SSLSocket) -> None:
    while True:
        tls.sendall(b'{"op": "status"}\r\n')
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (_endless_line, "a line of more than"),
        (_dripped_line, "took too long"),
        (_nothing_but_heartbeats, "took too long"),
    ],
)
def test_a_stream_that_brings_no_whole_line_or_never_what_was_asked_for_is_left(
    talk: Callable[[ssl.SSLSocket], None], why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = Certificate(tmp_path)
    monkeypatch.setattr(betfair, "MAX_LINE_S", BOUND_S)
    monkeypatch.setattr(betfair, "MAX_GREETING_S", BOUND_S)

    def over_tls(connection: socket.socket) -> None:
        with certificate.server_context.wrap_socket(connection, server_side=True) as tls:
            talk(tls)

    with serving(over_tls) as port:
        stream = Connection(
            Endpoint("127.0.0.1", port, certificate.client_context()),
            app_key="k",
            session_token="t",
            on_line=lambda _: None,
        )
        stream.expect_within(5.0)
        with left_soon(), pytest.raises(ConnectionEnded, match=why):
            stream.run({"market_filter": {}, "market_data_filter": {}})


def test_the_bounds_are_of_the_call_and_of_its_thread_alone() -> None:
    seen: list[Any] = []
    with bounded_call(until_s=time.monotonic() - 1):
        with pytest.raises(TimeoutError):
            left_s(1.0)
        with bounded_call(until_s=None):
            assert left_s(1.0) == 1.0
        other = threading.Thread(target=lambda: seen.append(left_s(7.0)))
        other.start()
        other.join()
        with pytest.raises(TimeoutError):
            left_s(None)
    assert (seen, left_s(None)) == ([7.0], None)
