"""Mail preferences behind a signed link: one-click unsubscribing as RFC 8058 has it, and a page for
people.
"""

from __future__ import annotations

import html
import re

import pytest

from tests.support.account_parts import AccountsApi


def _link(accounts: AccountsApi, account_id: str) -> str:
    url: str = accounts.anybody.app.state.services.preference_links.url(account_id)  # type: ignore[attr-defined]
    return url.removeprefix(accounts.parts.settings.public_base_url)


def _choice(accounts: AccountsApi, account_id: str) -> object:
    return accounts.read(account_id)["mail_choice"]


def test_opening_the_link_changes_nothing_and_shows_the_choice(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    for method in ("GET", "HEAD"):
        answer = accounts.anybody.request(method, _link(accounts, account_id))
        assert answer.status_code == 200
    page = accounts.anybody.get(_link(accounts, account_id)).text
    assert re.findall(r'value="(\w+)" checked', page) == ["all"]
    assert _choice(accounts, account_id) == "all"


@pytest.mark.parametrize("multipart", [False, True])
def test_one_click_unsubscribes_without_a_login(accounts: AccountsApi, multipart: bool) -> None:
    account_id = accounts.register()
    field = {"List-Unsubscribe": "One-Click"}
    link = _link(accounts, account_id)
    for _ in range(2):
        answer = (
            accounts.anybody.post(link, files={name: (None, value) for name, value in field.items()})
            if multipart
            else accounts.anybody.post(link, data=field)
        )
        assert answer.status_code == 200
        assert "You are unsubscribed" in answer.text
        assert _choice(accounts, account_id) == "none"


def test_the_page_s_form_takes_each_choice(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    for choice in ("settlements", "digest", "none", "all"):
        page = accounts.anybody.get(_link(accounts, account_id)).text
        form = re.search(r'<form method="post" action="([^"]+)"', page)
        assert form is not None
        answer = accounts.anybody.post(f"/{html.unescape(form[1])}", data={"choice": choice})
        assert re.findall(r'value="(\w+)" checked', answer.text) == [choice]
        assert _choice(accounts, account_id) == choice


@pytest.mark.parametrize(
    "data", [{"choice": "everything"}, {"choice": ""}, {"List-Unsubscribe": "maybe"}, {"other": "x"}]
)
def test_a_form_with_nothing_that_can_be_chosen_changes_nothing_and_says_so(
    accounts: AccountsApi, data: dict[str, str]
) -> None:
    account_id = accounts.register()
    answer = accounts.anybody.post(_link(accounts, account_id), data=data)
    assert answer.status_code == 422
    assert "Saved" not in answer.text
    assert _choice(accounts, account_id) == "all"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", None),
        (b"", "application/x-www-form-urlencoded"),
        (b"List-Unsubscribe=One-Click", None),
        (b"List-Unsubscribe=One-Click\r\n", "text/plain"),
        (b"list-unsubscribe=one-click", "application/octet-stream"),
    ],
)
def test_one_click_with_an_empty_or_untyped_body_unsubscribes(
    accounts: AccountsApi, body: bytes, kind: str | None
) -> None:
    account_id = accounts.register()
    headers = {"Content-Type": kind} if kind is not None else {}
    answer = accounts.anybody.post(_link(accounts, account_id), content=body, headers=headers)
    assert answer.status_code == 200
    assert "You are unsubscribed" in answer.text
    assert _choice(accounts, account_id) == "none"


def test_a_body_of_another_kind_changes_nothing_and_says_so(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    for body, kind in ((b'{"choice": "none"}', "application/json"), (b"\xff\xfe", "text/plain")):
        answer = accounts.anybody.post(
            _link(accounts, account_id), content=body, headers={"Content-Type": kind}
        )
        assert answer.status_code == 422
        assert _choice(accounts, account_id) == "all"


def test_a_false_link_and_one_of_a_closed_or_purged_account_are_answered_alike(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    closed, gone = _link(accounts, account_id), _link(accounts, "0" * 32)
    accounts.application.post(f"/accounts/{account_id}/close")
    false = [
        "/unsubscribe",
        "/unsubscribe?token=",
        f"/unsubscribe?token={account_id}.x",
        "/unsubscribe?token=" + "x" * 9000,
    ]
    answers = [
        accounts.anybody.request(method, path, data={"choice": "all"} if method == "POST" else None)
        for path in (closed, gone, *false)
        for method in ("GET", "POST")
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}


def test_a_hostile_name_is_shown_as_text(accounts: AccountsApi) -> None:
    name = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
    account_id = accounts.register("ann@example.com", name)
    page = accounts.anybody.get(_link(accounts, account_id)).text
    assert "<img" not in page
    assert html.escape(name, quote=False) in page.replace("&#34;", '"').replace("&#39;", "'")
    assert "{{7*7}}" in page
