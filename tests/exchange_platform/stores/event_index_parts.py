"""Parts for tests of the event index: documents, a clock that stands, a source of documents in memory, both
engines.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from exchange_platform.domain.events import EventStatus
from exchange_platform.process.clock import Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.event_index.index import EventDocument, EventIndex, EventQuery
from exchange_platform.stores.event_index.opening import open_event_index

ELASTICSEARCH_URL = "EXCHANGE_PLATFORM_TEST_ELASTICSEARCH_URL"
NOW_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


class StandingClock:
    """A clock that shows the same time for ever."""

    def now_us(self) -> int:
        return NOW_US

    def monotonic_s(self) -> float:
        return 0.0

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        return wake.is_set()


class Source:
    """Documents in memory, for a rebuild."""

    def __init__(self, documents: Sequence[EventDocument] = ()) -> None:
        self.documents = {document.event_id: document for document in documents}

    def versions(self) -> dict[str, int]:
        return {event_id: document.version for event_id, document in list(self.documents.items())}

    def read(self, event_ids: Sequence[str]) -> list[EventDocument]:
        return [self.documents[event_id] for event_id in event_ids if event_id in self.documents]

    def pages(self) -> Iterator[list[EventDocument]]:
        ids = sorted(self.documents)
        for start in range(0, len(ids), 100):
            yield self.read(ids[start : start + 100])


def event(name: str, **told: Any) -> EventDocument:
    """An open football match two days ahead, unless told otherwise; its id is its name, its participants are
    its sides.
    """
    stated: dict[str, Any] = {
        "event_id": name.replace(" ", "-"),
        "version": 1,
        "sport": "football",
        "participants": tuple(name.split(" v ")) if " v " in name else (),
        "status": EventStatus.SCHEDULED,
        "open": True,
        "starts_at_us": NOW_US + 2 * DAY_US,
        "markets": ("Match Odds",),
        **told,
    }
    return EventDocument(name=name, **stated)


def in_play(name: str, **told: Any) -> EventDocument:
    """An event that is being played."""
    stated = {"status": EventStatus.IN_PLAY, "in_play": True, "starts_at_us": NOW_US - HOUR_US, **told}
    return event(name, **stated)


def over(name: str, **told: Any) -> EventDocument:
    """An event that is over."""
    stated = {
        "status": EventStatus.FINISHED,
        "open": False,
        "starts_at_us": NOW_US - 3 * DAY_US,
        **told,
    }
    return event(name, **stated)


@contextmanager
def opened(settings: Settings, clock: Clock | None = None) -> Iterator[EventIndex]:
    """The index, writable, closed in the end."""
    index = open_event_index(settings, writable=True, clock=clock or StandingClock())
    try:
        yield index
    finally:
        index.close()


def hold(index: EventIndex, *documents: EventDocument) -> None:
    """Put documents and wait until they are found."""
    index.put(documents)
    index.count()  # Elasticsearch refreshes for it


def names(index: EventIndex, text: str, **query: Any) -> list[str]:
    """The names of what is found."""
    return [hit.document.name for hit in index.search(EventQuery(text=text, **query))]


@contextmanager
def index_settings(engine: str, data_dir: Path) -> Iterator[Settings]:
    """Settings with an event index of their own in an engine; skips where there is none."""
    if engine == "tantivy":
        yield Settings(data_dir=data_dir)
        return
    url = os.environ.get(ELASTICSEARCH_URL)
    if not url:
        pytest.skip(f"no Elasticsearch: {ELASTICSEARCH_URL} is not set (.ci/run starts one)")
    alias = f"events-{uuid.uuid4().hex[:10]}"
    yield Settings(data_dir=data_dir, elasticsearch_url=url, event_index=alias)
    with Elasticsearch(url, request_timeout=30) as client:
        for name in client.indices.get(index=f"{alias}*", expand_wildcards="all"):
            client.indices.delete(index=name)
        client.options(ignore_status=404).indices.delete_index_template(name=alias)


ENGINES = ("tantivy", pytest.param("elasticsearch", marks=pytest.mark.servers))


def delete_directory(directory: Path) -> None:
    """Delete an index on disk while its writer and readers go on: files come and go meanwhile."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)
