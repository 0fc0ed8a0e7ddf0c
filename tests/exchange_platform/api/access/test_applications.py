"""Applications of different scopes and accounts: each route needs a scope, and an account out of reach is
answered as one that does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from exchange_platform.api.access.applications import Caller
from exchange_platform.api.app import ROUTERS, create_app
from exchange_platform.api.http.known_tokens import MAX_AGE_S
from exchange_platform.api.routes.changes import _told
from exchange_platform.domain.actors import Actor
from exchange_platform.domain.api_tokens import Scope
from exchange_platform.local.emulator.server import provision
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.accounts.api_tokens import ApiTokens
from exchange_platform.stores.operational.accounts.security_events import (
    SecurityKind,
    WantedEvents,
    read_events,
)
from exchange_platform.stores.operational.database import Database, metadata
from exchange_platform.stores.operational.tables.security import api_tokens, security_events
from tests.exchange_platform.betting import add_account, add_event, add_market
from tests.support.account_parts import StandingClock
from tests.support.prepared import prepare_database
from tests.support.token_parts import OPERATOR, bearer, make_token

BET = {
    "account_id": "a1",
    "market_id": "m1",
    "selection_id": 1,
    "side": "back",
    "odds": "3",
    "currency": "GBP",
    "stake_minor": 1000,
}
MONEY = {"amount_minor": 100, "currency": "GBP", "authorised_by": "the bank"}
ACCOUNT = "/accounts/{account_id}"
CALLS: dict[tuple[str, str], tuple[Scope, Any]] = {
    ("POST", "/accounts"): (Scope.OPERATE, {"email": "new@example.com", "display_name": "New"}),
    ("GET", ACCOUNT): (Scope.READ, None),
    ("POST", f"{ACCOUNT}/confirmation"): (Scope.OPERATE, None),
    ("PUT", f"{ACCOUNT}/mail-preferences"): (Scope.OPERATE, {"mail_choice": "none"}),
    ("POST", f"{ACCOUNT}/close"): (Scope.OPERATE, None),
    ("POST", "/bets"): (Scope.BET, BET),
    ("GET", "/bets/{bet_id}"): (Scope.READ, None),
    ("DELETE", "/bets/{bet_id}"): (Scope.BET, None),
    ("PATCH", "/bets/{bet_id}"): (Scope.BET, {"odds": "2.6"}),
    ("GET", f"{ACCOUNT}/bets"): (Scope.READ, None),
    ("GET", f"{ACCOUNT}/changes"): (Scope.READ, None),
    ("POST", f"{ACCOUNT}/deposits"): (Scope.MONEY, MONEY),
    ("POST", f"{ACCOUNT}/withdrawals"): (Scope.MONEY, MONEY),
    ("GET", f"{ACCOUNT}/transfers"): (Scope.READ, None),
    ("GET", f"{ACCOUNT}/wallet"): (Scope.READ, None),
    ("GET", f"{ACCOUNT}/profile"): (Scope.READ, None),
    ("GET", f"{ACCOUNT}/limits"): (Scope.READ, None),
    ("PUT", f"{ACCOUNT}/limits/break"): (Scope.OPERATE, {"until": "2031-01-01T00:00:00Z"}),
    ("PUT", f"{ACCOUNT}/limits/{{kind}}"): (Scope.OPERATE, {"amount_minor": 5}),
}
"""Every call that needs a token, its scope, and a body that would do."""
OPEN = {
    *("/events/search", "/events", "/events/{event_id}", "/events/{event_id}/live"),
    *("/markets/{market_id}/windows", "/", "/board", "/board/events/{event_id}", "/board/lists"),
    *("/static/{version}/{name:path}", "/static/{name}", "/confirm", "/unsubscribe", "/health"),
    *("/docs", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/start.js"),
}
"""What anybody may call; the links of /confirm and /unsubscribe are secrets of their own."""


LATER = ("published_at_us",)
"""Written behind a caller's back, when an order is in the stream."""


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    found = Database(settings.operational_database_url)
    prepare_database(found)
    provision(settings)
    add_event(found)
    add_market(found)
    add_account(found, funds_minor=10_000)
    add_account(found, "a2", funds_minor=10_000)
    yield found
    found.dispose()


@pytest.fixture
def api(settings: Settings, database: Database) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def _ask(api: TestClient, token: str | None, call: tuple[str, str], body: Any, **ids: str) -> Any:
    method, path = call
    named = {"account_id": "a1", "bet_id": "b0", "kind": "stake"} | ids
    if isinstance(body, dict) and "account_id" in body:
        body = body | {"account_id": named["account_id"]}
    headers = {"Idempotency-Key": f"k-{method}-{len(path)}"} | (bearer(token) if token else {})
    return api.request(method, path.format(**named), json=body, headers=headers)


