"""The command `betfair`, as a process, against a stream server, a Kinesis stream and a feed; and what it
refuses.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exchange_platform.cli import run
from exchange_platform.domain.events import decode_update
from exchange_platform.domain.records import Execution, decode
from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.bets.restatements import Restatements
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sources.kinesis import KinesisSource, ensure_stream
from tests.exchange_platform.exchanges.betfair.stream_server import APP_KEY, SESSION, stream_server
from tests.exchange_platform.exchanges.betfair.test_live import made_lines, of_recording
from tests.support.certificates import Certificate
from tests.support.platform_parts import environment, wait_for
from tests.support.prepared import prepare


def published(settings: Settings) -> list[Execution]:
    source = KinesisSource(aws_client(settings, "kinesis"), settings.bets_stream)
    (shard,) = source.shards()
    source.seek(shard.name, None)
    records = source.read(shard.name).records
    source.close()
    return [one for record in records if isinstance(one := decode(record.data), Execution)]


@pytest.mark.long
def test_it_publishes_what_it_follows_until_it_is_interrupted(settings: Settings, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    prepare(settings)
    client = aws_client(settings, "kinesis")
    ensure_stream(client, settings.bets_stream)
    lines = made_lines()
    expected = of_recording(lines)
    plan = [("send", 50), ("cut",), ("send", len(lines) - 50), ("heartbeat",)]
    with stream_server(lines, plan, certificate) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "exchange_platform", "betfair", "--market", "1.2", "--market", "1.3"],
            env=environment(settings)
            | {
                "EXCHANGE_PLATFORM_BETFAIR_APP_KEY": APP_KEY,
                "EXCHANGE_PLATFORM_BETFAIR_SESSION_TOKEN": SESSION,
                "EXCHANGE_PLATFORM_BETFAIR_STREAM": f"127.0.0.1:{server.port}",
                "SSL_CERT_FILE": str(certificate.file),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_for(lambda: len(published(settings)) == len(expected.executions), timeout_s=60)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "connected, from images" in said
    assert "connected, resumed" in said
    assert f"{len(expected.executions)} executions" in said
    assert APP_KEY not in said
    assert SESSION not in said
    assert server.subscriptions[0]["marketFilter"] == {"marketIds": ["1.2", "1.3"]}
    trades = [
        (one.market_id, one.selection_id, one.odds, one.stake, one.executed_at) for one in published(settings)
    ]
    assert trades == [
        (one.market_id, one.selection_id, one.odds, one.stake, one.executed_at) for one in expected.executions
    ]
    feed = FeedJournal(settings.data_dir / FEED_FILE)
    updates = [decode_update(entry.data) for entry in feed.read(0, 1000).updates]
    feed.close()
    assert {getattr(update, "market_id", update.event_id): update for update in updates} == expected.newest
    database = Database(settings.operational_database_url)
    assert Restatements(database).count() > 0
    database.dispose()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name what to follow"),
        (["--market", "1 2"], "is none of Betfair's ids or codes"),
        (["--market", "1.2", "--conflate", "200000"], "allowed is 0 to 120000"),
    ],
)
def test_arguments_that_are_wrong_are_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["betfair", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings_given", "said"),
    [
        ({}, "set EXCHANGE_PLATFORM_BETFAIR_USERNAME"),
        ({"SESSION_TOKEN": "secret-token"}, "set EXCHANGE_PLATFORM_BETFAIR_APP_KEY"),
        ({"USERNAME": "ann", "PASSWORD": "secret-word", "CERTIFICATE": "/no/file"}, "/no/file is no file"),
        ({"APP_KEY": "secret-key", "SESSION_TOKEN": "secret-token"}, "no platform is running"),
        ({"APP_KEY": "secret-key", "SESSION_TOKEN": "secret-token", "STREAM": "nowhere"}, "betfair_stream"),
    ],
)
def test_settings_that_are_missing_are_named(
    settings_given: dict[str, str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in os.environ if name.startswith("EXCHANGE_PLATFORM_BETFAIR_")]:
        monkeypatch.delenv(name)
    for name, value in settings_given.items():
        monkeypatch.setenv(f"EXCHANGE_PLATFORM_BETFAIR_{name}", value)
    assert run(["betfair", "--market", "1.2", "--data-dir", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "secret" not in told
