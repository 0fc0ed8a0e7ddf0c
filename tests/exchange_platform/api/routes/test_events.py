"""Events over HTTP: found while one types, listed page by page, told whole; asking again costs little."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from exchange_platform.api.app import create_app
from exchange_platform.domain.events import EventStatus, MarketStatus
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.api.conftest import TOKEN
from tests.exchange_platform.api.event_parts import database
from tests.support.event_data import KICK_OFF, MINUTE, event, index, market, store

__all__ = ["database"]


@pytest.fixture
def indexed(api_settings: Settings, database: Database) -> None:
    """Three events, two of them open."""
    store(
        database,
        [
            event("e1"),
            market("1.1", "e1"),
            event(
                "e2",
                name="Åse Škoda v J. Brown",
                sport="tennis",
                competition="Carnmoor Open",
                participants=(),
            ),
            market("1.2", "e2"),
            event(
                "e3",
                name="Ashbury Rovers v Elmsley",
                participants=("Ashbury Rovers", "Elmsley"),
                status=EventStatus.FINISHED,
            ),
            market("1.3", "e3", status=MarketStatus.CLOSED),
        ],
    )
    index(api_settings, database)


def found(client: TestClient, **parameters: object) -> list[str]:
    answer = client.get("/events/search", params=parameters)
    assert answer.status_code == 200, answer.text
    return [one["event_id"] for one in answer.json()["events"]]


@pytest.mark.usefixtures("indexed")
def test_an_event_is_found_by_anybody_from_the_begin_of_a_word(anybody: TestClient) -> None:
    assert found(anybody, q="dunh") == ["e1"]
    assert found(anybody, q="carnm") == ["e2"]
    assert found(anybody, q="nothing like it") == []


@pytest.mark.usefixtures("indexed")
def test_a_search_is_of_a_sport_of_open_events_and_of_so_many(anybody: TestClient) -> None:
    assert found(anybody, q="ash") == ["e1", "e3"]
    assert found(anybody, q="ash", open=True) == ["e1"]
    assert found(anybody, q="ash", limit=1) == ["e1"]
    assert found(anybody, q="", sport="Tennis") == ["e2"]


@pytest.mark.usefixtures("indexed")
def test_highlights_are_ranges_of_code_points(anybody: TestClient) -> None:
    (event,) = anybody.get("/events/search", params={"q": "skod"}).json()["events"]
    assert event["highlights"] == [{"field": "name", "start": 4, "end": 8}]
    assert event["name"][4:8] == "Škod"


@pytest.mark.usefixtures("indexed")
def test_a_search_that_can_not_be_meant_is_refused_with_what_is_allowed(anybody: TestClient) -> None:
    for parameters in (
        {"q": "x" * 201},
        {"limit": 0},
        {"limit": 51},
        {"open": "perhaps"},
        {"sport": "x" * 61},
    ):
        answer = anybody.get("/events/search", params=parameters)
        assert answer.status_code == 422
        assert answer.json()["code"] == "invalid_request"


@pytest.mark.usefixtures("indexed")
def test_one_address_may_search_so_often_an_application_as_often_as_it_likes(api_settings: Settings) -> None:
    with TestClient(create_app(api_settings.model_copy(update={"searches_per_s": 0.001}))) as anybody:
        assert found(anybody, q="dunh") == ["e1"]
        refused = anybody.get("/events/search", params={"q": "dunh"})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert 990 < int(refused.headers["retry-after"]) <= 1000
        anybody.headers["Authorization"] = f"Bearer {TOKEN}"
        assert [found(anybody, q="dunh") for _ in range(3)] == [["e1"]] * 3


def test_events_are_listed_page_by_page_each_once(anybody: TestClient, database: Database) -> None:
    starts = {f"e{number}": KICK_OFF + number % 3 * MINUTE for number in range(7)}
    store(database, [event(event_id, starts_at=start) for event_id, start in starts.items()])
    for newest_first in (False, True):
        listed: list[str] = []
        parameters: dict[str, object] = {"limit": 2, "newest_first": newest_first}
        while True:
            page = anybody.get("/events", params=parameters).json()
            listed += [one["event_id"] for one in page["events"]]
            if page["next"] is None:
                break
            parameters["cursor"] = page["next"]
        ordered = sorted(starts, key=lambda event_id: (starts[event_id], event_id), reverse=newest_first)
        assert listed == ordered


def test_a_list_is_of_a_sport_and_of_some_statuses(anybody: TestClient, database: Database) -> None:
    store(database, [event("e1"), event("e2", sport="tennis"), event("e3", status=EventStatus.FINISHED)])
    for query, expected in (
        ("sport=FOOTBALL", ["e1", "e3"]),
        ("status=IN_PLAY", ["e1", "e2"]),
        ("status=IN_PLAY&status=FINISHED&sport=football", ["e1", "e3"]),
        ("status=ABANDONED", []),
    ):
        page = anybody.get(f"/events?{query}").json()
        assert [one["event_id"] for one in page["events"]] == expected


@pytest.mark.parametrize("cursor", ["nonsense", "YTE", "ZDE6ZTE", "YXg6ZTE", "%FF", "====", "a" * 201])
def test_a_cursor_that_is_none_is_refused(anybody: TestClient, cursor: str) -> None:
    answer = anybody.get(f"/events?cursor={cursor}")
    assert answer.status_code == 422
    assert answer.json()["code"] in ("invalid_cursor", "invalid_request")


def test_an_event_is_told_with_its_scores_markets_and_selections(
    anybody: TestClient, database: Database
) -> None:
    store(database, [event(), market()])
    told = anybody.get("/events/e1").json()
    assert told["status"] == "IN_PLAY"
    assert told["scores"][0] == {"name": "Ashbury Rovers", "value": "2", "detail": ""}
    assert told["starts_at"] == "2026-06-01T12:00:00Z"
    (one,) = told["markets"]
    assert (one["status"], one["traded_minor"], one["currency"]) == ("OPEN", 1_234_500, "GBP")
    assert one["selections"][2] == {
        "selection_id": 9,
        "handicap": "0",
        "name": "The Draw",
        "status": "ACTIVE",
    }


def test_an_event_that_has_not_changed_is_not_told_again(anybody: TestClient, database: Database) -> None:
    store(database, [event(), market()])
    tag = anybody.get("/events/e1").headers["etag"]
    again = anybody.get("/events/e1", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    store(database, [market(version=2, status=MarketStatus.SUSPENDED)])
    changed = anybody.get("/events/e1", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.json()["markets"][0]["status"] == "SUSPENDED"
    assert changed.headers["etag"] != tag


@pytest.mark.usefixtures("indexed")
@pytest.mark.parametrize("path", ["/events", "/events/search?q=ash", "/"])
def test_lists_and_pages_that_have_not_changed_are_not_told_again(anybody: TestClient, path: str) -> None:
    tag = anybody.get(path).headers["etag"]
    assert anybody.get(path, headers={"If-None-Match": f'"other", {tag}'}).status_code == 304
    assert anybody.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("event_id", ["e9", "%20", "x" * 65, "%F0%9F%8F%8F"])
def test_an_event_that_is_not_known_is_a_problem(anybody: TestClient, event_id: str) -> None:
    answer = anybody.get(f"/events/{event_id}")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
