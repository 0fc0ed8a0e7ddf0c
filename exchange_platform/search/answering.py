"""From a query to the answer, given an engine that finds candidates: the same for every engine. Not here: the engines (stores/)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from exchange_platform.search.documents import EventDocument, EventHit, EventQuery
from exchange_platform.search.highlights import marked
from exchange_platform.search.plan import Plan, plans, understand
from exchange_platform.search.ranking import Candidate, order_key

Candidates = Callable[[Plan], Iterable[Candidate]]
"""What an engine finds for a plan: those with the most points, `CANDIDATES` of them where there are so many."""


def answer(query: EventQuery, now_us: int, candidates: Candidates) -> tuple[EventHit, ...]:
    """Ask plan after plan until there are enough answers; the best `query.limit` of them, in order, marked."""
    words = understand(query.text)
    found: dict[str, EventDocument] = {}
    for plan in plans(query, words, now_us):
        for candidate in sorted(candidates(plan), key=lambda candidate: order_key(candidate, words)):
            found.setdefault(candidate.document.event_id, candidate.document)
        if len(found) >= plan.enough:
            break
    return tuple(marked(document, words) for document in list(found.values())[: query.limit])
