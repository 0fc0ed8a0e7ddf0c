"""An event followed live over a real connection: what changes is told, nothing is missed, and the stream ends
when the server does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from exchange_platform.api.routes import live
from exchange_platform.api.watching.following import Client
from exchange_platform.domain.events import MarketStatus
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.api.event_parts import Serving, database, feed, serving
from tests.exchange_platform.stores.lake.lake_feed import SOURCE, Feed, execution
from tests.support.event_data import event, market, store
from tests.support.platform_parts import wait_for

__all__ = ["database", "feed"]


@pytest.fixture
def served(api_settings: Settings, database: Database) -> Iterator[Serving]:
    """The API with one event and its market; two clients may follow."""
    store(database, [event(), market()])
    with serving(api_settings.model_copy(update={"live_clients": 2})) as one:
        yield one


class Stream:
    """What a stream tells, message by message."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()

    def next(self, name: str) -> Any:
        """The data of the next message of that name; others, and comments, are passed over."""
        for line in self._lines:
            if line == f"event: {name}":
                data = next(self._lines)
                assert data.startswith("data: ")
                return json.loads(data.removeprefix("data: "))
        raise AssertionError(f"the stream ended before {name}")

    def line(self, start: str) -> str:
        """The next line that starts so."""
        return next(line for line in self._lines if line.startswith(start))

    def rest(self) -> list[str]:
        """Every line until the stream ends."""
        return list(self._lines)


@contextmanager
def following(served: Serving, event_id: str = "e1") -> Iterator[Stream]:
    with (
        httpx.Client(timeout=20) as client,
        client.stream("GET", f"{served.url}/events/{event_id}/live") as answer,
    ):
        yield Stream(answer)


def test_the_first_message_is_the_event_as_it_is(served: Serving) -> None:
    with following(served) as stream:
        assert stream.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.answer.headers["cache-control"] == "no-store, no-transform"
        told = stream.next("event")
        assert (told["event_id"], told["markets"][0]["status"]) == ("e1", "OPEN")


def test_what_changes_is_told_to_everybody_who_follows(
    served: Serving, database: Database, feed: Feed
) -> None:
    with following(served) as one, following(served) as other:
        for stream in (one, other):
            stream.next("event")
        store(database, [market(version=2, status=MarketStatus.SUSPENDED)])
        assert [stream.next("event")["markets"][0]["status"] for stream in (one, other)] == ["SUSPENDED"] * 2
        feed.commit([execution(1), execution(2)])
        for stream in (one, other):
            told = stream.next("windows")
            assert told["market_id"] == "1.1"
            assert [(window["executions"], window["final"]) for window in told["windows"]] == [(2, False)]


def test_a_window_is_told_again_when_it_grows_is_closed_and_opens_again(served: Serving, feed: Feed) -> None:
    feed.commit([execution(1)])
    with following(served) as stream:
        stream.next("event")

        def told() -> list[tuple[int, bool, int]]:
            windows = stream.next("windows")["windows"]
            return [(window["executions"], window["final"], window["revision"]) for window in windows]

        feed.commit([execution(2)])
        assert told() == [(2, False, 0)]
        feed.lake.close_windows(SOURCE, 1, {"1.1": None})
        assert told() == [(2, True, 1)]
        feed.commit([execution(3)])
        assert told() == [(3, False, 1)]
        feed.lake.close_windows(SOURCE, 1, {"1.1": None})
        assert told() == [(3, True, 2)]


def test_a_market_that_comes_later_is_followed_too(served: Serving, database: Database, feed: Feed) -> None:
    with following(served) as stream:
        stream.next("event")
        store(database, [market("1.2")])
        assert len(stream.next("event")["markets"]) == 2
        feed.commit([execution(1, market="1.2")])
        assert stream.next("windows")["market_id"] == "1.2"


def test_while_nothing_changes_a_comment_keeps_the_connection(
    served: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    with following(served) as stream:
        stream.next("event")
        assert stream.line(":") == ": alive"


def test_more_clients_than_are_allowed_are_refused_until_one_leaves(served: Serving) -> None:
    with following(served) as one, following(served):
        one.next("event")
        refused = httpx.get(f"{served.url}/events/e1/live")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_clients")
    services = served.server.config.app.state.services  # type: ignore[union-attr]
    wait_for(lambda: services.live.clients == 0, what="who has left is forgotten")
    with following(served) as again:
        again.next("event")


def test_an_event_that_is_not_known_can_not_be_followed(served: Serving) -> None:
    assert httpx.get(f"{served.url}/events/e9/live").status_code == 404


@pytest.mark.long
def test_a_lake_that_is_away_is_told_and_events_go_on(
    served: Serving, api_settings: Settings, database: Database, feed: Feed
) -> None:
    feed.commit([execution(1)])
    lake = api_settings.data_dir / "lake"
    with following(served) as stream:
        stream.next("event")
        lake.rename(lake.with_suffix(".away"))
        stream.next("delayed")
        store(database, [market(version=2, status=MarketStatus.SUSPENDED)])
        assert stream.next("event")["markets"][0]["status"] == "SUSPENDED"
        lake.with_suffix(".away").rename(lake)
        stream.next("resumed")
        feed.commit([execution(2)])
        assert stream.next("windows")["windows"][0]["executions"] == 2


def test_the_stream_ends_when_the_server_stops(api_settings: Settings, database: Database) -> None:
    store(database, [event(), market()])
    with serving(api_settings) as served, following(served) as stream:
        stream.next("event")
        assert served.stop() < 2.9
        stream.rest()


def test_a_client_that_reads_too_slowly_is_ended() -> None:
    async def read() -> list[bytes | None]:
        client = Client("e1", asyncio.get_running_loop())
        for number in range(70):
            client.tell(str(number).encode())
        await asyncio.sleep(0)
        return [client.messages.get_nowait() for _ in range(client.messages.qsize())]

    told = asyncio.run(read())
    assert told[0] is None
