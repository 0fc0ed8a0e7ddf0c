"""The board in Debian's Chromium: typing and choosing, figures that follow what is executed, light and dark,
phones, no scripts.

Every page is watched: an error on the console, a failed request or one to another host fails its test.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from exchange_platform.domain.events import EventStatus, MarketStatus
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.api.event_parts import Serving, database, feed, serving
from tests.exchange_platform.stores.lake.lake_feed import SOURCE, Feed, execution
from tests.support.event_data import event, index, market, selections_of, store

__all__ = ["database", "feed"]

pytestmark = pytest.mark.servers

CHROMIUM = os.environ.get("EXCHANGE_PLATFORM_TEST_CHROMIUM") or shutil.which("chromium")
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: the program `chromium` is not there (.ci/run installs it)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def served(api_settings: Settings, database: Database, feed: Feed) -> Iterator[Serving]:
    """The API with three events; the first has executions in two windows."""
    store(
        database,
        [
            event("e1"),
            market("1.1", "e1"),
            event("e2", name="Dunholm Falcons v Elmsley", sport="cricket", scores=(), participants=()),
            market("1.2", "e2"),
            event(
                "e3",
                name="A. Brandt v C. Estrada",
                sport="tennis",
                status=EventStatus.SCHEDULED,
                participants=(),
            ),
        ],
    )
    feed.commit([execution(n, odds=f"{3 + n / 50:.2f}", selection=7 + n % 2) for n in range(2)])
    index(api_settings, database)
    with serving(api_settings) as one:
        yield one


Opened = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, served: Serving) -> Iterator[Opened]:
    """Opens a path of the board in a page of its own, which is watched until the end of the test."""
    troubles: list[str] = []
    contexts = []

    def note(is_trouble: bool, what: str) -> None:
        if is_trouble:
            troubles.append(what)

    def open_page(
        path: str, *, url: str = served.url, before: Callable[[Page], None] | None = None, **options: Any
    ) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: note(message.type == "error", message.text))
        page.on("pageerror", lambda error: note(True, str(error)))
        page.on(
            "request",
            lambda request: note(not request.url.startswith((url, "data:")), f"asked {request.url}"),
        )
        page.on("response", lambda answer: note(answer.status >= 400, f"{answer.status} {answer.url}"))
        if before is not None:
            before(page)
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def options(page: Page) -> Any:
    return page.get_by_role("option")


def test_an_event_is_found_and_chosen_with_the_keyboard(opened: Opened) -> None:
    page = opened("/")
    box = page.get_by_role("combobox", name="Find an event")
    expect(box).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("/")
    expect(box).to_be_focused()
    page.keyboard.type("dunh", delay=20)
    expect(options(page)).to_have_count(2)
    expect(box).to_have_attribute("aria-expanded", "true")
    expect(page.locator("[data-search-status]")).to_have_text("2 events found. Use the arrow keys.")
    expect(page.locator("mark").first).to_have_text("Dunh")
    for key, place in (
        ("ArrowDown", 0),
        ("ArrowDown", 1),
        ("ArrowDown", None),
        ("ArrowUp", 1),
        ("Home", 0),
        ("End", 1),
    ):
        page.keyboard.press(key)
        if place is None:
            expect(box).not_to_have_attribute("aria-activedescendant", re.compile("."))
        else:
            expect(box).to_have_attribute("aria-activedescendant", f"search-option-{place}")
            expect(options(page).nth(place)).to_have_attribute("aria-selected", "true")
    chosen = options(page).nth(1).locator(".found-name").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/board/events/e"))
    expect(page.get_by_role("heading", level=1)).to_have_text(chosen)


def test_escape_closes_the_list_then_empties_the_box(opened: Opened) -> None:
    page = opened("/")
    box = page.get_by_role("combobox")
    box.press_sequentially("ash")
    expect(options(page)).to_have_count(1)
    box.press("Escape")
    expect(page.locator("[data-search-panel]")).to_be_hidden()
    expect(box).to_have_value("ash")
    box.press("ArrowDown")
    expect(page.locator("[data-search-panel]")).to_be_visible()
    box.press("Escape")
    box.press("Escape")
    expect(box).to_have_value("")


def test_an_event_is_chosen_with_the_mouse_and_the_list_closes_elsewhere(opened: Opened) -> None:
    page = opened("/")
    box = page.get_by_role("combobox")
    box.press_sequentially("brandt")
    expect(options(page)).to_have_count(1)
    page.locator("h2").first.click()
    expect(page.locator("[data-search-panel]")).to_be_hidden()
    box.click()
    options(page).first.click()
    page.wait_for_url(re.compile("/board/events/e3"))


def test_an_answer_that_comes_too_late_is_dropped(opened: Opened) -> None:
    page = opened("/")
    held: list[Route] = []
    page.route(re.compile(r"/events/search\?.*q=a$"), lambda route: held.append(route))
    box = page.get_by_role("combobox")
    with page.expect_request(re.compile("q=a$")):
        box.press_sequentially("a")
    box.fill("estrada")
    expect(options(page)).to_have_text(re.compile("Brandt"))
    for route in held:
        route.abort()
    page.wait_for_load_state("networkidle")
    expect(options(page)).to_have_count(1)


def test_nothing_found_and_a_search_that_is_away_are_told(opened: Opened) -> None:
    page = opened("/")
    box = page.get_by_role("combobox")
    box.press_sequentially("zzzz")
    expect(page.locator("[data-search-note]")).to_have_text("Nothing found for “zzzz”")
    page.route("**/events/search?*", lambda route: route.fulfill(status=200, body="no JSON"))
    box.fill("ash")
    expect(page.locator("[data-search-note]")).to_have_text("The search is away for the moment.")
    expect(page.locator("[data-search-status]")).to_have_text("The search is away for the moment.")
    page.unroute("**/events/search?*")
    box.fill("ashb")
    expect(options(page)).to_have_count(1)


def test_the_search_works_without_scripts(opened: Opened) -> None:
    page = opened("/", java_script_enabled=False)
    page.get_by_label("Find an event").fill("ash")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name=re.compile("Ashbury Rovers v Dunholm Town")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ashbury Rovers v Dunholm Town")
    expect(page.get_by_text("The charts need JavaScript.")).to_be_visible()


def card(page: Page, selection: int) -> Any:
    return page.locator(f"[data-selection='{selection}']")


def test_figures_follow_the_executions(opened: Opened, feed: Feed) -> None:
    page = opened("/board/events/e1")
    expect(page.locator("[data-link-text]")).to_have_text("Live")
    home = card(page, 7)
    expect(home.locator("[data-reading-time]")).to_contain_text("1 execution · open")
    expect(home.locator("[data-last]")).to_have_text("3.00")
    expect(card(page, 9).locator("[data-chart-note]")).to_have_text("No executions yet")
    drawn = home.locator("canvas").screenshot()
    feed.commit([execution(10, odds="4.4", stake="30")])
    expect(home.locator("[data-reading-time]")).to_contain_text("2 executions · open")
    expect(home.locator("[data-last]")).to_have_text("4.4")
    expect(home.locator("[data-average]")).to_have_text("3.70")
    expect(home.locator("[data-vwap]")).to_have_text("4.05")
    expect(home.locator("[data-range]")).to_have_text("3.00–4.4")
    expect(home.locator("[data-stake]")).to_have_text("£40")
    assert home.locator("canvas").screenshot() != drawn
    feed.commit([execution(11, selection=9)])
    expect(card(page, 9).locator("canvas")).to_be_visible()
    feed.lake.close_windows(SOURCE, 1, {"1.1": None})
    expect(home.locator("[data-reading-time]")).to_contain_text("closed")


def test_statuses_and_the_score_follow_the_feed(opened: Opened, database: Database) -> None:
    page = opened("/board/events/e1")
    expect(page.locator("[data-link-text]")).to_have_text("Live")
    store(database, [market("1.1", "e1", version=2, status=MarketStatus.SUSPENDED, traded_minor=9_900_000)])
    expect(page.locator("[data-market-chip]")).to_have_text("Suspended")
    expect(page.locator("[data-event-chip]")).to_have_text("Suspended")
    expect(page.locator("[data-market-traded]")).to_have_text("£99k matched")
    store(
        database,
        [
            event("e1", version=2, status=EventStatus.FINISHED, phase="Full time"),
            market(
                "1.1",
                "e1",
                version=3,
                status=MarketStatus.CLOSED,
                settled_at=event().updated_at,
                selections=selections_of(
                    "Ashbury Rovers", "Dunholm Town", "The Draw", winner="Ashbury Rovers"
                ),
            ),
        ],
    )
    expect(page.locator("[data-event-chip]")).to_have_text("Finished")
    expect(page.locator("[data-market-chip]")).to_have_text("Settled")
    expect(card(page, 7).locator("[data-selection-chip]")).to_have_text("Winner")
    expect(card(page, 8).locator("[data-selection-chip]")).to_have_text("Lost")
    expect(page.locator(".score-won .score-name")).to_have_text("Ashbury Rovers")


def test_a_market_that_opens_later_appears(opened: Opened, database: Database, feed: Feed) -> None:
    page = opened("/board/events/e3")
    expect(page.get_by_text("No market is open for this event yet.")).to_be_visible()
    expect(page.locator("[data-link-text]")).to_have_text("Live")
    store(database, [market("1.3", "e3", selections=selections_of("A. Brandt", "C. Estrada"))])
    expect(page.get_by_role("heading", name="Match Odds")).to_be_visible()
    feed.commit([execution(1, market="1.3")])
    expect(card(page, 7).locator("[data-last]")).to_have_text("2.50")


def test_a_page_that_is_refused_a_stream_polls(
    opened: Opened, served: Serving, api_settings: Settings, feed: Feed
) -> None:
    with serving(api_settings.model_copy(update={"live_clients": 0})) as other:
        # The answer that the browser makes nothing of, but without the error that it would log for a 503.
        page = opened(
            "/board/events/e1",
            url=other.url,
            before=lambda page: page.route("**/live", lambda route: route.fulfill(status=204)),
        )
        expect(page.locator("[data-link-text]")).to_have_text("Updated every few seconds")
        expect(card(page, 7).locator("[data-reading-time]")).to_contain_text("1 execution ")
        feed.commit([execution(10)])
        expect(card(page, 7).locator("[data-reading-time]")).to_contain_text("2 executions")


def test_windows_are_read_with_the_arrow_keys_and_as_a_table(opened: Opened, feed: Feed) -> None:
    feed.commit([execution(400, odds="3.5")])
    page = opened("/board/events/e1")
    home = card(page, 7)
    chart = home.locator("[data-chart]")
    expect(chart).to_have_attribute(
        "aria-label", re.compile("Ashbury Rovers: average odds from 3.00 to 3.50 in 2 windows")
    )
    chart.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(home.locator("[data-average]")).to_have_text("3.00")
    expect(page.locator("[data-announcements]")).to_contain_text("average 3.00, VWAP 3.00")
    page.keyboard.press("Escape")
    expect(home.locator("[data-average]")).to_have_text("3.50")
    page.get_by_text("As a table").click()
    expect(page.get_by_role("row")).to_have_count(4)


def test_the_theme_is_the_system_s_until_the_reader_chooses_which_is_remembered(opened: Opened) -> None:
    page = opened("/", color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    button = page.get_by_role("button", name="Dark theme")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert page.evaluate(ground) == light


def _measure_jumps(page: Page) -> None:
    page.add_init_script(
        "window.moved = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries())"
        " if (!entry.hadRecentInput) window.moved += entry.value; }).observe({ type: 'layout-shift', buffered: true })"
    )


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("path", ["/", "/board/events/e1", "/?q=ash"])
def test_nothing_is_wider_than_the_screen_and_nothing_jumps(opened: Opened, path: str, width: int) -> None:
    page = opened(path, viewport={"width": width, "height": 740}, before=_measure_jumps)
    if path.startswith("/board"):
        expect(page.locator("canvas")).to_have_count(2)
    page.wait_for_function("document.fonts.status === 'loaded'")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.moved") < 0.05


def test_the_front_page_follows_what_happens(opened: Opened, database: Database) -> None:
    page = opened("/")
    row = page.locator("[data-key=e1]")
    expect(row).to_contain_text("2nd half")
    row.focus()
    store(database, [event("e1", version=2, phase="Extra time")])
    expect(row).to_contain_text("Extra time")
    expect(row).to_be_focused()