def _rows(database: Database) -> dict[str, list[Any]]:
    apart = (security_events, api_tokens)
    with database.read() as connection:
        return {
            table.name: list(
                connection.execute(sa.select(*(one for one in table.c if one.name not in LATER)))
            )
            for table in metadata.sorted_tables
            if table not in apart
        }


def _events(api: TestClient, database: Database, kind: SecurityKind) -> list[Any]:
    api.app.state.services.security_log.flush()  # type: ignore[attr-defined]
    return read_events(database, WantedEvents(kind=kind), limit=1000)


def test_each_route_is_open_to_all_or_needs_exactly_one_scope(settings: Settings) -> None:
    document = create_app(settings).openapi()["paths"]
    seen = set()
    for route in (one for router in ROUTERS for one in router.routes if isinstance(one, APIRoute)):
        for method in route.methods or ():
            described = document.get(route.path, {}).get(method.lower(), {})
            if (method, route.path) in CALLS:
                seen.add((method, route.path))
                scope, _ = CALLS[method, route.path]
                assert described["security"] == [{"application": [scope.value]}], (method, route.path)
                assert {"401", "403"} <= described["responses"].keys(), (method, route.path)
            else:
                assert route.path in OPEN, f"{method} {route.path}: open to all, or which scope?"
                assert "security" not in described
                assert method in ("GET", "HEAD") or route.path in ("/confirm", "/unsubscribe")
    assert seen == CALLS.keys()


def test_without_its_scope_no_call_does_anything(api: TestClient, database: Database) -> None:
    lacking = {
        scope: make_token(database, f"not-{scope.value}", set(Scope) - {scope}, all_accounts=True)
        for scope in Scope
    }
    before = _rows(database)
    for call, (scope, body) in CALLS.items():
        assert _ask(api, None, call, body).status_code == 401, call
        refused = _ask(api, lacking[scope], call, body)
        told = refused.json()
        assert (refused.status_code, told["code"], told["needed"]) == (403, "missing_scope", scope.value)
        assert told["scopes"] == [one.value for one in Scope if one is not scope]
        assert f'scope="{scope.value}"' in refused.headers["WWW-Authenticate"]
    assert _rows(database) == before
    assert {event.application for event in _events(api, database, SecurityKind.SCOPE_MISSING)} == {
        f"not-{scope.value}" for scope in Scope
    }


def test_an_account_out_of_reach_is_answered_as_one_that_does_not_exist_whatever_the_call(
    api: TestClient, database: Database
) -> None:
    every = make_token(database, "every", all_accounts=True)
    own = make_token(database, "own", accounts=["a2"])
    placed = _ask(api, every, ("POST", "/bets"), BET)
    assert placed.status_code == 201
    bet_id = placed.json()["bet"]["bet_id"]
    before = _rows(database)
    for call, (_, body) in CALLS.items():
        if call == ("POST", "/accounts"):
            continue
        theirs = _ask(api, own, call, body, account_id="a1", bet_id=bet_id)
        none = _ask(api, own, call, body, account_id="xx", bet_id="no-such-bet")
        honest = _ask(api, every, call, body, account_id="xx", bet_id="no-such-bet")
        told = theirs.text.replace(bet_id, "no-such-bet").replace("a1", "xx")  # the id may have "a1" in it
        assert theirs.status_code == none.status_code == honest.status_code == 404, call
        assert told == none.text == honest.text, call
        assert theirs.headers.keys() == none.headers.keys()
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"odds": "2.6"})):
        for account_id in ("a1", "a2"):
            path = f"/bets/{bet_id}?account_id={account_id}"
            answer = api.request(method, path, json=body, headers=bearer(own))
            none = api.request(method, f"/bets/nope?account_id={account_id}", json=body, headers=bearer(own))
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_bet")
            assert answer.text.replace(bet_id, "nope") == none.text
    assert _rows(database) == before
    refusals = _events(api, database, SecurityKind.ACCOUNT_OUT_OF_REACH)
    assert {(event.application, event.client) for event in refusals} == {("own", "unknown")}
    assert len(refusals) == 1, "counted, not listed"


