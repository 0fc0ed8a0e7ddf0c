"""The index of events that type-ahead asks: what an engine promises. Not here: which is configured
(event_index/opening.py), the engines, what matches and how it ranks (search/), reading documents from the
database (events/documents.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from exchange_platform.search.documents import (
    LONGEST_QUERY,
    MAX_HITS,
    EventDocument,
    EventHit,
    EventQuery,
)

__all__ = [
    "LONGEST_QUERY",
    "MAX_HITS",
    "DocumentsRefused",
    "EventDocument",
    "EventDocuments",
    "EventHit",
    "EventIndex",
    "EventQuery",
]


EMBEDDED_INDEX = "event-index"
"""The embedded index's folder in the data directory."""


class EventDocuments(Protocol):
    """Where a rebuild takes its documents from: the operational database (events/documents.py)."""

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
    """An index of events. Searches may run in many threads and processes while one process puts and another
    rebuilds.

    Every method raises `StoreUnavailable` where the index can't be reached: try again later.
    """

    def prepare(self) -> None:
        """Make what a server needs to know before it is written to. Idempotent; the embedded index needs
        nothing.
        """
        ...

    def put(self, documents: Sequence[EventDocument]) -> int:
        """Hold these documents; returns how many were newer than what was held.

        Durable on return; found at once when embedded, within 0.5 s on Elasticsearch. A document that is not
        newer changes nothing, so putting again does no harm. Makes the index where there is none. Raises
        `DocumentsRefused`.
        """
        ...

    def search(self, query: EventQuery) -> tuple[EventHit, ...]:
        """The best events for the query, best first. No text is an error; an index that is empty finds
        nothing.
        """
        ...

    def versions(self, event_ids: Iterable[str] | None = None) -> dict[str, int]:
        """The version held of these events, or of every event; those not held are left out."""
        ...

    def count(self) -> int:
        """How many events are held."""
        ...

    def is_filled(self) -> bool:
        """Whether this index was ever filled from the database. False where it was deleted, or made by
        another version: rebuild it then.
        """
        ...

    def rebuild(self, source: EventDocuments) -> int:
        """Fill a new index from the source and put it in the old one's place; returns how many documents it
        holds.

        Searches go on in the old one until then. Puts may go on too: what they put is in the new one,
        provided that it was in the source before it was put. Another rebuild under way is `StoreUnavailable`.
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
