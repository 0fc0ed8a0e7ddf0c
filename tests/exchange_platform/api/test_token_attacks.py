"""Attacks on tokens: in wrong places and forms, near a good one, too long, revoked, expired; and what callers
do to the log of who was refused.
"""

from __future__ import annotations

import asyncio
import hmac
import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from pydantic import SecretStr

from exchange_platform.api.app import create_app
from exchange_platform.api.http import known_tokens, security_log
from exchange_platform.api.http.known_tokens import LOOKS_AT_ONCE, LOOKS_PER_S, MAX_AGE_S, KnownTokens
from exchange_platform.api.http.problems import Problem
from exchange_platform.api.http.security_log import MAX_KEYS, PERIOD_S, SecurityLog
from exchange_platform.api.serving import Server
from exchange_platform.api.watching.change_feed import ChangeFeed
from exchange_platform.api.watching.registrations import Registrations
from exchange_platform.domain.api_tokens import MAX_CHARS, Grant, Scope, digest_of, draw_token
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.accounts.api_tokens import ApiTokens, NewToken, StoredToken
from exchange_platform.stores.operational.accounts.security_events import (
    SecurityKind,
    WantedEvents,
    read_events,
)
from exchange_platform.stores.operational.database import Database, metadata
from tests.exchange_platform.betting import add_account
from tests.support.account_parts import StandingClock
from tests.support.platform_parts import wait_for
from tests.support.prepared import prepare_database
from tests.support.token_parts import OPERATOR, bearer, make_token

OLD = "an-older-token-of-the-setting-000"
WALLET = "/accounts/a1/wallet"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(Settings(data_dir=tmp_path).operational_database_url)
    prepare_database(found)
    add_account(found, funds_minor=100)
    yield found
    found.dispose()


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def settings_with_token(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, api_tokens=SecretStr(OLD))


