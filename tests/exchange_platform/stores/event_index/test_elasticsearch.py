"""The event index on a real Elasticsearch: its alias and template, refreshes, writers side by side, what is
in the way or away.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from exchange_platform.local.programs import free_ports
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.event_index.index import EventIndex, EventQuery
from exchange_platform.stores.event_index.opening import open_event_index
from tests.exchange_platform.stores.event_index_parts import Source, event, index_settings, names, opened
from tests.support.platform_parts import wait_for


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with index_settings("elasticsearch", tmp_path) as settings:
        yield settings


@pytest.fixture
def client(settings: Settings) -> Iterator[Elasticsearch]:
    assert settings.elasticsearch_url is not None
    with Elasticsearch(settings.elasticsearch_url, request_timeout=30) as client:
        yield client


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    index = open_event_index(
        Settings(elasticsearch_url=f"http://127.0.0.1:{free_ports(1)[0]}"), writable=True
    )
    for ask in (
        lambda: index.search(EventQuery(text="a")),
        lambda: index.put([event("A v B")]),
        index.count,
        index.versions,
        index.is_filled,
        lambda: index.rebuild(Source()),
    ):
        with pytest.raises(StoreUnavailable, match="Elasticsearch"):
            ask()
    index.close()


@pytest.mark.servers
def test_what_was_put_is_found_without_asking_for_a_refresh(settings: Settings) -> None:
    with opened(settings, SYSTEM_CLOCK) as index:
        for version in range(1, 4):
            began = SYSTEM_CLOCK.monotonic_s()
            index.put([event(f"Round{version} v Other", event_id="1", version=version)])
            wait_for(lambda: names(index, f"round{version}"), timeout_s=10)  # noqa: B023
            assert SYSTEM_CLOCK.monotonic_s() - began < 2 or version == 1


@pytest.mark.servers
def test_the_alias_and_its_template_are_made_once(settings: Settings, client: Elasticsearch) -> None:
    with opened(settings) as one, opened(settings) as other:
        threads = [threading.Thread(target=index.put, args=([event("A v B")],)) for index in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(client.indices.get_alias(name=settings.event_index)) == [f"{settings.event_index}-first"]
        template = client.indices.get_index_template(name=settings.event_index)["index_templates"][0][
            "index_template"
        ]
        assert template["index_patterns"] == [f"{settings.event_index}-*"]
        assert template["template"]["settings"]["index"]["refresh_interval"] == "500ms"
        one.rebuild(Source([event("A v B")]))
        other.rebuild(Source([event("A v B")]))
        ((index, about),) = client.indices.get(index=f"{settings.event_index}*").items()
        assert settings.event_index in about["aliases"]
        assert about["settings"]["index"]["refresh_interval"] == "500ms"
        assert index != f"{settings.event_index}-first"


@pytest.mark.servers
def test_writers_side_by_side_leave_the_newest(settings: Settings) -> None:
    with opened(settings) as one, opened(settings) as other:

        def write(index: EventIndex, first: int) -> None:
            for version in range(first, 40, 2):
                index.put(
                    [
                        event(f"At{version} v Other", event_id=f"e{number}", version=version)
                        for number in range(20)
                    ]
                )

        threads = [threading.Thread(target=write, args=parts) for parts in ((one, 1), (other, 2))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.versions() == {f"e{number}": 39 for number in range(20)}
        assert len(names(one, "at39", limit=50)) == 20


@pytest.mark.servers
def test_an_index_that_bears_the_alias_s_name_is_told_and_a_rebuild_replaces_it(
    settings: Settings, client: Elasticsearch
) -> None:
    client.indices.create(index=settings.event_index)
    with opened(settings) as index:
        assert not index.is_filled()
        with pytest.raises(StoreUnavailable, match="is an index, it must be an alias: delete that index"):
            index.put([event("A v B")])
        assert index.rebuild(Source([event("A v B")])) == 1
        assert index.put([event("C v D")]) == 1
        assert index.count() == 2


@pytest.mark.servers
def test_what_a_dead_rebuild_left_is_deleted_after_an_hour(settings: Settings, client: Elasticsearch) -> None:
    left = f"{settings.event_index}-17-left"
    client.indices.create(index=left)
    index = open_event_index(settings, writable=True, clock=SYSTEM_CLOCK)
    index.rebuild(Source())
    assert client.indices.exists(index=left)

    class LaterClock(type(SYSTEM_CLOCK)):  # type: ignore[misc]
        def now_us(self) -> int:
            return int(super().now_us() + 3_700_000_000)

    later = open_event_index(settings, writable=True, clock=LaterClock())
    later.rebuild(Source())
    assert not client.indices.exists(index=left)
    assert later.is_filled()
    for one in (index, later):
        one.close()
