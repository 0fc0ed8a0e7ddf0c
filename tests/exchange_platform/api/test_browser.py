"""A person with a browser: opens the mailed link in headless Chromium and presses the button, with script and
without, on a phone and a desktop.

CI installs Chromium (.ci/run). Without one these tests skip.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from exchange_platform.api.serving import Server
from exchange_platform.confirmation.run import build_run
from exchange_platform.domain.accounts import AccountState
from exchange_platform.notifications.unsubscribing import PreferenceLinks
from exchange_platform.settings import Settings
from exchange_platform.stores.dynamodb.confirmation_tokens import draw_token
from tests.exchange_platform.api.conftest import serving_accounts
from tests.support.account_parts import AccountParts, mailed_texts
from tests.support.platform_parts import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

CHROMIUM = os.environ.get("EXCHANGE_PLATFORM_TEST_CHROMIUM") or shutil.which("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: the program `chromium` is not there (.ci/run installs it)")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


class _World:
    """The API on a socket, the run that mails, and the accounts behind both, on the system's clock."""

    def __init__(self, parts: AccountParts, url: str) -> None:
        self.parts = parts
        self.url = url

    def mailed_link(self, account_id: str, address: str) -> str:
        """The link in the newest mail to the address, as a reader sees it."""
        folder = self.parts.settings.data_dir / "mail"
        wait_for(lambda: any(account_id in text for text in mailed_texts(folder, address)), what="the mail")
        text = [text for text in mailed_texts(folder, address) if account_id in text][-1]
        (link,) = re.findall(rf"^{re.escape(self.url)}/confirm#\S+$", text, re.MULTILINE)
        return str(link)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, emulator_url: str) -> Iterator[_World]:
    plain = Settings(
        data_dir=tmp_path_factory.mktemp("browsed"),
        aws_endpoint_url=emulator_url,
        tokens_table="confirmation-tokens-browsed",
    )
    with serving_accounts(plain) as accounts:
        parts = accounts.parts
        server = Server(parts.settings, host="127.0.0.1", port=0)
        serving = threading.Thread(target=server.run)
        serving.start()
        wait_for(lambda: server.started)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        parts.settings = parts.settings.model_copy(update={"public_url": url})
        run = build_run(parts.settings, run_id="browsed", duration_s=600)
        mailing = threading.Thread(target=lambda: list(run.run()))
        mailing.start()
        parts.clock.now = _system_now_us()
        yield _World(parts, url)
        run.stop()
        mailing.join()
        server.should_exit = True
        serving.join()


def _system_now_us() -> int:
    from exchange_platform.process.clock import SYSTEM_CLOCK

    return SYSTEM_CLOCK.now_us()


@pytest.fixture(params=["phone", "desktop"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    phone = request.param == "phone"
    context = browser.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 800},
        is_mobile=phone,
        has_touch=phone,
        color_scheme="dark" if phone else "light",
    )
    yield context.new_page()
    context.close()


def _asked_for(page: Page) -> list[str]:
    """Every address that the page asks for, from now on."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    return urls


def test_the_mailed_link_and_one_press_confirm_the_account(page: Page, world: _World) -> None:
    address = f"ann-{draw_token()[:8].lower().strip('-_')}@example.com"
    account_id = world.parts.register(address)
    link = world.mailed_link(account_id, address)
    asked, said = _asked_for(page), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(link)
    expect(page.get_by_role("button", name="Confirm my address")).to_be_visible()
    expect(page.get_by_label("Code from the mail")).to_be_hidden()
    assert page.url == f"{world.url}/confirm"  # the code has left the address bar
    assert world.parts.account(account_id).state is AccountState.PENDING
    _fits(page)
    page.get_by_role("button", name="Confirm my address").click()
    expect(page.get_by_role("heading", name="Your address is confirmed")).to_be_visible()
    _fits(page)
    assert world.parts.account(account_id).state is AccountState.CONFIRMED
    assert all(url.startswith(world.url) for url in asked)
    token = link.rpartition(".")[2]
    assert not [url for url in asked if token in url.partition("#")[0]]
    assert said == []
    page.goto(link)
    page.get_by_role("button", name="Confirm my address").click()
    expect(page.get_by_role("heading", name="Confirmed already")).to_be_visible()


def test_without_script_the_pasted_code_confirms(browser: Browser, world: _World) -> None:
    account_id = world.parts.register("paste@example.com")
    link = world.mailed_link(account_id, "paste@example.com")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(link)
    page.get_by_label("Code from the mail").fill(link.partition("#")[2])
    page.get_by_role("button", name="Confirm my address").click()
    expect(page.get_by_role("heading", name="Your address is confirmed")).to_be_visible()
    assert world.parts.account(account_id).state is AccountState.CONFIRMED
    context.close()


def test_a_link_that_was_cut_leads_to_the_field_and_a_helpful_answer(page: Page, world: _World) -> None:
    page.goto(f"{world.url}/confirm#0123.cut")
    expect(page.get_by_label("Code from the mail")).to_be_visible()
    page.get_by_label("Code from the mail").fill("0123.cut")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", name="This code does not work")).to_be_visible()
    _fits(page)
    page.get_by_role("link", name="Try another code").click()
    expect(page.get_by_label("Code from the mail")).to_be_visible()


def test_mail_is_chosen_on_its_page(page: Page, world: _World) -> None:
    address = f"choose-{draw_token()[:8].lower().strip('-_')}@example.com"
    account_id = world.parts.register(address, "<b>Ann</b>")
    links = PreferenceLinks.from_settings(world.parts.settings)
    page.goto(links.url(account_id))
    expect(page.get_by_text("<b>Ann</b>")).to_be_visible()
    expect(page.get_by_role("radio", name="Every change")).to_be_checked()
    _fits(page)
    page.get_by_text("A digest").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    assert world.parts.account(account_id).mail_choice.value == "digest"
    _fits(page)


def _fits(page: Page) -> None:
    """Nothing is wider than the screen, and what is pressed is large enough for a thumb."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for box in (one.bounding_box() for one in page.get_by_role("button").all()):
        assert box is not None
        assert box["height"] >= 44