@pytest.fixture
def api(settings_with_token: Settings, database: Database, clock: StandingClock) -> Iterator[TestClient]:
    with TestClient(create_app(settings_with_token, clock=clock), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def good(database: Database, clock: StandingClock) -> str:
    return make_token(database, "web", [Scope.READ], all_accounts=True, lasts_s=3600, now_us=clock.now)


def _flushed(api: TestClient, database: Database) -> list[tuple[str, str | None, str, int]]:
    api.app.state.services.security_log.flush()  # type: ignore[attr-defined]
    return [
        (event.kind.value, event.application, event.detail, event.occurrences)
        for event in read_events(database, WantedEvents(), limit=1000)
        if event.kind not in (SecurityKind.MADE, SecurityKind.REVOKED, SecurityKind.DEPOSIT)
    ]


def test_only_the_whole_token_in_one_bearer_header_is_let_in(api: TestClient, good: str) -> None:
    forms = {
        f"Bearer {good}": 200,
        f"bearer {good}": 200,
        f"BEARER {good}": 200,
        f"Bearer   {good}  ": 200,  # RFC 9110: any spaces
        good: 401,
        f"Basic {good}": 401,
        f"Bearer{good}": 401,
        f"Bearer\t{good}": 401,
        f"Bearer {good[:-1]}": 401,
        f"Bearer {good[1:]}": 401,
        f"Bearer {good}A": 401,
        f"Bearer {good.swapcase()}": 401,
        f"Bearer {good},{good}": 401,
        f"Bearer {good} {good}": 401,
        f'Bearer "{good}"': 401,
        "Bearer": 401,
        "Bearer ": 401,
        "": 401,
        f"Bearer {digest_of(good).hex()}": 401,
        f"Bearer {'x' * 60_000}": 401,
        "Bearer none": 401,
    }
    bodies = set()
    for shown, status in forms.items():
        answer = api.get(WALLET, headers={"Authorization": shown})
        assert answer.status_code == status, shown[:80]
        if status == 401:
            bodies.add((answer.text, answer.headers["WWW-Authenticate"]))
    assert len(bodies) == 1
    raw = [(b"authorization", b"Bearer \xe9" + good.encode()), (b"authorization", f"Bearer {good}".encode())]
    assert api.get(WALLET, headers=raw).status_code == 401, "several headers, of which one is good"
    assert api.get(WALLET, headers=raw[1:] * 2).status_code == 401
    assert api.get(WALLET, headers=raw[:1]).status_code == 401
    for name in ("token", "access_token", "authorization", "api_key"):
        assert api.get(WALLET, params={name: good}).status_code == 401, (
            "a token in an address counts for nothing"
        )
        assert api.get(WALLET, headers={"Cookie": f"{name}={good}"}).status_code == 401


def test_expired_revoked_and_unknown_tokens_are_told_the_same(
    api: TestClient, database: Database, clock: StandingClock, good: str
) -> None:
    tokens = {
        "expired": good,
        "revoked": make_token(database, "gone", all_accounts=True, now_us=clock.now),
        "unknown": draw_token(),
    }
    for why in ("expired", "revoked"):
        assert api.get(WALLET, headers=bearer(tokens[why])).status_code == 200
    ApiTokens(database).revoke("gone", [], OPERATOR, clock.now)
    clock.now += 3600 * 1_000_000
    answers = {why: api.get(WALLET, headers=bearer(token)) for why, token in tokens.items()}
    assert {answer.status_code for answer in answers.values()} == {401}
    assert len({(answer.text, tuple(sorted(answer.headers))) for answer in answers.values()}) == 1
    assert "expired" in answers["unknown"].json()["detail"]
    logged = _flushed(api, database)
    assert ("authentication_failed", "web", "expired", 1) in logged
    assert ("authentication_failed", "gone", "revoked", 1) in logged
    assert ("authentication_failed", None, "unknown", 1) in logged


def test_a_revoked_token_works_no_longer_than_the_bound_and_a_new_one_at_once(
    api: TestClient, database: Database, clock: StandingClock, good: str
) -> None:
    assert api.get(WALLET, headers=bearer(good)).status_code == 200
    (made,) = ApiTokens(database).list()
    ApiTokens(database).revoke("web", [made.token_id], OPERATOR, clock.now)
    clock.now += int(MAX_AGE_S * 1e6) - 1
    assert api.get(WALLET, headers=bearer(good)).status_code == 200, (
        "what the process knows is that old at most"
    )
    clock.now += 1
    assert api.get(WALLET, headers=bearer(good)).status_code == 401
    fresh = make_token(database, "web", all_accounts=True, now_us=clock.now)
    assert api.get(WALLET, headers=bearer(fresh)).status_code == 200


def test_callers_with_unknown_tokens_do_not_make_the_database_look_at_each(
    database: Database, clock: StandingClock, tmp_path: Path
) -> None:
    looks = []

    class Counting(ApiTokens):
        def list(self) -> list[StoredToken]:
            looks.append(1)
            return super().list()

    with TestClient(create_app(Settings(data_dir=tmp_path), clock=clock)) as api:
        api.app.state.services.known_tokens._store = Counting(database)  # type: ignore[attr-defined]
        for _ in range(100):
            api.get(WALLET, headers=bearer(draw_token()))
            clock.now += 10_000
    assert LOOKS_AT_ONCE <= len(looks) <= 1 + LOOKS_AT_ONCE + LOOKS_PER_S


def test_the_settings_token_may_do_everything_until_the_database_says_less_of_it(
    api: TestClient, database: Database, clock: StandingClock
) -> None:
    assert api.get(WALLET, headers=bearer(OLD)).status_code == 200
    assert api.post("/accounts/a1/close", headers=bearer(OLD)).status_code == 409
    wanted = NewToken(
        application="web",
        sha256=digest_of(OLD),
        scopes=frozenset({Scope.READ}),
        all_accounts=True,
        lasts_s=86_400,
    )
    made = ApiTokens(database).make(wanted, OPERATOR, clock.now)
    clock.now += int(MAX_AGE_S * 1e6)
    assert api.get(WALLET, headers=bearer(OLD)).status_code == 200
    assert api.post("/accounts/a1/close", headers=bearer(OLD)).json()["needed"] == "operate"
    ApiTokens(database).revoke("web", [made.token_id], OPERATOR, clock.now)
    clock.now += int(MAX_AGE_S * 1e6)
    assert api.get(WALLET, headers=bearer(OLD)).status_code == 401, "revoked there, it is revoked"


def test_hashes_are_compared_in_constant_time_and_a_token_that_is_too_long_is_not_hashed(
    database: Database, clock: StandingClock, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = KnownTokens(ApiTokens(database), [OLD, OLD[::-1]], clock)
    known.refresh(0)
    compared: list[int] = []
    compare = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return bool(compare(one, other))

    monkeypatch.setattr(hmac, "compare_digest", counting)
    for token, let_in in ((good, True), (OLD, True), (draw_token(), False), (good[:-1] + "~", False)):
        compared.clear()
        assert (known.find(token).grant is not None) is let_in
        assert compared == [32, 32, 32], "as many comparisons whatever is shown"
    monkeypatch.setattr(known_tokens, "digest_of", lambda _: pytest.fail("hashed"))
    assert known.find("x" * (MAX_CHARS + 1)).why == "malformed"


def test_who_guesses_fills_no_disk_and_the_log_says_how_often(
    database: Database, clock: StandingClock
) -> None:
    log = SecurityLog(database, clock)
    for number in range(10_000):
        log.refused(SecurityKind.AUTHENTICATION_FAILED, "unknown", client=f"192.0.2.{number % 200}")
    log.flush()
    assert (
        len(read_events(database, WantedEvents(kind=SecurityKind.AUTHENTICATION_FAILED), limit=1000))
        == MAX_KEYS + 1
    )
    clock.now += int(PERIOD_S * 1e6)
    log.flush()
    rows = read_events(database, WantedEvents(kind=SecurityKind.AUTHENTICATION_FAILED), limit=1000)
    assert len(rows) == 2 * (MAX_KEYS + 1)
    assert sum(row.occurrences for row in rows) == 10_000, "none is uncounted"
    assert sum(row.occurrences for row in rows if row.client == security_log.OTHERS) == 7_500
    log.close()


def test_strangers_do_not_hide_what_a_stolen_token_does(database: Database, clock: StandingClock) -> None:
    log = SecurityLog(database, clock)
    for number in range(2 * MAX_KEYS):
        log.refused(SecurityKind.AUTHENTICATION_FAILED, "unknown", client=f"192.0.2.{number}")
    log.refused(
        SecurityKind.ACCOUNT_OUT_OF_REACH, "GET", client="198.51.100.1", application="shop", token_id="t1"
    )
    log.flush()
    (row,) = read_events(database, WantedEvents(kind=SecurityKind.ACCOUNT_OUT_OF_REACH), limit=10)
    assert (row.application, row.token_id, row.client) == ("shop", "t1", "198.51.100.1")
    log.close()


def test_another_s_account_is_asked_for_as_often_as_one_that_does_not_exist() -> None:
    """What was remembered answered sooner, and while the database was away."""
    asked: list[str] = []

    class Counting:
        def registered_by(self, account_id: str) -> str | None:
            asked.append(account_id)
            return {"hers": "other", "mine": "shop"}.get(account_id)

    registrations = Registrations(Counting())  # type: ignore[arg-type]
    for _ in range(3):
        assert registrations.are_of("shop", "mine")
        assert not registrations.are_of("shop", "hers")
        assert not registrations.are_of("shop", "nobodys")
    assert asked.count("hers") == asked.count("nobodys") == 3
    assert asked.count("mine") == 1


def test_one_application_leaves_places_to_listen_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange_platform.api.watching.change_feed.MAX_LISTENERS_OF_ONE", 2)

    class Still:
        def newest(self) -> int:
            return 0

        def after(self, *_: int) -> list[Any]:
            return []

    async def listening() -> None:
        feed = ChangeFeed(Still())  # type: ignore[arg-type]
        taken = [await feed.listen("a", None, "greedy") for _ in range(2)]
        with pytest.raises(Problem, match="2 of them for this application"):
            await feed.listen("a", None, "greedy")
        await feed.listen("b", None, "modest")
        feed.leave("a", taken[0][1])
        await feed.listen("a", None, "greedy")

    asyncio.run(asyncio.wait_for(listening(), 5))


def test_a_log_that_can_not_be_written_waits_within_bounds(
    database: Database, clock: StandingClock, tmp_path: Path
) -> None:
    away = Database(f"sqlite:///{tmp_path / 'away.sqlite'}")  # it has no tables
    log = SecurityLog(away, clock)
    for number in range(5000):
        clock.now += int(PERIOD_S * 1e6)
        log.refused(SecurityKind.AUTHENTICATION_FAILED, "unknown", client=f"192.0.2.{number}")
    log.flush()
    log._database = database
    log.close()
    assert 0 < len(read_events(database, WantedEvents(), limit=10_000)) <= 1010
    away.dispose()


def test_who_was_let_in_is_logged_once_a_day_and_network_address(
    database: Database, clock: StandingClock
) -> None:
    log = SecurityLog(database, clock)
    grant = Grant("web", "t1", frozenset(Scope), True)
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        for _ in range(100):
            log.let_in(grant, client)
    log.close()
    rows = read_events(database, WantedEvents(kind=SecurityKind.AUTHENTICATED), limit=100)
    assert [(row.application, row.client) for row in rows] == [("web", "192.0.2.2"), ("web", "192.0.2.1")]


def test_a_token_is_nowhere_at_rest_and_its_use_is_noted(
    api: TestClient, database: Database, clock: StandingClock, good: str, tmp_path: Path
) -> None:
    wrong = draw_token()
    for token in (good, wrong, OLD):
        api.get(WALLET, headers=bearer(token))
        api.get(f"/accounts/{token}/wallet", headers=bearer(token))
    assert _flushed(api, database)
    (kept,) = ApiTokens(database).list()
    assert kept.last_used_at_us == clock.now
    with database.read() as connection:
        texts = [
            str(value)
            for table in metadata.sorted_tables
            for row in connection.execute(sa.select(table))
            for value in row
        ]
    for token in (good, wrong, OLD):
        assert not [text for text in texts if token in text or token[4:20] in text]
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and any(token.encode() in path.read_bytes() for token in (good, wrong, OLD))
    ]


def test_over_a_socket_a_token_in_the_query_is_refused_and_two_headers_are(
    settings_with_token: Settings, database: Database
) -> None:
    server = Server(settings_with_token, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        statuses = []
        for path, headers in (
            (WALLET, [OLD]),
            (f"{WALLET}?access_token={OLD}", []),
            (WALLET, [OLD, OLD]),
            (WALLET, ["wrong", OLD]),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.putrequest("GET", path)
            for token in headers:
                connection.putheader("Authorization", f"Bearer {token}")
            connection.endheaders()
            statuses.append(connection.getresponse().status)
            connection.close()
        assert statuses == [200, 401, 401, 401]
    finally:
        server.should_exit = True
        thread.join(20)


def test_without_any_token_the_api_says_how_one_is_made(tmp_path: Path, database: Database) -> None:
    with TestClient(create_app(Settings(data_dir=tmp_path))) as nobody:
        answer = nobody.get(WALLET, headers=bearer(OLD))
    assert (answer.status_code, answer.json()["code"]) == (503, "no_tokens")
    assert "tokens create" in answer.json()["detail"]
