"""What the event index holds and what may be asked of it. Not here: the engines (event_index/index.py), what
matches (plan.py).
"""

from __future__ import annotations

import msgspec

from exchange_platform.domain.events import EventStatus

MAX_HITS = 50
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
    """What to look for. Any text is allowed; beyond 200 characters it is cut. Empty text gives the top
    events.
    """

    text: str = ""
    sport: str | None = None
    """Only events of this sport; case, accents and punctuation don't matter."""
    open_only: bool = False
    """Only events that have a market which takes bets or will."""
    limit: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_HITS:
            raise ValueError(f"limit {self.limit} out of range: allowed are 1 to {MAX_HITS}")


class FieldHighlight(msgspec.Struct, frozen=True):
    """Where a word of the query was found: `[start, end)` in characters (code points) of the field `name` or
    `competition`.
    """

    field: str
    start: int
    end: int


class EventHit(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was found, with what to mark in it. Nothing here is markup: escape the text, then mark
    the ranges.
    """

    document: EventDocument
    highlights: tuple[FieldHighlight, ...] = ()
