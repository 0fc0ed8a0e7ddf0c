"""The index of events that type-ahead asks: what it holds, what may be asked, what it promises. Not here: the engines (event_index_*.py),
what matches and how it ranks (search_terms.py, ranking.py), reading documents from the database (event_documents.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Protocol

import msgspec

from exchange_platform.clock import SYSTEM_CLOCK, Clock
from exchange_platform.events import EventStatus
from exchange_platform.settings import Settings

MOST_HITS = 50
LONGEST_QUERY = 200


class EventDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the index holds it: its whole state at `version`, which is `events.index_version`."""

    event_id: str
    version: int
    name: str
    sport: str
    competition: str = ""
    country: str = ""
    """Two letters of ISO 3166, or empty."""
    participants: tuple[str, ...] = ()
    status: EventStatus
    in_play: bool = False
    open: bool
    """It is not over, and has a market that takes bets or will."""
    starts_at_us: int | None = None
    traded_minor: int = 0
    """The stake matched in its markets, counted once, in minor units; currencies are added as they are."""
    markets: tuple[str, ...] = ()
    """The names of its markets."""


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for. Any text is allowed; beyond 200 characters it is cut. Empty text gives the top events."""

    text: str = ""
    sport: str | None = None
    """Only events of this sport, written as in the documents but for case."""
    open_only: bool = False
    """Only events that have a market which takes bets or will."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_HITS)] = 10


class Highlight(msgspec.Struct, frozen=True):
    """Where a word of the query was found: `[start, end)` in characters (code points) of the field `name` or `competition`."""

    field: str
    start: int
    end: int


class EventHit(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was found, with what to mark in it. Nothing here is markup: escape the text, then mark the ranges."""

    document: EventDocument
    highlights: tuple[Highlight, ...] = ()


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
    """The index took none or only some of the documents, and will never take those that the message names."""


class EventIndex(Protocol):
    """An index of events. Searches may run in many threads and processes while one process puts and another rebuilds.

    Every method raises `StoreUnavailable` where the index can't be reached: try again later.
    """

    def put(self, documents: Sequence[EventDocument]) -> int:
        """Hold these documents; returns how many were newer than what was held.

        Durable on return, and found within the engine's refresh: 0.2 s embedded, 0.5 s on Elasticsearch. A document that is
        not newer changes nothing, so putting again does no harm. Makes the index where there is none. Raises `DocumentsRefused`.
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
        """Whether the index was ever filled from the database. False where it was deleted: its owner rebuilds it then."""
        ...

    def rebuild(self, source: EventDocuments) -> int:
        """Fill a new index from the source and put it in the old one's place; returns how many documents it holds.

        Searches go on in the old one until then, and puts may go on too: nothing that they put is lost. One rebuild at a time.
        """
        ...

    def close(self) -> None:
        """Let go of files, locks and connections."""
        ...


def open_event_index(
    settings: Settings, *, writable: bool = False, clock: Clock = SYSTEM_CLOCK
) -> EventIndex:
    """The configured index: Elasticsearch where there is a URL, else the embedded one in the data directory. Nothing is opened before it is used.

    Only one process at a time can `put` into the embedded index; a second one gets `StoreUnavailable` until the first is closed or dies.
    """
    raise NotImplementedError("the engines come with the next commits")
