"""Bets over HTTP: placed once whatever is repeated, refused in so many words, paged, cancelled, replaced;
every bad order has its code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.orders import PlaceOrder, decode_order
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.bets.reading import read_bet
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sources.aggregation import disaggregate
from exchange_platform.streams.sources.kinesis import ensure_stream
from tests.exchange_platform.betting import add_account, add_event, add_market
from tests.exchange_platform.stores.bet_lives import later


@pytest.fixture
def database(api_settings: Settings) -> Iterator[Database]:
    """A market that takes bets, an account with money, one without, and the stream of orders."""
    client = aws_client(api_settings, "kinesis")
    ensure_stream(client, api_settings.orders_stream)
    client.close()
    found = Database(api_settings.operational_database_url)
    add_event(found)
    add_market(found)
    add_market(found, "closed", status="CLOSED")
    add_market(found, "suspended", status="SUSPENDED")
    add_account(found, funds_minor=10_000)
    add_account(found, "poor")
    add_account(found, "pending", state="PENDING")
    yield found
    found.dispose()


BET: dict[str, Any] = {
    "account_id": "a1",
    "market_id": "m1",
    "selection_id": 1,
    "side": "back",
    "odds": "3",
    "currency": "GBP",
    "stake_minor": 1000,
}


def _place(application: TestClient, key: str = "k1", **changes: Any) -> Any:
    return application.post("/bets", json=BET | changes, headers={"Idempotency-Key": key})


def _orders(settings: Settings) -> list[Any]:
    client = aws_client(settings, "kinesis")
    shard = client.list_shards(StreamName=settings.orders_stream)["Shards"][0]["ShardId"]
    iterator = client.get_shard_iterator(
        StreamName=settings.orders_stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = client.get_records(ShardIterator=iterator)["Records"]
    client.close()
    orders = [
        decode_order(data)
        for record in records
        for _, data in disaggregate(record["PartitionKey"], record["Data"])
    ]
    return list({order.order_id: order for order in orders}.values())  # the stream may repeat one


def test_a_placed_bet_is_pending_its_exposure_reserved_and_its_order_in_the_stream(
    application: TestClient, database: Database, api_settings: Settings
) -> None:
    answer = _place(application)
    assert answer.status_code == 201
    bet = answer.json()["bet"]
    assert (bet["status"], bet["odds"], bet["remaining_minor"]) == ("PENDING", "3", 1000)
    wallet = application.get("/accounts/a1/wallet").json()
    assert (wallet["balance_minor"], wallet["exposure_minor"], wallet["available_minor"]) == (
        10_000,
        1000,
        9000,
    )
    (order,) = _orders(api_settings)
    assert isinstance(order, PlaceOrder)
    assert order.bet_id == bet["bet_id"]
    assert application.get(f"/bets/{bet['bet_id']}").json() == bet


def test_the_same_key_is_the_same_bet_and_another_content_under_it_is_refused(
    application: TestClient, database: Database, api_settings: Settings
) -> None:
    first = _place(application)
    again = _place(application)
    assert again.status_code == 201
    assert again.json() == first.json()
    other = _place(application, stake_minor=2000)
    assert (other.status_code, other.json()["code"]) == (422, "submission_conflict")
    assert len(_orders(api_settings)) == 1


def test_a_bet_without_a_key_is_refused(application: TestClient, database: Database) -> None:
    answer = application.post("/bets", json=BET)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


def test_nobody_bets_without_a_token(anybody: TestClient, database: Database) -> None:
    assert _place(anybody).status_code == 401
    assert anybody.get("/accounts/a1/wallet").status_code == 401
    assert anybody.get("/accounts/a1/changes").status_code == 401


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"stake_minor": 0}, 422, "invalid_stake"),
    ({"stake_minor": -5}, 422, "invalid_stake"),
    ({"stake_minor": 10**30}, 422, "invalid_stake"),
    ({"stake_minor": 1}, 422, "stake_below_minimum"),
    ({"stake_minor": "1000"}, 422, "invalid_request"),
    ({"stake_minor": 10.5}, 422, "invalid_request"),
    ({"stake_minor": True}, 422, "invalid_request"),
    ({"stake_minor": 999_999}, 402, "insufficient_funds"),
    ({"odds": "3.01"}, 422, "invalid_odds"),
    ({"odds": "1"}, 422, "invalid_odds"),
    ({"odds": "-3"}, 422, "invalid_odds"),
    ({"odds": "1e99999"}, 422, "invalid_odds"),
    ({"odds": "NaN"}, 422, "invalid_request"),
    ({"odds": "three"}, 422, "invalid_request"),
    ({"odds": {}}, 422, "invalid_request"),
    ({"side": "sideways"}, 422, "invalid_request"),
    ({"currency": "EUR"}, 403, "wrong_currency"),
    ({"currency": "<b>"}, 422, "invalid_currency"),
    ({"account_id": "nobody"}, 404, "unknown_account"),
    ({"account_id": "pending"}, 403, "account_not_confirmed"),
    ({"account_id": "poor"}, 402, "insufficient_funds"),
    ({"account_id": "a1' OR '1'='1"}, 422, "invalid_account_id"),
    ({"market_id": "nowhere"}, 404, "unknown_market"),
    ({"market_id": "closed"}, 409, "market_closed"),
    ({"market_id": "suspended"}, 409, "market_suspended"),
    ({"market_id": "m1'; DROP TABLE bets; --"}, 422, "invalid_market_id"),
    ({"market_id": "<script>"}, 404, "unknown_market"),
    ({"selection_id": 9}, 404, "unknown_selection"),
    ({"selection_id": -1}, 422, "invalid_selection"),
    ({"selection_id": "1"}, 422, "invalid_request"),
    ({"handicap": "0.5"}, 404, "unknown_selection"),
    ({"handicap": "5000"}, 422, "invalid_handicap"),
    ({"surprise": 1}, 422, "invalid_request"),
]


def test_bad_orders_have_their_code_and_status_and_change_nothing(
    application: TestClient, database: Database, api_settings: Settings
) -> None:
    wrong = []
    for place, (changes, status, code) in enumerate(BAD):
        answer = _place(application, f"bad-{place}", **changes)
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        if (answer.status_code, problem["code"]) != (status, code):
            wrong.append((changes, answer.status_code, problem["code"]))
    assert wrong == []
    assert application.get("/accounts/a1/bets").json() == {"bets": [], "after": None}
    assert application.get("/accounts/a1/wallet").json()["exposure_minor"] == 0
    assert _orders(api_settings) == []


def test_bets_are_paged_newest_first(application: TestClient, database: Database) -> None:
    placed = [_place(application, f"k{n}", stake_minor=200).json()["bet"]["bet_id"] for n in range(5)]
    seen: list[str] = []
    after = None
    while True:
        page = application.get(
            "/accounts/a1/bets", params={"limit": 2} | ({"after": after} if after else {})
        ).json()
        seen += [bet["bet_id"] for bet in page["bets"]]
        after = page["after"]
        if after is None:
            break
    assert seen == placed[::-1]
    assert application.get("/accounts/a1/bets", params={"status": "SETTLED"}).json()["bets"] == []
    assert application.get("/accounts/a1/bets", params={"limit": 0}).json()["code"] == "invalid_page"


def test_a_bet_is_cancelled_and_replaced_by_orders_that_follow_it(
    application: TestClient, database: Database, api_settings: Settings
) -> None:
    bet_id = _place(application).json()["bet"]["bet_id"]
    bet = read_bet(database, bet_id)
    assert bet is not None
    with database.write() as connection:
        apply_bet_updates(connection, [later(bet, status=BetStatus.OPEN)])
    replaced = application.patch(f"/bets/{bet_id}", json={"odds": "3.1"})
    assert replaced.status_code == 202
    assert replaced.json()["replaces"] == bet_id
    twice = application.patch(f"/bets/{bet_id}", json={"odds": "3.2"})
    assert (twice.status_code, twice.json()["code"]) == (409, "being_replaced")
    cancelled = application.delete(
        f"/bets/{bet_id}", params={"size_minor": 100}, headers={"Idempotency-Key": "c"}
    )
    assert cancelled.status_code in (202, 409)
    kinds = [type(order).__name__ for order in _orders(api_settings)]
    assert kinds[:2] == ["PlaceOrder", "ReplaceOrder"]


def test_another_accounts_bet_is_not_told_of_nor_touched(application: TestClient, database: Database) -> None:
    bet_id = _place(application).json()["bet"]["bet_id"]
    for answer in (
        application.get(f"/bets/{bet_id}", params={"account_id": "poor"}),
        application.delete(f"/bets/{bet_id}", params={"account_id": "poor"}),
        application.patch(f"/bets/{bet_id}", params={"account_id": "poor"}, json={"odds": "3.1"}),
        application.get("/bets/no-such-bet"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_bet")
