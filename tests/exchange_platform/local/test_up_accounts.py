"""The whole platform as people use it: an account registered over HTTP, its mail, its link opened in a
browser, the button pressed.
"""

from __future__ import annotations

import json
import re
import shutil
import time

import httpx
import pytest

from tests.exchange_platform.local.conftest import wait_until
from tests.exchange_platform.local.test_up import StartUp, start_up
from tests.support.account_parts import codes_in, mailed_texts

pytestmark = [pytest.mark.faults, pytest.mark.alone, pytest.mark.timeout(300)]

__all__ = ["start_up"]


def test_a_registered_account_is_mailed_within_two_seconds_and_confirmed_by_the_button(
    start_up: StartUp,
) -> None:
    up = start_up("--exchange", "none")
    up.wait_for("Everything runs")
    api = json.loads((up.data_dir / "api.json").read_text())
    assert (up.data_dir / "api.json").stat().st_mode & 0o777 == 0o600
    mail = up.data_dir / "mail"
    with httpx.Client(
        base_url=api["url"], headers={"Authorization": f"Bearer {api['token']}"}, trust_env=False
    ) as client:

        def registered(address: str) -> str:
            answer = client.post("/accounts", json={"email": address, "display_name": "Ann"})
            assert answer.status_code == 202
            return str(answer.json()["account_id"])

        registered("warm-up@example.com")
        wait_until(lambda: mailed_texts(mail, "warm-up@example.com"), within_s=60)  # the run is at work
        account_id = registered("ann@example.com")
        asked = time.monotonic()
        wait_until(lambda: mailed_texts(mail, "ann@example.com"))
        assert time.monotonic() - asked < 2
        (text,) = mailed_texts(mail, "ann@example.com")
        (code,) = codes_in([text])
        (link,) = re.findall(r"^http\S+/confirm#\S+$", text, re.MULTILINE)
        assert link == f"{api['url']}/confirm#{code}"
        _press(link, code, api["url"])
        assert client.get(f"/accounts/{account_id}").json()["state"] == "CONFIRMED"
    for log in (up.data_dir / "logs").glob("*.log"):
        assert code.partition(".")[2] not in log.read_text(errors="replace")


def _press(link: str, code: str, url: str) -> None:
    """Open the link and press the button; where there is no browser, send what the button sends."""
    chromium = shutil.which("chromium")
    if chromium is None:
        assert httpx.post(f"{url}/confirm", data={"code": code}, trust_env=False).status_code == 200
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(link)
        page.get_by_role("button", name="Confirm my address").click()
        page.get_by_role("heading", name="Your address is confirmed").wait_for()
        browser.close()
