"""The index of events that type-ahead asks: what an engine promises, and which one is configured. Not here: the engines (event_index_*.py),
what matches and how it ranks (search/), reading documents from the database (event_documents.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from exchange_platform.clock import SYSTEM_CLOCK, Clock
from exchange_platform.search.documents import (
    LONGEST_QUERY,
    MOST_HITS,
    EventDocument,
    EventHit,
    EventQuery,
    Highlight,
)
from exchange_platform.settings import Settings

__all__ = [
    "LONGEST_QUERY",
    "MOST_HITS",
    "DocumentsRefused",
    "EventDocument",
    "EventDocuments",
    "EventHit",
    "EventIndex",
    "EventQuery",
    "Highlight",
    "embedded_index_damage",
    "open_event_index",
]


EMBEDDED_INDEX = "event-index"
"""The embedded index's folder in the data directory."""


class EventDocuments(Protocol):
    """Where a rebuild takes its documents from: the operational database (event_documents.py)."""

    def versions(self) -> Mapping[str, int]:
        """The version of every event there is."""
        ...

    def read(self, event_ids: Sequence[str]) -> Sequence[EventDocument]:
        """The documents of these events as they are now; those that don't exist are left out."""
        ...

    def pages(self) -> Iterator[Sequence[EventDocument]]:
        """Every document, page by page."""
        ...


class DocumentsRefused(ValueError):
    """The index will never take the documents that the message names; those beside them it took."""


class EventIndex(Protocol):
    """An index of events. Searches may run in many threads and processes while one process puts and another rebuilds.

    Every method raises `StoreUnavailable` where the index can't be reached: try again later.
    """

    def prepare(self) -> None:
        """Make what a server needs to know before it is written to. Idempotent; the embedded index needs nothing."""
        ...

    def put(self, documents: Sequence[EventDocument]) -> int:
        """Hold these documents; returns how many were newer than what was held.

        Durable on return; found at once when embedded, within 0.5 s on Elasticsearch. A document that is not newer changes
        nothing, so putting again does no harm. Makes the index where there is none. Raises `DocumentsRefused`.
        """
        ...

    def search(self, query: EventQuery) -> tuple[EventHit, ...]:
        """The best events for the query, best first. No text is an error; an index that is empty finds nothing."""
        ...

    def versions(self, event_ids: Iterable[str] | None = None) -> dict[str, int]:
        """The version held of these events, or of every event; those not held are left out."""
        ...

    def count(self) -> int:
        """How many events are held."""
        ...

    def is_filled(self) -> bool:
        """Whether this index was ever filled from the database. False where it was deleted, or made by another version: rebuild it then."""
        ...

    def rebuild(self, source: EventDocuments) -> int:
        """Fill a new index from the source and put it in the old one's place; returns how many documents it holds.

        Searches go on in the old one until then. Puts may go on too: what they put is in the new one, provided that it was in the
        source before it was put. Another rebuild under way is `StoreUnavailable`.
        """
        ...

    def close(self) -> None:
        """Let go of files, locks and connections."""
        ...


def newest_of(documents: Iterable[EventDocument]) -> list[EventDocument]:
    """The newest document of each event."""
    newest: dict[str, EventDocument] = {}
    for document in documents:
        known = newest.get(document.event_id)
        if known is None or known.version < document.version:
            newest[document.event_id] = document
    return list(newest.values())


def refusal(reasons: Mapping[str, str]) -> str:
    """The message of a `DocumentsRefused`: which, and why."""
    shown = "; ".join(f"{event_id}: {reason}" for event_id, reason in list(reasons.items())[:5])
    return f"the event index refused {len(reasons)} documents, {shown}"


def open_event_index(
    settings: Settings, *, writable: bool = False, clock: Clock = SYSTEM_CLOCK
) -> EventIndex:
    """The configured index: Elasticsearch where there is a URL, else the embedded one in the data directory. Nothing is opened before it is used.

    Only a `writable` one can `put`. Of the embedded one there is a single writer at a time: from its first put until it is closed or
    its process ends; another gets `StoreUnavailable` meanwhile. `rebuild` needs neither.
    """
    if settings.elasticsearch_url is not None:
        from exchange_platform.stores.event_index_elasticsearch import ElasticsearchEventIndex

        key = settings.elasticsearch_api_key
        return ElasticsearchEventIndex(
            settings.elasticsearch_url,
            alias=settings.event_index,
            api_key=key.get_secret_value() if key is not None else None,
            clock=clock,
        )
    from exchange_platform.stores.event_index_tantivy import TantivyEventIndex

    return TantivyEventIndex(settings.data_dir / EMBEDDED_INDEX, writable=writable, clock=clock)


def embedded_index_damage(settings: Settings) -> str | None:
    """What is wrong with the embedded index's files; None if nothing is, or there is no index. Reads all of it."""
    from exchange_platform.stores.event_index_directory import IndexDirectory

    return IndexDirectory(settings.data_dir / EMBEDDED_INDEX).damage_now()
