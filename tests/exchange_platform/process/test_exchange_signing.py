"""The exchange's answers settle bets: none is believed that the shared key has not signed for that very
request. Both sides over real sockets.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn

from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.records import BetUpdate, encode
from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from exchange_platform.exchanges.gateway.app import create_app
from exchange_platform.exchanges.gateway.signing import SignedExchange
from exchange_platform.exchanges.simulated.taken_bets import JOURNAL_FILE, TAKEN_BETS_SCHEMA
from exchange_platform.local.programs import free_ports
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.process.exchange_signing import (
    NONCE,
    SIGNATURE,
    TIMESTAMP,
    WINDOW_S,
    RequestCheck,
    SignedRequest,
    Unsigned,
    keys_of,
    sha256,
    sign_request,
)
from exchange_platform.process.lean_httpx import httpx
from exchange_platform.process.signed_http import AnswerUnsigned, SignedTransport
from exchange_platform.settings import InvalidSettings, Settings, load_settings
from exchange_platform.stores.operational.database import Database, bets
from exchange_platform.streams.engine.source import SourceUnavailable
from exchange_platform.streams.sources.feed import FeedSource
from exchange_platform.submission.exchange_asking import ExchangeLookup, ExchangeUnavailable, exchange_of
from exchange_platform.submission.reconciliation import Reconciliation
from tests.exchange_platform.betting import NOW, SetClock, add_account, order
from tests.exchange_platform.recording import RecordingStream
from tests.support.platform_parts import wait_for
from tests.support.workload import matched_pairs

KEY, OTHER = "the-key-of-both-000000000000000000", "another-key-00000000000000000000000"


@dataclass
class Middle:
    """Somebody between the two, who may change what comes back, or send it again."""

    app: Any
    change: Callable[[int, bytes, dict[bytes, bytes]], tuple[int, bytes]] | None = None
    heard: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        target = scope["raw_path"].decode() + (
            f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        )
        self.heard.append((scope["method"], target, headers, b""))

        async def changing(message: dict[str, Any]) -> None:
            if self.change is None:
                await send(message)
            elif message["type"] == "http.response.start":
                start.update(message)
            else:
                given = dict(start["headers"])
                status, body = self.change(start["status"], message["body"], given)
                given[b"content-length"] = str(len(body)).encode()
                await send({**start, "status": status, "headers": list(given.items())})
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, changing)


@contextmanager
def served(app: Any) -> Iterator[str]:
    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def taken() -> BetUpdate:
    """A bet that the exchange took."""
    first = next(record for record in matched_pairs(1) if isinstance(record, BetUpdate))
    return msgspec.structs.replace(first, bet_id="b1")


@pytest.fixture(scope="module")
def middle(
    tmp_path_factory: pytest.TempPathFactory, taken: BetUpdate
) -> Iterator[tuple[Middle, str, SetClock]]:
    """The gateway over real sockets, with somebody between; where it answers, and its clock."""
    directory = tmp_path_factory.mktemp("exchange")
    with closing(FeedJournal(directory / FEED_FILE)) as journal:
        journal.append([b'{"kind": "event", "event_id": "1", "version": 1, "name": "A v B"}'])
    with closing(sqlite3.connect(directory / JOURNAL_FILE)) as journal_file:
        journal_file.executescript(TAKEN_BETS_SCHEMA)
        journal_file.execute("INSERT INTO taken_bets VALUES ('b1', 0, ?)", (encode(taken),))
        journal_file.commit()
    clock = SetClock(SYSTEM_CLOCK.now_us())
    between = Middle(SignedExchange(create_app(directory), (KEY,), clock=clock))
    with served(between) as url:
        yield between, url, clock


@pytest.fixture
def url(middle: tuple[Middle, str, SetClock]) -> Iterator[str]:
    between, where, clock = middle
    clock.pass_s((SYSTEM_CLOCK.now_us() - clock.now_us()) / 1e6)
    yield where
    between.change = None
    between.heard.clear()


def feed(url: str, *keys: str) -> FeedSource:
    return FeedSource(url, name="exchange-feed", keys=keys, wait_s=0.0)


def test_two_that_share_a_key_understand_each_other(url: str, taken: BetUpdate) -> None:
    with closing(ExchangeLookup(url, (KEY, OTHER))) as exchange:
        assert exchange.bet("b1") == taken
        for unknown in ("none", "a/b?c#d", "<ü>"):
            assert exchange.bet(unknown) is None
        assert exchange.acknowledge({"shardId-0@1": "7"})
        exchange.request_missing([], ["b1"])
        assert exchange.report(NOW, NOW + timedelta(minutes=1)) is None
    source = feed(url, KEY)
    (shard,) = source.shards()
    source.seek(shard.name, None)
    assert len(source.read(shard.name).records) == 1


def test_a_key_is_replaced_without_a_gap(url: str, taken: BetUpdate, tmp_path: Path) -> None:
    with served(SignedExchange(create_app(tmp_path), (OTHER, KEY))) as replaced:
        for keys in ((KEY, OTHER), (OTHER, KEY)):
            with closing(ExchangeLookup(replaced, keys)) as exchange:
                assert exchange.bet("b1") is None


@pytest.mark.parametrize("keys", [(), (OTHER,)])
def test_who_has_no_key_or_another_is_answered_nothing(url: str, keys: tuple[str, ...]) -> None:
    with (
        closing(ExchangeLookup(url, keys)) as exchange,
        pytest.raises(ExchangeUnavailable, match="401"),
    ):
        exchange.bet("b1")
    with pytest.raises(SourceUnavailable, match="401"):
        feed(url, *keys).shards()
    assert httpx.get(f"{url}/health", trust_env=False).status_code == 200


def lie(status: int, body: bytes, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
    return status, body[:-1] + b" }"


def not_taken(status: int, body: bytes, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
    return 404, b'{"code": "unknown_bet"}'


def other_status(status: int, body: bytes, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
    return 201, body


def unsigned(status: int, body: bytes, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
    headers.pop(SIGNATURE.encode(), None)
    return status, body


def strange_signature(status: int, body: bytes, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
    headers[SIGNATURE.encode()] = b"v1=\xff\xfe"
    return status, body


@pytest.mark.parametrize("change", [lie, not_taken, other_status, unsigned, strange_signature])
def test_an_answer_that_was_changed_on_the_way_is_not_believed(
    middle: tuple[Middle, str, SetClock], url: str, change: Any
) -> None:
    middle[0].change = change
    with (
        closing(ExchangeLookup(url, (KEY,))) as exchange,
        pytest.raises(ExchangeUnavailable, match=r"not signed.*not believed \(EXCHANGE_KEY\)"),
    ):
        exchange.bet("b1")
    with pytest.raises(SourceUnavailable, match="not believed"):
        feed(url, KEY).shards()


def test_an_answer_to_another_request_is_not_believed(middle: tuple[Middle, str, SetClock], url: str) -> None:
    """An older answer of the exchange's own, as to the same question before the bet was settled."""
    first: list[tuple[int, bytes, bytes]] = []

    def replay(status: int, body: bytes, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
        first.append((status, body, headers[SIGNATURE.encode()]))
        headers[SIGNATURE.encode()] = first[0][2]
        return first[0][0], first[0][1]

    middle[0].change = replay
    with closing(ExchangeLookup(url, (KEY,))) as exchange:
        assert exchange.bet("b1") is not None
        for asked in ("b1", "none"):
            with pytest.raises(ExchangeUnavailable, match="not believed"):
                exchange.bet(asked)


def test_a_request_is_taken_once_and_while_it_is_new(middle: tuple[Middle, str, SetClock], url: str) -> None:
    between, _, clock = middle
    with closing(ExchangeLookup(url, (KEY,))) as exchange:
        exchange.bet("b1")
    method, target, headers, _ = between.heard[-1]
    shown = {name: headers[name] for name in (TIMESTAMP, NONCE, SIGNATURE)}

    def again(**changed: str) -> httpx.Response:
        return httpx.request(method, url + target, headers={**shown, **changed}, trust_env=False)

    assert "sent before" in again().json()["detail"]
    assert "not by this exchange's key" in again(**{NONCE: "another"}).json()["detail"]
    assert "has the headers" in again(**{TIMESTAMP: "-1"}).json()["detail"]
    fresh = SignedRequest(method, target, clock.now_us() // 1000, "n", sha256(b""))
    late = {TIMESTAMP: str(fresh.timestamp_ms), NONCE: "n", SIGNATURE: sign_request(KEY, fresh)}
    for off_s in (WINDOW_S + 1, -2 * (WINDOW_S + 1)):
        clock.pass_s(off_s)
        assert "old or ahead" in again(**late).json()["detail"]
    clock.pass_s(WINDOW_S + 1)
    other = httpx.request(method, f"{url}/bets/other", headers=late, trust_env=False)
    assert other.status_code == 401
    assert again(**late).status_code == 200


def test_a_bet_stays_unknown_whatever_somebody_without_the_key_says_of_it(
    market: Database, submission: Any, tmp_path: Path, url: str, middle: tuple[Middle, str, SetClock]
) -> None:
    add_account(market, funds_minor=1000)
    bet = submission.submit(order()).bet
    settled = BetUpdate(
        **{
            **{name: getattr(bet, name) for name in type(bet).__struct_fields__},
            "version": bet.version + 1,
            "status": BetStatus.LAPSED,
            "remaining_minor": 0,
            "lapsed_minor": bet.remaining_minor,
        }
    )
    middle[0].change = lambda *_: (200, encode(settled))
    clock = SetClock(SYSTEM_CLOCK.now_us())
    clock.pass_s(3600)
    settings = Settings(data_dir=tmp_path, exchange_url=url, exchange_key=KEY)
    stream = RecordingStream()
    with closing(exchange_of(settings)) as exchange, pytest.raises(ExchangeUnavailable, match="not believed"):
        Reconciliation(settings, market, exchange, stream, clock=clock).run()
    with market.read() as connection:
        assert connection.execute(bets.select()).one().status == "PENDING"
    assert stream.records == []


@pytest.mark.parametrize(
    "place", ["https://exchange.example", "http://10.0.0.7:8100", "http://localhost.example"]
)
def test_an_exchange_elsewhere_is_not_asked_without_a_key(place: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, exchange_url=place)
    with pytest.raises(ExchangeUnavailable, match="EXCHANGE_KEY is the key"):
        exchange_of(settings)
    with pytest.raises(SourceUnavailable, match="EXCHANGE_KEY is the key"):
        feed(place).shards()


def test_a_gateway_that_others_reach_does_not_start_without_a_key(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "exchange_platform.exchanges.gateway"),
            *("--port", "1", "--host", "0.0.0.0", "--data-dir", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 2
    assert "EXCHANGE_PLATFORM_EXCHANGE_KEY is needed" in done.stderr


@pytest.mark.parametrize("key", ["short", "", ",", f"{KEY},short"])
def test_a_short_key_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCHANGE_PLATFORM_EXCHANGE_KEY", key)
    with pytest.raises(InvalidSettings, match="exchange_key: each key has 32 characters") as refused:
        load_settings()
    assert KEY not in str(refused.value)


def test_what_is_signed_is_as_documented() -> None:
    """The example of docs/exchange.md."""
    request = SignedRequest("GET", "/bets/b-1?x=%2F", 1763948000123, "0f" * 16, sha256(b""))
    page = (Path(__file__).parents[3] / "docs" / "exchange.md").read_text()
    assert sign_request("k" * 32, request) in page


def test_a_request_s_answer_is_signed_for_its_body_too() -> None:
    """The transport alone: what it sends is signed over the body, and every answer is looked at."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, content=b"yes")

    client = httpx.Client(
        transport=SignedTransport(
            httpx.MockTransport(answer), (KEY,), now_ms=lambda: 5, new_nonce=lambda: "n"
        )
    )
    with pytest.raises(AnswerUnsigned):
        client.post("http://x/missing?a=1", content=b"body")
    request = SignedRequest("POST", "/missing?a=1", 5, "n", sha256(b"body"))
    assert sent[0].headers[SIGNATURE] == sign_request(KEY, request)
    assert keys_of(f" {KEY} ,{OTHER}") == (KEY, OTHER)


def test_a_request_that_a_gateway_may_have_taken_before_it_was_started_again_is_not_taken() -> None:
    now = [1_800_000_000_000]

    def headers(at_ms: int) -> dict[str, str]:
        request = SignedRequest("POST", "/missing", at_ms, "a-number", sha256(b""))
        return {TIMESTAMP: str(at_ms), NONCE: "a-number", SIGNATURE: sign_request(KEY, request)}

    captured = headers(now[0])
    RequestCheck((KEY,), lambda: now[0]).check(captured, "POST", "/missing", b"")
    now[0] += 1_000
    again = RequestCheck((KEY,), lambda: now[0])
    with pytest.raises(Unsigned, match="before this exchange's gateway began"):
        again.check(captured, "POST", "/missing", b"")
    again.check(headers(now[0]), "POST", "/missing", b"")
