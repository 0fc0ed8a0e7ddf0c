"""A market's windows over HTTP: closed and live together, bounded, and refused where nothing can be meant."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from exchange_platform.domain.windows import WINDOW
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.api.event_parts import database, feed
from tests.exchange_platform.stores.lake.lake_feed import NOON, SOURCE, Feed, execution
from tests.support.event_data import event, market, store

__all__ = ["database", "feed"]


@pytest.fixture
def windows(database: Database, feed: Feed) -> None:
    """Four windows of each of two selections; the first two are closed."""
    store(database, [event(), market(updated_at=NOON + 4 * WINDOW)])
    feed.commit(
        [
            execution(2 * n + selection - 7, NOON + n * WINDOW, selection=selection, stake=f"{n + 1}.125")
            for n in range(4)
            for selection in (7, 8)
        ]
    )
    feed.lake.close_windows(SOURCE, 1, {"1.1": NOON + 2 * WINDOW})


def starts(client: TestClient, query: str = "") -> list[str]:
    answer = client.get(f"/markets/1.1/windows{query}")
    assert answer.status_code == 200, answer.text
    return [one["start"][11:16] for one in answer.json()["windows"]]


@pytest.mark.usefixtures("windows")
def test_closed_and_live_windows_are_told_together(anybody: TestClient) -> None:
    told = anybody.get("/markets/1.1/windows").json()
    assert (told["currency"], told["more"], told["until"]) == ("GBP", False, None)
    assert [(one["final"], one["revision"]) for one in told["windows"][::2]] == [
        (True, 1),
        (True, 1),
        (False, 0),
        (False, 0),
    ]
    assert told["windows"][0] == {
        "selection_id": 7,
        "handicap": "0",
        "start": "2026-06-01T12:00:00Z",
        "end": "2026-06-01T12:05:00Z",
        "executions": 1,
        "average_odds": 2.5,
        "vwap": 2.5,
        "min_odds": "2.5",
        "max_odds": "2.5",
        "open_odds": "2.5",
        "close_odds": "2.5",
        "stake": "1.125",
        "final": True,
        "revision": 1,
    }


@pytest.mark.usefixtures("windows")
def test_windows_are_of_a_span_a_selection_and_so_many(anybody: TestClient) -> None:
    assert starts(anybody) == ["12:00", "12:00", "12:05", "12:05", "12:10", "12:10", "12:15", "12:15"]
    assert starts(anybody, "?since=2026-06-01T12:10:00Z&selection_id=8") == ["12:10", "12:15"]
    assert starts(anybody, "?since=2026-06-01T14:05:00%2B02:00&until=2026-06-01T12:10:00Z") == [
        "12:05",
        "12:05",
    ]
    assert starts(anybody, "?until=2026-06-01T12:05:00Z") == ["12:00", "12:00"]
    newest = anybody.get("/markets/1.1/windows?limit=3").json()
    assert ([one["start"][11:16] for one in newest["windows"]], newest["more"]) == (
        ["12:10", "12:15", "12:15"],
        True,
    )
    assert starts(anybody, "?since=0001-01-01T00:00:00%2B14:00&limit=1") == ["12:15"]


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "since=2026-06-01T12:00:00",
        "until=2026-13-01T12:00:00Z",
        "since=2026-06-01T12:00:00Z&until=2026-06-01T12:00:00Z",
        "since=2026-06-02T12:00:00Z&until=2026-06-01T12:00:00Z",
        "since=2026-01-01T12:00:00Z&until=2026-06-01T12:00:00Z",
        "since=9999-12-31T23:00:00-14:00",
        "selection_id=first",
        "selection_id=-1",
        "selection_id=9007199254740992",
        "limit=0",
        "limit=5001",
    ],
)
def test_what_can_not_be_meant_is_refused(anybody: TestClient, query: str) -> None:
    answer = anybody.get(f"/markets/1.1/windows?{query}")
    assert answer.status_code == 422
    assert answer.json()["code"] in ("invalid_request", "invalid_span")


def test_a_market_that_is_not_known_is_a_problem(anybody: TestClient) -> None:
    answer = anybody.get("/markets/1.9/windows")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_market")


def test_a_market_without_executions_has_no_windows(anybody: TestClient, database: Database) -> None:
    store(database, [event(), market()])
    assert starts(anybody) == []


@pytest.mark.usefixtures("windows")
def test_a_lake_that_is_away_is_told_as_such(anybody: TestClient, api_settings: Settings) -> None:
    lake = api_settings.data_dir / "lake"
    lake.rename(lake.with_suffix(".away"))
    answer = anybody.get("/markets/1.1/windows")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    lake.with_suffix(".away").rename(lake)
    assert len(starts(anybody)) == 8
