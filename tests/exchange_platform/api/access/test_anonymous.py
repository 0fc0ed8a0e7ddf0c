"""Without a token every route has a limit for each address, and nobody has more than a share of the
places.
"""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from exchange_platform.api.app import ROUTERS, create_app
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.api.conftest import TOKEN
from tests.exchange_platform.api.event_parts import database
from tests.support.event_data import event, market, store

__all__ = ["database"]


def one_request_of_each(settings: Settings, **limits: float) -> TestClient:
    return TestClient(create_app(settings.model_copy(update=limits)), raise_server_exceptions=False)


def test_no_route_is_without_a_limit_for_each_address(api_settings: Settings) -> None:
    with one_request_of_each(api_settings, anonymous_requests_per_s=0.001) as anybody:
        routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
        assert len(routes) > 30
        assert anybody.get("/health").status_code == 200
        for route in routes:
            path = route.path.replace("{", "").replace("}", "").replace(":path", "")
            for method in route.methods or ():
                refused = anybody.request(method, path)
                assert refused.status_code == 429, (method, path)
                assert int(refused.headers["Retry-After"]) > 900
        for path in ("/nowhere", "/static/x/y", "//events"):
            assert anybody.get(path).status_code == 429


def test_an_applications_token_lets_through_and_a_wrong_one_does_not(api_settings: Settings) -> None:
    with one_request_of_each(api_settings, anonymous_requests_per_s=0.001) as caller:
        for _ in range(5):
            assert caller.get("/events", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert caller.get("/events", headers={"Authorization": "Bearer wrong"}).status_code == 200
        for shown in ("Bearer wrong", f"Basic {TOKEN}", "Bearer ", TOKEN):
            assert caller.get("/events", headers={"Authorization": shown}).status_code == 429


@pytest.mark.parametrize("path", ["/?q=arsenal", "/?sport=football&q=a", "/events/search?q=a"])
def test_the_search_on_the_front_page_counts_as_a_search(api_settings: Settings, path: str) -> None:
    with one_request_of_each(api_settings, searches_per_s=0.001) as anybody:
        assert anybody.get(path).status_code in (200, 503)
        refused = anybody.get(path)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert anybody.get("/events").status_code == 200


def test_reads_of_windows_have_a_limit_of_their_own(api_settings: Settings, database: Database) -> None:
    store(database, [event(), market()])
    with one_request_of_each(api_settings, window_reads_per_s=0.001) as anybody:
        path = f"/markets/{market().market_id}/windows"
        assert anybody.get(path).status_code == 200
        assert anybody.get(path).status_code == 429
        assert anybody.get("/events").status_code == 200


def test_since_without_until_reads_no_more_than_the_longest_span(
    anybody: TestClient, database: Database
) -> None:
    store(database, [event(), market()])
    answer = anybody.get(f"/markets/{market().market_id}/windows", params={"since": "1970-01-01T00:00:00Z"})
    assert answer.status_code == 200
    since = datetime.fromisoformat(answer.json()["since"])
    assert market().updated_at - since == timedelta(days=31)


@pytest.mark.parametrize(
    "text",
    ["a" + "9" * 100 + ":e1", "a9223372036854775808:e1", "a-9223372036854775809:e1", "a1.5:e1", "a\u0663:e1"],
)
def test_a_cursor_that_no_page_gave_is_refused(anybody: TestClient, text: str) -> None:
    cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    answer = anybody.get("/events", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("after", ["9" * 80 + ".b", "9223372036854775808.b", "\u0663.b", "-1.b", ".b", "1."])
def test_an_after_that_no_page_of_bets_gave_is_refused(application: TestClient, after: str) -> None:
    answer = application.get("/accounts/a1/bets", params={"after": after})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_page")


def test_a_content_length_that_no_number_holds_is_refused(anybody: TestClient) -> None:
    answer = anybody.post("/confirm", content=b"x", headers={"Content-Length": "9" * 5000})
    assert answer.status_code == 413


def test_an_empty_last_event_id_listens_from_now_on(application: TestClient) -> None:
    for given, status in (("", 404), ("5", 404), ("-1", 422), ("x", 422)):
        answer = application.get("/accounts/nobody/changes", headers={"Last-Event-ID": given})
        assert answer.status_code == status, given
