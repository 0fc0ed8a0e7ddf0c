"""Is the right event among the first five? Counted over generated queries, beside what any order of the
answers could reach. Not here: speed (search.py).
"""

from __future__ import annotations

import sqlite3
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.event_fixtures import Typed, typed
from exchange_platform.search.documents import EventDocument, EventQuery
from exchange_platform.stores.event_index.index import EventIndex

FIRST = 5
Finder = Callable[[str], Sequence[str]]
"""Text -> ids of the events found, best first."""


@dataclass(frozen=True)
class Kind:
    """A kind of query, and the share of right answers that is promised of it; `decidable` counts only those
    that at most five open events fit.
    """

    name: str
    first_words: bool = False
    least_begun: int = 3
    typo: bool = False
    decidable: bool = False
    promised: float | None = None


KINDS = (
    Kind("first words, 3+ letters of both", first_words=True, promised=0.99),
    Kind("any words, 3+ letters of both, five or fewer fit", decidable=True, promised=0.99),
    Kind("any words, 3+ letters and 1+, five or fewer fit", least_begun=1, decidable=True, promised=0.99),
    Kind("any words, 3+ letters of both"),
    Kind("any words, 3+ letters and 1+", least_begun=1),
    Kind("a typo, first words, 4+ letters and 3+", first_words=True, typo=True, promised=0.95),
    Kind("a typo, any words, 4+ letters and 3+, five or fewer fit", typo=True, decidable=True, promised=0.95),
    Kind("a typo, any words, 4+ letters and 3+", typo=True),
)


def report(events: Sequence[EventDocument], index: EventIndex, number: int, seed: int) -> bool:
    """Print the share of each kind, beside those of a baseline; says whether all that is promised was
    kept.
    """
    fitting = Fitting(events)
    like = like_baseline(events)
    kept = True
    print(f"the right event in the first {FIRST}, {number:,} queries of each kind:")
    for kind in KINDS:
        queries = typed(
            events,
            number,
            seed=seed,
            first_words=kind.first_words,
            least_begun=kind.least_begun,
            typo=kind.typo,
        )
        fits = [fitting.count(query) for query in queries]
        counted = [
            query for query, fit in zip(queries, fits, strict=True) if not kind.decidable or fit <= FIRST
        ]
        could = sum(min(1.0, FIRST / fit) for fit in fits) / len(fits)
        share = _share(
            counted, lambda text: [hit.document.event_id for hit in index.search(EventQuery(text=text))]
        )
        missed = kind.promised is not None and share < kind.promised
        kept = kept and not missed
        print(
            f"  {kind.name:<56} {share:7.2%}"
            + (f" (promised {kind.promised:.0%}{', MISSED' if missed else ''})" if kind.promised else "")
            + ("" if kind.decidable else f" (any order of those that fit: some {could:.2%})")
            + f"   SQL LIKE {_share(counted[:300], like):7.2%}"
        )
    return kept


def _share(queries: Sequence[Typed], find: Finder) -> float:
    return sum(query.event_id in find(query.text)[:FIRST] for query in queries) / max(1, len(queries))


class Fitting:
    """How many open events have two words that begin as typed: counted from the names, without an index."""

    def __init__(self, events: Sequence[EventDocument]) -> None:
        self._names = {event.event_id: _plain(event.name).split() for event in events if event.open}
        self._beginning: dict[str, set[str]] = defaultdict(set)
        for event_id, words in self._names.items():
            for word in words:
                for length in range(1, len(word) + 1):
                    self._beginning[word[:length]].add(event_id)

    def count(self, query: Typed) -> int:
        """So many; the one that was meant is among them."""
        one, other = (_plain(word).strip() for word in query.fitting)
        both = self._beginning.get(one, set()) & self._beginning.get(other, set())
        return sum(self._has_two(event_id, one, other) for event_id in both) or 1

    def _has_two(self, event_id: str, one: str, other: str) -> bool:
        words = self._names[event_id]
        return any(
            first.startswith(one) and second.startswith(other) and place != at
            for place, first in enumerate(words)
            for at, second in enumerate(words)
        )


def like_baseline(events: Sequence[EventDocument]) -> Finder:
    """Every word somewhere in the name, those in play first, then by start: what SQL does without an index of
    words.
    """
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE events (event_id, name, open, in_play, starts_at_us, traded_minor)")
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
        (
            (event.event_id, event.name, event.open, event.in_play, event.starts_at_us, event.traded_minor)
            for event in events
        ),
    )

    def find(text: str) -> list[str]:
        words = text.split()
        where = " AND ".join(["name LIKE ?"] * len(words)) or "1"
        rows = connection.execute(
            f"SELECT event_id FROM events WHERE {where}"
            " ORDER BY open DESC, in_play DESC, starts_at_us, traded_minor DESC LIMIT 10",
            [f"%{word}%" for word in words],
        )
        return [event_id for (event_id,) in rows]

    return find


def _plain(text: str) -> str:
    """Lower case without accents, letters and digits only: the benchmark's own reading."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("ø", "o").replace("ł", "l"))
    return "".join(
        character if character.isalnum() else " "
        for character in decomposed
        if not unicodedata.combining(character)
    )
