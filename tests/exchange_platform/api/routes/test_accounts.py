"""The routes of accounts: who gets in, what is answered, and that every refusal says what is allowed."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from exchange_platform.stores.operational.accounts.accounts import mark_undeliverable
from exchange_platform.stores.operational.database import profiles
from tests.support.account_parts import MINUTE, AccountsApi

ANN = {"email": "ann@example.com", "display_name": "Ann"}


def test_an_account_is_registered_and_read_back(accounts: AccountsApi) -> None:
    answer = accounts.application.post(
        "/accounts", json={**ANN, "currency": "EUR", "mail_choice": "settlements"}
    )
    assert answer.status_code == 202
    account_id = answer.json()["account_id"]
    assert answer.json() == {"account_id": account_id, "state": "PENDING"}
    assert answer.headers["location"] == f"accounts/{account_id}"
    assert accounts.read(account_id) == {
        "account_id": account_id,
        "state": "PENDING",
        "state_reason": None,
        "email": "ann@example.com",
        "display_name": "Ann",
        "currency": "EUR",
        "mail_choice": "settlements",
        "created_at": "2027-01-15T08:00:00Z",
        "confirmed_at": None,
    }


def test_only_applications_get_in(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    calls = [
        ("POST", "/accounts"),
        ("GET", f"/accounts/{account_id}"),
        ("POST", f"/accounts/{account_id}/confirmation"),
        ("PUT", f"/accounts/{account_id}/mail-preferences"),
        ("POST", f"/accounts/{account_id}/close"),
        ("GET", "/accounts/nobody"),
    ]
    for method, path in calls:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
            answer = accounts.anybody.request(method, path, headers=headers, json={})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert accounts.read(account_id)["state"] == "PENDING"


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"email": "ann"}, "invalid_address", "@-sign"),
        ({"email": "ann@example.com\r\nBcc: x@example.com"}, "invalid_address", "invalid characters"),
        ({"display_name": " "}, "invalid_name", "1 to 60 visible characters"),
        ({"display_name": "a\u202eb"}, "invalid_name", "U+202E"),
        ({"currency": "XXX"}, "invalid_currency", "GBP"),
        ({"mail_choice": "some"}, "invalid_request", "'all', 'settlements', 'digest' or 'none'"),
        ({"email": None}, "invalid_request", "email"),
        ({"email": "x" * 1001}, "invalid_request", "1000"),
        ({"is_admin": True}, "invalid_request", "is_admin"),
    ],
)
def test_a_wrong_registration_is_refused_with_what_is_allowed(
    accounts: AccountsApi, change: dict[str, object], code: str, says: str
) -> None:
    answer = accounts.application.post("/accounts", json={**ANN, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert says in answer.json()["detail"]
    assert accounts.parts.accounts.counts() == {}


def test_asking_again_too_soon_is_answered_with_when(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    accounts.parts.clock.now += MINUTE // 4
    answer = accounts.application.post(f"/accounts/{account_id}/confirmation")
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert answer.headers["retry-after"] == "45"
    accounts.parts.clock.now += 45_000_000
    answer = accounts.application.post(f"/accounts/{account_id}/confirmation")
    assert (answer.status_code, answer.json()["state"]) == (202, "PENDING")


def test_asking_again_for_a_confirmed_account_is_refused(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    accounts.press(accounts.parts.codes()[0])
    answer = accounts.application.post(f"/accounts/{account_id}/confirmation")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert "CONFIRMED" in answer.json()["detail"]


def test_an_undeliverable_account_says_why(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    with accounts.parts.database.write() as connection:
        mark_undeliverable(connection, account_id, "550 no such user", accounts.parts.clock.now)
    account = accounts.read(account_id)
    assert (account["state"], account["state_reason"]) == ("UNDELIVERABLE", "550 no such user")


def test_mail_is_chosen(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    path = f"/accounts/{account_id}/mail-preferences"
    for choice in ("settlements", "digest", "none", "all"):
        answer = accounts.application.put(path, json={"mail_choice": choice})
        assert (answer.status_code, answer.json()["mail_choice"]) == (200, choice)
    assert accounts.application.put(path, json={"mail_choice": "some"}).status_code == 422
    assert accounts.application.put(path, json={}).status_code == 422


def test_an_account_is_closed_once_it_is_empty(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    row = {"user_id": account_id, "currency": "GBP", "version": 1, "balance_minor": 1, "updated_at_us": 0}
    with accounts.parts.database.write() as connection:
        connection.execute(sa.insert(profiles).values(row))
    answer = accounts.application.post(f"/accounts/{account_id}/close")
    assert (answer.status_code, answer.json()["code"]) == (409, "account_in_use")
    with accounts.parts.database.write() as connection:
        connection.execute(sa.update(profiles).values(balance_minor=0))
    for _ in range(2):
        answer = accounts.application.post(f"/accounts/{account_id}/close")
        assert (answer.status_code, answer.json()["state"]) == (200, "CLOSED")
    assert accounts.read(account_id)["state"] == "CLOSED"
    for method, path in (("POST", "confirmation"), ("PUT", "mail-preferences")):
        answer = accounts.application.request(
            method, f"/accounts/{account_id}/{path}", json={"mail_choice": "all"}
        )
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")


def test_an_account_that_is_not_there_is_a_404(accounts: AccountsApi) -> None:
    for method, path in (
        ("GET", "/accounts/nobody"),
        ("POST", "/accounts/nobody/confirmation"),
        ("PUT", "/accounts/nobody/mail-preferences"),
        ("POST", "/accounts/nobody/close"),
        ("GET", "/accounts/..%2f..%2fetc%2fpasswd"),
        ("GET", "/accounts/%00"),
        ("GET", "/accounts/" + "x" * 65),
    ):
        answer = accounts.application.request(method, path, json={"mail_choice": "all"})
        assert answer.status_code in (404, 422)
        assert answer.headers["content-type"] == "application/problem+json"
