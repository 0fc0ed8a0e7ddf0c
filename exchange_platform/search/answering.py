"""From a query to the answer, given an engine that finds candidates: the same for every engine. Not here: the
engines (stores/).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable

from exchange_platform.search.documents import EventDocument, EventHit, EventQuery
from exchange_platform.search.expressions import SearchPlan, SearchStep
from exchange_platform.search.highlights import marked
from exchange_platform.search.plan import Understood, steps, understand
from exchange_platform.search.ranking import Candidate, OrderKey, most_fit, order_key

Candidates = Callable[[SearchPlan], Iterable[Candidate]]
"""What an engine finds for a plan, most points first: all, or the best `CANDIDATES` of them; an event may
come again. It is read no further than needed.
"""


def answer(query: EventQuery, now_us: int, candidates: Candidates) -> tuple[EventHit, ...]:
    """Take step after step until there are enough answers; the best `query.limit` of them, in order,
    marked.
    """
    words = understand(query.text)
    found: dict[str, EventDocument] = {}
    for step in steps(query, words, now_us):
        for candidate in _best(step, words, query.limit + len(found), candidates):
            found.setdefault(candidate.document.event_id, candidate.document)
        if len(found) >= step.enough:
            break
    return tuple(marked(document, words) for document in list(found.values())[: query.limit])


def _best(step: SearchStep, words: Understood, wanted: int, candidates: Candidates) -> list[Candidate]:
    """The first of all that a step finds, in order. What can't be among them is not looked up, nor read."""
    best: list[tuple[OrderKey, Candidate]] = []
    seen: set[str] = set()
    added = most_fit(words)
    for plan in step.plans:
        if not _reaches(plan.most + added, best, wanted):
            break
        for candidate in candidates(plan):
            if candidate.document.event_id in seen:
                continue
            if not _reaches(candidate.points + added, best, wanted):
                break
            seen.add(candidate.document.event_id)
            insort(best, (order_key(candidate, words), candidate), key=lambda one: one[0])
            del best[wanted:]
    return [candidate for _, candidate in best]


def _reaches(points: int, best: list[tuple[OrderKey, Candidate]], wanted: int) -> bool:
    """Whether a candidate of so many points might be among the best."""
    if len(best) < wanted:
        return True
    (least, *_), _ = best[-1]
    return points >= -least
