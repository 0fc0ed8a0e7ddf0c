"""The gateway as its own process over real sockets: the feed, a bet's state, and clear refusals."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from exchange_platform.exchanges.platform_requests import REQUESTS_FILE, PlatformRequests
from exchange_platform.exchanges.simulated.taken_bets import JOURNAL_FILE, TAKEN_BETS_SCHEMA
from exchange_platform.local.programs import free_ports


def update(version: int) -> bytes:
    return json.dumps(
        {"kind": "event", "event_id": "1", "version": version, "name": "Zürich v Málaga"}
    ).encode()


@dataclass
class Gateway:
    """A gateway's process, a client of it, and the journal that it serves."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    journal: FeedJournal
    data_dir: Path


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    data_dir = tmp_path_factory.mktemp("gateway")
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange_platform.exchanges.gateway", "--port", str(port), "--data-dir", str(data_dir)],
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[4],
    )  # fmt: skip
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20)
    until = time.monotonic() + 30
    while True:
        try:
            assert client.get("/health").json()["healthy"]
            break
        except httpx.TransportError:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.02)
    journal = FeedJournal(data_dir / FEED_FILE)
    journal.append([update(version) for version in range(1, 11)])
    yield Gateway(process, client, journal, data_dir)
    client.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) in (0, -signal.SIGTERM)


def test_the_feed_is_read_page_by_page(gateway: Gateway) -> None:
    page = gateway.client.get("/feed", params={"after": 3, "limit": 2}).json()
    assert page["feed_id"] == gateway.journal.feed_id
    assert (page["oldest"], page["newest"] >= 10) == (1, True)
    assert page["updates"] == [{"cursor": cursor, "update": json.loads(update(cursor))} for cursor in (4, 5)]
    assert [one["cursor"] for one in gateway.client.get("/feed").json()["updates"]][:10] == list(range(1, 11))


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=str,
)
def test_a_page_of_another_site_neither_reads_the_feed_nor_acknowledges(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    assert gateway.client.get("/feed", headers=headers).status_code == 403
    assert gateway.client.post("/acknowledged", headers=headers, content=b"{}").status_code == 403


def test_a_long_poll_answers_when_something_is_appended_and_else_after_its_wait(gateway: Gateway) -> None:
    newest = gateway.journal.newest()
    answered: list[httpx.Response] = []

    def ask() -> None:
        answered.append(gateway.client.get("/feed", params={"after": newest, "wait_s": 15}))

    askers = [threading.Thread(target=ask) for _ in range(5)]
    for asker in askers:
        asker.start()
    began = time.monotonic()
    gateway.journal.append([update(newest + 1)])
    for asker in askers:
        asker.join(10)
    assert time.monotonic() - began < 5
    assert [[one["cursor"] for one in page.json()["updates"]] for page in answered] == [[newest + 1]] * 5
    empty = gateway.client.get("/feed", params={"after": newest + 1, "wait_s": 0.1}).json()
    assert (empty["updates"], empty["newest"]) == ([], newest + 1)


def test_waiting_burns_no_time(gateway: Gateway) -> None:
    process = psutil.Process(gateway.process.pid)
    before = process.cpu_times()
    gateway.client.get("/feed", params={"after": gateway.journal.newest(), "wait_s": 1})
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.3


def test_whoever_is_ahead_of_the_feed_is_told_at_once(gateway: Gateway) -> None:
    page = gateway.client.get("/feed", params={"after": 10**12, "wait_s": 30}).json()
    assert page["updates"] == []
    assert page["newest"] < 10**12


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("after=-1", "after '-1' is not possible; allowed is a whole number from 0 to"),
        ("after=1.5", "after '1.5'"),
        ("after=", "after ''"),
        ("after=%D9%A3", "after"),
        ("after=9223372036854775808", "after"),
        ("after=" + "9" * 5000, "after"),
        ("limit=0", "limit '0' is not possible; allowed is a whole number from 1 to 1000"),
        ("limit=1001", "limit '1001'"),
        ("wait_s=31", "wait_s '31' is not possible; allowed is a number from 0 to 30"),
        ("wait_s=nan", "wait_s 'nan'"),
        ("wait_s=-0.1", "wait_s '-0.1'"),
        ("wait_s=soon", "wait_s 'soon'"),
        ("cursor=5", "parameter 'cursor' is not known; allowed are after, limit, wait_s"),
        ("after=1&after=2", "parameter after is given 2 times"),
    ],
)
def test_a_bad_parameter_is_refused_with_what_is_allowed(gateway: Gateway, query: str, said: str) -> None:
    answer = gateway.client.get(f"/feed?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "bad_parameter"
    assert said in answer.json()["detail"]


def test_a_bet_is_told_as_the_exchanges_journal_has_it_and_else_there_is_none(gateway: Gateway) -> None:
    bet_id = "bet/1?%#&"
    assert gateway.client.get("/bets/x").status_code == 404
    with closing(sqlite3.connect(gateway.data_dir / JOURNAL_FILE)) as db:
        assert gateway.client.get("/bets/x").status_code == 404  # a journal without tables yet
        db.executescript(TAKEN_BETS_SCHEMA)
        db.execute("INSERT INTO taken_bets VALUES (?, 1, ?)", (bet_id, b'{"kind":"bet_update"}'))
        db.commit()
    found = gateway.client.get("/bets/bet%2F1%3F%25%23%26")
    assert (found.status_code, found.json()) == (200, {"kind": "bet_update"})
    missing = gateway.client.get("/bets/nobody's")
    assert missing.status_code == 404
    assert missing.json()["code"] == "unknown_bet"
    assert "nobody's" in missing.json()["detail"]


def test_what_is_acknowledged_reaches_the_exchange_and_the_newest_report_counts(gateway: Gateway) -> None:
    requests = PlatformRequests(gateway.data_dir / REQUESTS_FILE)
    answer = gateway.client.post("/acknowledged", json={"positions": {"shard@1": "500", "feed@a": "1:7"}})
    assert (answer.status_code, answer.json()) == (200, {"shards": 2})
    assert requests.acknowledged() == {"shard@1": "500", "feed@a": "1:7"}
    gateway.client.post("/acknowledged", json={"positions": {"shard@1": "499"}})
    assert requests.acknowledged() == {"shard@1": "499"}
    requests.close()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "truncated"),
        (b"{}", "missing required field `positions`"),
        (b'{"positions": {"shard": 5}}', "Expected `str`, got `int`"),
        (b'{"positions": {"shard": "x y"}}', "regex"),
        (b'{"positions": {}, "other": 1}', "unknown field `other`"),
        (b'{"positions": {"\xff": "1"}}', "allowed is"),
        (b'{"positions": {}}' + b" " * 4_000_000, "4000000 bytes"),
        (b"[" * 100_000, "allowed is"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_bad_body_is_refused_with_what_is_allowed(gateway: Gateway, body: bytes, said: str) -> None:
    gateway.client.post("/acknowledged", json={"positions": {"shard@1": "1"}})
    answer = gateway.client.post("/acknowledged", content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_body"
    assert said in answer.json()["detail"]
    requests = PlatformRequests(gateway.data_dir / REQUESTS_FILE)
    assert requests.acknowledged() == {"shard@1": "1"}
    requests.close()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/report?from=yesterday", "from 'yesterday' is not possible; allowed is a whole minute"),
        ("/report?until=2026-11-30T05:14:30Z", "whole minute"),
        ("/report?until=2026-11-30T05:14", "with its offset"),
        ("/report?limit=5001", "allowed is a whole number from 1 to 5000"),
        ("/report?after=5", "allowed is what `next` said"),
        ("/report?minute=2026-11-30T05:14:00Z", "parameter 'minute' is not known"),
        ("/report/bets", "parameter minute is missing"),
        ("/report/bets?minute=2026-11-30T05:14:00Z&limit=0", "from 1 to 20000"),
    ],
)
def test_a_bad_parameter_of_the_report_is_refused(gateway: Gateway, path: str, said: str) -> None:
    answer = gateway.client.get(path)
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_parameter"
    assert said in answer.json()["detail"]


