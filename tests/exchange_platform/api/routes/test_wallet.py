"""Money over HTTP: deposits and withdrawals happen once, limits hold, the profile is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.profile_view import ProfileView, ensure_table
from exchange_platform.stores.operational.bets.profiles import Profiles
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.betting import add_account


@pytest.fixture
def database(api_settings: Settings) -> Iterator[Database]:
    """An account without money."""
    found = Database(api_settings.operational_database_url)
    add_account(found)
    add_account(found, "pending", state="PENDING")
    yield found
    found.dispose()


def _transfer(application: TestClient, kind: str, key: str, amount_minor: Any, account: str = "a1") -> Any:
    return application.post(
        f"/accounts/{account}/{kind}",
        json={"amount_minor": amount_minor, "currency": "GBP", "authorised_by": "payments"},
        headers={"Idempotency-Key": key},
    )


def test_money_comes_in_and_goes_out_once(application: TestClient, database: Database) -> None:
    assert _transfer(application, "deposits", "d1", 2000).json()["balance_minor"] == 2000
    assert _transfer(application, "deposits", "d1", 2000).json()["balance_minor"] == 2000
    assert _transfer(application, "deposits", "d1", 3000).json()["code"] == "submission_conflict"
    assert _transfer(application, "withdrawals", "w1", 500).json()["balance_minor"] == 1500
    too_much = _transfer(application, "withdrawals", "w2", 1501)
    assert (too_much.status_code, too_much.json()["code"]) == (402, "insufficient_funds")
    told = application.get("/accounts/a1/transfers").json()["transfers"]
    assert [(one["kind"], one["amount_minor"]) for one in told] == [("withdrawal", 500), ("deposit", 2000)]
    assert application.get("/accounts/a1/wallet").json()["available_minor"] == 1500


@pytest.mark.parametrize(
    ("account", "amount", "status", "code"),
    [
        ("a1", 0, 422, "invalid_amount"),
        ("a1", -1, 422, "invalid_amount"),
        ("a1", 10**20, 422, "invalid_amount"),
        ("a1", "12", 422, "invalid_request"),
        ("pending", 100, 403, "account_not_confirmed"),
        ("nobody", 100, 404, "unknown_account"),
    ],
)
def test_bad_deposits_are_refused(
    application: TestClient, database: Database, account: str, amount: Any, status: int, code: str
) -> None:
    answer = _transfer(application, "deposits", "d", amount, account)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_lowered_limit_holds_at_once_and_a_raised_one_waits(
    application: TestClient, database: Database
) -> None:
    assert application.put("/accounts/a1/limits/deposit_24h", json={"amount_minor": 1000}).status_code == 200
    over = _transfer(application, "deposits", "d1", 1001)
    assert (over.status_code, over.json()["code"]) == (403, "deposit_over_limit")
    (limit,) = application.put("/accounts/a1/limits/deposit_24h", json={"amount_minor": 5000}).json()[
        "limits"
    ]
    assert (limit["amount_minor"], limit["next_amount_minor"]) == (1000, 5000)
    assert limit["changes_at"] is not None
    assert application.put("/accounts/a1/limits/deposit_24h", json={"amount_minor": -1}).status_code == 422
    assert application.put("/accounts/a1/limits/nonsense", json={"amount_minor": 1}).status_code == 422


def test_a_break_can_be_made_longer_only(application: TestClient, database: Database) -> None:
    longer = application.put("/accounts/a1/limits/break", json={"until": "2028-01-01T00:00:00Z"})
    assert longer.json()["limits"][0]["until"].startswith("2028-01-01")
    shorter = application.put("/accounts/a1/limits/break", json={"until": "2027-01-01T00:00:00Z"})
    assert (shorter.status_code, shorter.json()["code"]) == (403, "break_not_longer")
    assert (
        application.put("/accounts/a1/limits/break", json={"until": "2020-01-01T00:00:00Z"}).status_code
        == 422
    )


def test_the_profile_is_the_views_and_zeros_where_there_is_none(
    application: TestClient, database: Database, api_settings: Settings
) -> None:
    client = aws_client(api_settings, "dynamodb")
    ensure_table(client, api_settings.profiles_table)
    assert application.get("/accounts/a1/profile").json()["balance_minor"] == 0
    _transfer(application, "deposits", "d1", 700)
    ProfileView(client, api_settings.profiles_table).put(Profiles(database).read(["a1"]))
    client.close()
    assert application.get("/accounts/a1/profile").json()["balance_minor"] == 700
    assert application.get("/accounts/nobody/profile").json()["code"] == "unknown_account"
