"""The board's pages: what is on, what was found, an event; safe whatever the names hold, whole without
scripts, nothing from elsewhere.
"""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from exchange_platform.domain.events import EventStatus, MarketStatus, Score
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.api.event_parts import database, feed
from tests.exchange_platform.stores.lake.lake_feed import Feed, execution
from tests.support.event_data import KICK_OFF, MINUTE, event, index, market, selections_of, store

__all__ = ["database", "feed"]

HOSTILE = '<img src=x onerror="alert(1)"> & \'"</script>'


class Page(HTMLParser):
    """A page's elements, and its text as a reader has it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._text: list[str] = []
        self._in_script = False
        self.feed(html)
        self.text = re.sub(r"\s+", " ", "".join(self._text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if not self._in_script:
            self._text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of that kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def page(client: TestClient, path: str, status: int = 200) -> Page:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


@pytest.fixture
def some_events(api_settings: Settings, database: Database, feed: Feed) -> None:
    """One event of each kind; executions in the one in play."""
    store(
        database,
        [
            event("e1"),
            market("1.1", "e1"),
            event(
                "e2",
                name="A. Brandt v C. Estrada",
                sport="tennis",
                status=EventStatus.SCHEDULED,
                participants=(),
            ),
            event(
                "e3",
                name="14:05 Elmsley",
                sport="horse racing",
                status=EventStatus.FINISHED,
                participants=(),
                scores=(),
            ),
            market(
                "1.3",
                "e3",
                name="WIN",
                status=MarketStatus.CLOSED,
                selections=selections_of("Silver Echo", "Bold Tide", winner="Bold Tide"),
            ),
        ],
    )
    feed.commit([execution(1, odds="3.55"), execution(2, odds="1.5", selection=8)])
    index(api_settings, database)


@pytest.mark.usefixtures("some_events")
def test_the_front_page_tells_what_is_on_with_the_last_odds(anybody: TestClient) -> None:
    front = page(anybody, "/")
    for words in (
        "In play",
        "Ashbury Rovers 2",
        "2nd half",
        "£12.3k matched",
        "Starting soon",
        "A. Brandt v C. Estrada",
        "Results",
        "14:05 Elmsley",
        "Winner: Bold Tide",
    ):
        assert words in front.text
    assert "1 3.55 Draw – 2 1.50" in front.text


@pytest.mark.usefixtures("some_events")
def test_odds_of_long_ago_are_not_shown_as_the_last(anybody: TestClient, database: Database) -> None:
    store(database, [market("1.1", "e1", version=2, updated_at=KICK_OFF + 67 * MINUTE)])
    assert "1 – Draw – 2 –" in page(anybody, "/").text


@pytest.mark.usefixtures("some_events")
def test_the_front_page_of_a_sport_has_its_events_alone(anybody: TestClient) -> None:
    tennis = page(anybody, "/?sport=tennis")
    assert "A. Brandt" in tennis.text
    assert "Ashbury Rovers" not in tennis.text
    assert "Nothing is in play in tennis" in tennis.text
    chosen = [link["href"] for link in tennis.all("a") if link.get("aria-current") == "page"]
    assert chosen == ["/?sport=tennis"]


def test_an_empty_platform_says_so(anybody: TestClient) -> None:
    front = page(anybody, "/")
    assert "Nothing is in play at the moment." in front.text
    assert "Nothing is announced." in front.text


@pytest.mark.usefixtures("some_events")
def test_the_lists_alone_are_what_the_page_has(anybody: TestClient) -> None:
    assert page(anybody, "/board/lists").text.strip() in page(anybody, "/").text


@pytest.mark.usefixtures("some_events")
def test_the_search_works_without_scripts(anybody: TestClient) -> None:
    assert "<mark>Ash</mark>bury Rovers v Dunholm Town" in anybody.get("/?q=ash").text
    assert "No event has words like these" in page(anybody, "/?q=zzzzz").text
    (form,) = [form for form in page(anybody, "/").all("form") if form.get("role") == "search"]
    assert (form["action"], form["method"]) == ("/", "get")


@pytest.mark.usefixtures("some_events")
def test_an_event_s_page_has_its_markets_its_selections_and_the_score(anybody: TestClient) -> None:
    shown = page(anybody, "/board/events/e1")
    for words in (
        "Ashbury Rovers v Dunholm Town",
        "In play",
        "2nd half",
        "Match Odds",
        "The Draw",
        "£12.3k matched",
    ):
        assert words in shown.text
    assert [box["data-selection"] for box in shown.all("div") if "data-selection" in box] == ["7", "8", "9"]


@pytest.mark.usefixtures("some_events")
def test_a_settled_market_names_its_winner(anybody: TestClient) -> None:
    shown = page(anybody, "/board/events/e3")
    assert re.search(r"Finished.*WIN Settled|Finished.*WIN Closed", shown.text)
    assert re.search(r"Silver Echo Lost.*Bold Tide Winner", shown.text)


def test_a_suspended_market_suspends_its_event(anybody: TestClient, database: Database) -> None:
    store(database, [event(), market(status=MarketStatus.SUSPENDED)])
    assert "Suspended" in page(anybody, "/").text
    assert page(anybody, "/board/events/e1").text.count("Suspended") == 2


def test_an_event_without_markets_says_so(anybody: TestClient, database: Database) -> None:
    store(database, [event()])
    assert "No market is open for this event yet." in page(anybody, "/board/events/e1").text


def test_an_event_that_is_not_known_has_a_page_that_says_so(anybody: TestClient) -> None:
    assert "There is no event e9" in page(anybody, "/board/events/e9", 404).text


def test_names_are_text_whatever_they_hold(
    api_settings: Settings, anybody: TestClient, database: Database
) -> None:
    store(
        database,
        [
            event(
                name=HOSTILE,
                sport=HOSTILE,
                competition=HOSTILE,
                phase=HOSTILE[:60],
                participants=(HOSTILE, "b"),
                scores=(Score(name=HOSTILE, value=HOSTILE[:60]),),
            ),
            market(name=HOSTILE, selections=selections_of(HOSTILE, "b")),
        ],
    )
    index(api_settings, database)
    for path in ("/", "/board/events/e1", "/?q=img", f"/?q={HOSTILE}", f"/?sport={HOSTILE}"):
        shown = page(anybody, path)
        assert not [image for image in shown.all("img") if image.get("src") == "x"], path
        assert all(
            script.get("src") or script.get("type") == "application/json" for script in shown.all("script")
        )


def test_the_page_stands_while_the_lake_is_away(
    anybody: TestClient, api_settings: Settings, database: Database
) -> None:
    store(database, [event(), market()])
    (api_settings.data_dir / "lake").rename(api_settings.data_dir / "lake.away")
    assert "Ashbury Rovers" in page(anybody, "/").text
    assert "Ashbury Rovers" in page(anybody, "/board/events/e1").text


@pytest.mark.usefixtures("some_events")
@pytest.mark.parametrize("path", ["/", "/board/events/e1", "/?q=ash"])
def test_pages_take_nothing_from_another_host_and_have_nothing_inline(anybody: TestClient, path: str) -> None:
    shown = page(anybody, path)
    addresses = [
        str(attributes[name])
        for _, attributes in shown.elements
        for name in ("src", "href", "action")
        if attributes.get(name)
    ]
    assert addresses
    assert all(address.startswith(("/", "#")) and not address.startswith("//") for address in addresses)
    assert not shown.all("style")
    assert not [
        attributes
        for _, attributes in shown.elements
        if any(name.startswith("on") or name == "style" for name in attributes)
    ]
    assert all(
        script.get("src") or script.get("type") == "application/json" for script in shown.all("script")
    )


@pytest.mark.usefixtures("some_events")
@pytest.mark.parametrize("path", ["/", "/board/events/e1", "/board/events/e3", "/?q=ash", "/board/events/e9"])
def test_pages_can_be_read_by_a_screen_reader(anybody: TestClient, path: str) -> None:
    shown = Page(anybody.get(path).text)
    assert shown.all("html")[0]["lang"] == "en"
    assert len(shown.all("title")) == len(shown.all("main")) == len(shown.all("h1")) == 1
    ids = [attributes["id"] for _, attributes in shown.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    labelled = {label.get("for") for label in shown.all("label")}
    for field in shown.all("input"):
        assert field.get("type") == "radio" or field["id"] in labelled
    for _, attributes in shown.elements:
        for name in ("aria-labelledby", "aria-controls", "aria-describedby"):
            if attributes.get(name):
                assert attributes[name] in ids
    for image in shown.all("img"):
        assert "alt" in image
    for picture in shown.all("svg"):
        assert picture.get("aria-hidden") == "true"
    levels = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_static_files_are_kept_for_ever_under_their_version(anybody: TestClient) -> None:
    front = page(anybody, "/")
    files = [link["href"] for link in front.all("link")] + [script["src"] for script in front.all("script")]
    for path in files:
        answer = anybody.get(str(path))
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    older = re.sub(r"/static/\w+/", "/static/0000/", str(files[0]))
    assert anybody.get(older).headers["cache-control"] == "no-cache"
    for nowhere in ("/static/0000/nothing.js", "/static/0000/../board.py", "/static/0000/%2e%2e/board.py"):
        assert anybody.get(nowhere).status_code == 404


def test_scripts_and_styles_name_no_file_that_is_not_there(anybody: TestClient) -> None:
    version = re.search(r"/static/(\w+)/", anybody.get("/").text)
    assert version is not None
    base = f"/static/{version[1]}/board"
    for name in (
        "base.css",
        "board.css",
        "event.css",
        "front.js",
        "event.js",
        "market.js",
        "chart.js",
        "typeahead.js",
    ):
        text = anybody.get(f"{base}/{name}").text
        for other in re.findall(r'(?:from "|url\(")([^"]+)"', text):
            assert anybody.get(f"{base}/{other}").status_code == 200, (name, other)
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name
