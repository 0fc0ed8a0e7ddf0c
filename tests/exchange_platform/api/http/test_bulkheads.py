"""A kind of work that is slow holds up no other kind: money and the health check answer while the lake does
not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import httpx
import pytest
from fastapi.routing import APIRoute

from exchange_platform.api.app import ROUTERS
from exchange_platform.api.http.bulkheads import THREADS, Bulkheads, Work, _PooledRoute, pooled
from exchange_platform.api.http.problems import Problem
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake.window_reading import WindowReader, _ended_after
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.api.conftest import TOKEN
from tests.exchange_platform.api.event_parts import Serving, database, serving
from tests.exchange_platform.betting import add_account
from tests.support.event_data import event, market, store
from tests.support.platform_parts import wait_for

__all__ = ["database"]


class SlowLake:
    """A lake whose reads last until they are let go: whoever waits behind them waits longer than any request
    here.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go_on = threading.Event()
        self.reads = 0
        monkeypatch.setattr(WindowReader, "_rows", self._rows)

    def _rows(self, *_arguments: object) -> list[object]:
        self.reads += 1
        assert self.go_on.wait(120)
        raise StoreUnavailable("lake: slow")


@pytest.fixture
def slow_lake(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowLake]:
    lake = SlowLake(monkeypatch)
    yield lake
    lake.go_on.set()


@pytest.fixture
def served(api_settings: Settings, database: Database, slow_lake: SlowLake) -> Iterator[Serving]:
    store(database, [event(), market()])
    add_account(database)
    own = api_settings.model_copy(update={"window_reads_per_s": 1000.0, "anonymous_requests_per_s": 1000.0})
    with serving(own) as one:
        yield one
        slow_lake.go_on.set()


def test_eighty_reads_of_a_slow_lake_hold_up_neither_money_nor_health_nor_events(
    served: Serving, slow_lake: SlowLake
) -> None:
    get = partial(httpx.get, timeout=40)
    with ThreadPoolExecutor(80) as pool:
        market_id = market().market_id
        reads = [pool.submit(get, f"{served.url}/markets/{market_id}/windows") for _ in range(80)]
        wait_for(lambda: slow_lake.reads >= THREADS[Work.WINDOWS], what="the lake's threads are taken")
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        deposit = {"amount_minor": 2000, "currency": "GBP", "authorised_by": "payments"}
        answers = [
            httpx.get(f"{served.url}/health", timeout=40),
            httpx.get(f"{served.url}/accounts/a1/wallet", headers=bearer, timeout=40),
            httpx.post(
                f"{served.url}/accounts/a1/deposits",
                json=deposit,
                headers={**bearer, "Idempotency-Key": "d1"},
                timeout=40,
            ),
            httpx.get(f"{served.url}/events", timeout=40),
        ]
        slow_lake.go_on.set()
        answered = {one.result().status_code for one in reads}
    assert [one.status_code for one in answers] == [200, 200, 201, 200]
    assert answered == {503}


def test_a_request_waits_for_a_thread_as_long_as_is_allowed_then_it_is_told_so() -> None:
    async def ask() -> list[object]:
        bulkheads = Bulkheads(max_wait_s=0.05, max_waiting=3)
        go_on = threading.Event()
        outcomes: list[object] = []

        async def one() -> None:
            try:
                outcomes.append(await bulkheads.run(Work.HEALTH, lambda: go_on.wait(30)))
            except Problem as problem:
                outcomes.append((problem.status, problem.code))
                if len(outcomes) == 10 - THREADS[Work.HEALTH]:
                    go_on.set()

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(one)
        outcomes.append(await bulkheads.run(Work.HEALTH, lambda: "free again"))
        return outcomes

    outcomes = anyio.run(ask)
    assert outcomes.count((503, "busy")) == 10 - THREADS[Work.HEALTH]
    assert outcomes.count(True) == THREADS[Work.HEALTH]
    assert outcomes[-1] == "free again"


def test_a_call_that_fails_gives_its_thread_back() -> None:
    async def ask() -> str:
        bulkheads = Bulkheads()

        def fail() -> str:
            raise StoreUnavailable("away")

        for _ in range(3 * THREADS[Work.HEALTH]):
            with pytest.raises(StoreUnavailable):
                await bulkheads.run(Work.HEALTH, fail)
        return await bulkheads.run(Work.HEALTH, lambda: "free")

    assert anyio.run(ask) == "free"


def test_a_route_that_could_not_find_its_threads_is_refused_when_it_is_made() -> None:
    with pytest.raises(TypeError, match="services"):
        pooled(Work.MONEY)("/x", lambda: None)


def test_a_read_of_the_lake_that_takes_too_long_is_ended(api_settings: Settings) -> None:
    lake = Lake.from_settings(api_settings, read_only=True)
    with lake._connection.translated():
        session = lake._connection.session
    with pytest.raises(StoreUnavailable, match="ended after"), _ended_after(session, 0.2):
        session.execute("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b").fetchall()
    with _ended_after(session, 30.0):
        assert session.execute("SELECT 1").fetchall() == [(1,)]
    lake.close()


def test_every_route_of_the_api_but_static_files_has_threads_of_its_kind() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) > 30
    without = {route.path for route in routes if not isinstance(route, _PooledRoute)}
    assert {path for path in without if not path.startswith(("/static/", "/docs"))} == {
        "/events/{event_id}/live",
        "/accounts/{account_id}/changes",
    }
