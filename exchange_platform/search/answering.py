"""From a query to the answer, given an engine that finds candidates: the same for every engine. Not here: the engines (stores/)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exchange_platform.search.documents import EventDocument, EventHit, EventQuery
from exchange_platform.search.highlights import marked
from exchange_platform.search.plan import Plan, order_key, plans, understand

Candidates = Callable[[Plan], Sequence[tuple[int, EventDocument]]]
"""What an engine finds for a plan: (points, document), the best `CANDIDATES` of them at least."""


def answer(query: EventQuery, now_us: int, candidates: Candidates) -> tuple[EventHit, ...]:
    """Ask plan after plan until there are enough answers; the best `query.limit` of them, in order, marked."""
    found: dict[str, EventDocument] = {}
    for plan in plans(query, now_us):
        for _, document in sorted(candidates(plan), key=lambda candidate: order_key(*candidate)):
            found.setdefault(document.event_id, document)
        if len(found) >= plan.enough:
            break
    words = understand(query.text)
    return tuple(marked(document, words) for document in list(found.values())[: query.limit])