def test_an_application_may_act_for_what_it_registered_and_another_may_not(
    api: TestClient, database: Database
) -> None:
    web, other = make_token(database, "web"), make_token(database, "other")
    body = {"email": "ann@example.com", "display_name": "Ann"}
    account_id = api.post("/accounts", json=body, headers=bearer(web)).json()["account_id"]
    path = f"/accounts/{account_id}"
    assert api.get(path, headers=bearer(web)).json()["email"] == "ann@example.com"
    assert api.get(f"{path}/wallet", headers=bearer(make_token(database, "web"))).status_code == 200
    assert api.get(path, headers=bearer(other)).status_code == 404
    assert api.post(f"{path}/close", headers=bearer(other)).status_code == 404
    assert api.get("/accounts/a1", headers=bearer(web)).status_code == 404
    assert api.post(f"{path}/close", headers=bearer(web)).json()["state"] == "CLOSED"
    (closed,) = _events(api, database, SecurityKind.ACCOUNT_CLOSED)
    assert (closed.application, closed.account_id) == ("web", account_id)


def test_who_let_money_in_is_the_tokens_application_whatever_the_caller_says(
    api: TestClient, database: Database
) -> None:
    token = make_token(database, "shop", [Scope.MONEY, Scope.READ], all_accounts=True)
    for extra in ({}, {"application": "treasury"}):
        body = MONEY | {"authorised_by": "treasury"} | extra
        headers = bearer(token) | {"Idempotency-Key": "d1", "X-Application": "treasury"}
        answer = api.post("/accounts/a1/deposits", json=body, headers=headers)
        assert answer.status_code == (422 if extra else 201)
    (_, told) = reversed(api.get("/accounts/a1/transfers", headers=bearer(token)).json()["transfers"])
    assert (told["authorised_by"], told["application"]) == ("treasury", "shop")


def test_a_key_of_one_application_gives_another_neither_its_answer_nor_a_second_bet(
    api: TestClient, database: Database
) -> None:
    web, other = (make_token(database, name, accounts=["a1"]) for name in ("web", "other"))
    for call in (("POST", "/bets"), ("POST", f"{ACCOUNT}/deposits")):
        _, body = CALLS[call]
        first = _ask(api, web, call, body)
        assert first.status_code == 201
        refused = _ask(api, other, call, body)
        assert (refused.status_code, refused.json()["code"]) == (422, "submission_conflict")
        assert "bet_id" not in refused.text
        assert "transfer_id" not in refused.text
        assert _ask(api, web, call, body).json() == first.json()
    with database.read() as connection:
        count = connection.execute(sa.text("SELECT count(*) FROM bets")).scalar()
    assert count == 1


def test_a_page_of_one_account_shows_nothing_of_another(api: TestClient, database: Database) -> None:
    every, own = (
        make_token(database, "every", all_accounts=True),
        make_token(database, "own", accounts=["a2"]),
    )
    for number in range(3):
        headers = bearer(every) | {"Idempotency-Key": f"k{number}"}
        assert api.post("/bets", json=BET, headers=headers).status_code == 201
        assert api.post("/accounts/a1/deposits", json=MONEY, headers=headers).status_code == 201
    for what in ("bets", "transfers"):
        after = api.get(f"/accounts/a1/{what}?limit=1", headers=bearer(every)).json()["after"]
        theirs = api.get("/accounts/a1/" + what, params={"after": after}, headers=bearer(own))
        assert theirs.status_code == 404
        mine = api.get("/accounts/a2/" + what, params={"after": after}, headers=bearer(own)).json()[what]
        assert {one["account_id"] for one in mine} <= {"a2"}


def test_a_stream_ends_within_the_bound_once_its_token_is_revoked_or_expired(
    settings: Settings, database: Database
) -> None:
    clock = StandingClock(SYSTEM_CLOCK.now_us())
    services = create_app(settings, clock=clock).state.services

    async def told_after(change: Any) -> int:
        application = f"app-{clock.now}"
        make_token(database, application, lasts_s=3600, now_us=clock.now)
        services.known_tokens.refresh(0)
        stored = next(one for one in ApiTokens(database).list() if one.application == application)
        caller = Caller(stored.grant(), Actor(application), services)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        told = 0
        async with aclosing(_told(caller, "a1", [], queue)) as stream:
            assert await anext(stream) == "retry: 1000\n\n"
            change(stored)
            clock.now += int(MAX_AGE_S * 1e6)
            queue.put_nowait(None)  # ends the stream, if nothing else has
            async for _ in stream:
                told += 1
            assert not queue.empty(), "the token ended it, not what it waited for"
        return told

    try:
        revoke = lambda one: ApiTokens(database).revoke(one.application, [], OPERATOR, clock.now)  # noqa: E731

        def expire(_: Any) -> None:
            clock.now += 3600 * 1_000_000

        assert asyncio.run(told_after(revoke)) == 0
        assert asyncio.run(told_after(expire)) == 0
    finally:
        services.close()
