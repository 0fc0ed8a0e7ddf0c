"""The emulator is ready to use when it answers, and ends when it is asked to."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.local.emulator.server import Emulator, provision
from exchange_platform.local.programs import free_ports
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from tests.exchange_platform.local.conftest import wait_until


@pytest.fixture
def _proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose proxy leads nowhere: nothing on this machine is reached through it."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


@pytest.mark.usefixtures("_proxied")
def test_it_makes_streams_and_table_and_says_nothing_of_requests(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = Settings(data_dir=tmp_path, aws_endpoint_url=f"http://127.0.0.1:{port}")
    command = [sys.executable, "-m", "exchange_platform.local.emulator.server", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        kinesis, dynamodb = aws_client(settings, "kinesis"), aws_client(settings, "dynamodb")

        def is_ready() -> bool:
            try:
                kinesis.describe_stream_summary(StreamName=settings.orders_stream)
                kinesis.describe_stream_summary(StreamName=settings.bets_stream)
                return bool(dynamodb.describe_table(TableName=settings.profiles_table))
            except (ClientError, BotoCoreError):
                return False

        wait_until(is_ready, within_s=30)
        kinesis.put_records(
            StreamName=settings.bets_stream,
            Records=[{"PartitionKey": "1.1", "Data": b"x"} for _ in range(500)],
        )
        provision(settings)  # again, as after a restart: nothing changes
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0
    assert output.count(b"\n") == 1
    assert b"AWS emulator on" in output


@contextmanager
def _serving(*, keep_alive: bool = True) -> Iterator[str]:
    """The emulator in this process; its URL."""
    server = Emulator(0, keep_alive=keep_alive)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.close()
    thread.join(10)


@pytest.mark.parametrize(("keep_alive", "said"), [(True, None), (False, "close")])
def test_connections_are_kept_unless_it_is_told_not_to(keep_alive: bool, said: str | None) -> None:
    with _serving(keep_alive=keep_alive) as url:
        answer = httpx.get(f"{url}/health", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers.get("Connection") == said


@pytest.mark.parametrize("content", [b"", b"x" * 100_000])
def test_an_object_is_put_whatever_its_length(tmp_path: Path, content: bytes) -> None:
    with _serving() as url:
        settings = Settings(data_dir=tmp_path, aws_endpoint_url=url)
        s3 = aws_client(settings, "s3")
        bucket = f"a-bucket-for-{len(content)}"
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": settings.aws_region})
        s3.upload_fileobj(BytesIO(content), bucket, "key")  # waits to be told to go on
        assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == content
        s3.close()