def test_missing_records_are_asked_for_in_whole_minutes(gateway: Gateway) -> None:
    span = {"market_id": "market-1", "minute": "2026-11-30T05:14:00Z"}
    answer = gateway.client.post("/missing", json={"spans": [span], "bets": ["bet-1"]})
    assert (answer.status_code, answer.json()) == (202, {"spans": 1, "bets": 1})
    requests = PlatformRequests(gateway.data_dir / REQUESTS_FILE)
    assert [(one.market_id, one.minute_us, one.bet_id) for one in requests.waiting()] == [
        ("market-1", 1796015640_000_000, ""),
        ("", 0, "bet-1"),
    ]
    requests.close()
    wrongs: list[dict[str, object]] = [
        {"spans": [span | {"minute": "2026-11-30T05:14:01Z"}]},
        {"spans": [span | {"market_id": ""}]},
        {"bets": ["x"] * 1001},
        {"markets": []},
    ]
    for wrong in wrongs:
        answer = gateway.client.post("/missing", json=wrong)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")


def test_other_paths_and_methods_are_problems_too(gateway: Gateway) -> None:
    assert gateway.client.get("/").json()["code"] == "not_found"
    assert gateway.client.post("/feed").json()["code"] == "method_not_allowed"


def test_it_ends_at_once_though_somebody_waits_and_the_feed_goes_on_after_kill_9(tmp_path: Path) -> None:
    journal = FeedJournal(tmp_path / FEED_FILE)
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "exchange_platform.exchanges.gateway", "--port", str(port), "--data-dir", str(tmp_path)]  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[4])
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            until = time.monotonic() + 30
            while True:
                try:
                    client.get("/health")
                    break
                except httpx.TransportError:
                    assert time.monotonic() < until
                    time.sleep(0.02)
            newest = journal.append([update(journal.newest() + 1)])
            assert client.get("/feed").json()["newest"] == newest

            def wait(client: httpx.Client = client, newest: int = newest) -> None:
                try:
                    client.get("/feed", params={"after": newest, "wait_s": 20})
                except httpx.TransportError:
                    return

            waiting = threading.Thread(target=wait)
            waiting.start()
            began = time.monotonic()
            os.kill(process.pid, number)
            process.wait(15)
            assert time.monotonic() - began < 5
            waiting.join(10)
