"""The confirmation's page: only its button confirms, it needs no script, and it tells nobody's code to
anybody.
"""

from __future__ import annotations

import logging
import re

import pytest

from exchange_platform.settings import Settings
from tests.exchange_platform.api.conftest import serving_accounts
from tests.support.account_parts import HOUR, SECOND, AccountsApi


def _heading(page: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page)
    assert found is not None
    return found[1]


def test_the_button_confirms_and_opening_does_not(accounts: AccountsApi) -> None:
    account_id = accounts.register()
    (code,) = accounts.parts.codes()
    for method in ("GET", "HEAD", "GET"):
        answer = accounts.anybody.request(method, "/confirm")
        assert answer.status_code == 200
    assert accounts.read(account_id)["state"] == "PENDING"
    answer = accounts.press(code)
    assert (answer.status_code, _heading(answer.text)) == (200, "Your address is confirmed")
    assert accounts.read(account_id)["state"] == "CONFIRMED"


def test_the_form_works_without_script(accounts: AccountsApi) -> None:
    page = accounts.anybody.get("/confirm").text
    form = re.search(r'<form method="post" action="([^"]+)"', page)
    assert form is not None
    assert re.search(r'<input id="code" name="code" value="" required', page)
    accounts.register()
    answer = accounts.anybody.post(f"/{form[1]}", data={"code": accounts.parts.codes()[0]})
    assert answer.status_code == 200


def test_a_used_an_old_and_an_unknown_code_are_each_told_what_to_do(accounts: AccountsApi) -> None:
    accounts.register()
    (code,) = accounts.parts.codes()
    accounts.press(code)
    used = accounts.press(code)
    assert (used.status_code, _heading(used.text)) == (410, "Confirmed already")
    accounts.register("bob@example.com")
    (old,) = accounts.parts.codes()
    accounts.parts.clock.now += 24 * HOUR
    expired = accounts.press(old)
    assert (expired.status_code, _heading(expired.text)) == (410, "This code is too old")
    unknown = accounts.press("0" * 32 + "." + "A" * 43)
    assert (unknown.status_code, _heading(unknown.text)) == (410, "This code does not work")
    for page in (expired.text, unknown.text):
        assert "Ask for a new mail" in page or "ask for a new mail" in page


def test_an_empty_form_is_shown_again(accounts: AccountsApi) -> None:
    for data in ({}, {"code": ""}, {"code": "  "}):
        answer = accounts.anybody.post("/confirm", data=data)
        assert answer.status_code == 422
        assert "No code arrived" in answer.text


def test_too_many_presses_are_told_to_wait_and_keep_their_code(settings: Settings) -> None:
    with serving_accounts(settings, limit_confirmations_client="2/minute") as accounts:
        accounts.register()
        (code,) = accounts.parts.codes()
        accounts.press("x"), accounts.press("y")
        answer = accounts.press(code)
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "60"
        assert f'value="{code}"' in answer.text
        accounts.parts.clock.now += 60 * SECOND
        assert accounts.press(code).status_code == 200


def test_while_a_store_is_away_nothing_is_lost(settings: Settings) -> None:
    with serving_accounts(settings, aws_endpoint_url="http://127.0.0.1:9") as away:
        answer = away.press("0" * 32 + "." + "A" * 43)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "nothing was changed" in answer.text
        assert answer.headers["content-type"].startswith("text/html")


def test_a_code_is_in_no_log_no_address_and_no_answer_that_a_cache_keeps(
    accounts: AccountsApi, caplog: pytest.LogCaptureFixture
) -> None:
    accounts.register()
    (code,) = accounts.parts.codes()
    caplog.set_level(logging.DEBUG)
    for _ in range(2):
        answer = accounts.press(code)
        assert code not in answer.text
        assert code.partition(".")[2] not in str(answer.headers)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
    own = [record for record in caplog.records if not record.name.startswith(("botocore", "urllib3"))]
    assert code.partition(".")[2] not in " ".join(record.getMessage() for record in own)
    hashes = " ".join(record.getMessage() for record in caplog.records)
    assert code.partition(".")[2] not in hashes


@pytest.mark.parametrize("path", ["/confirm", "/unsubscribe", "/unsubscribe?token=x"])
def test_a_page_holds_nothing_inline_and_nothing_of_another_host(accounts: AccountsApi, path: str) -> None:
    answer = accounts.anybody.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = answer.text
    assert not re.search(r"https?://|//[a-z]", page)
    assert not re.search(r"<script>|<style|\sstyle=|\son[a-z]+=|javascript:", page)
    for asset in re.findall(r'(?:src|href)="(static/[^"]+)"', page):
        given = accounts.anybody.get(f"/{asset}")
        assert given.status_code == 200
        assert "http" not in given.text.replace("http://www.w3.org/2000/svg", "")


def test_only_the_pages_own_files_are_served(accounts: AccountsApi) -> None:
    for path in ("nothing.css", "..%2fpages.py", "../pages.py", "confirm.html", "%00", "pages.css%00"):
        assert accounts.anybody.get(f"/static/{path}").status_code in (404, 422)
