"""Answers are the best of all that match, though most of it is neither looked up nor read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_platform.search.answering import answer
from exchange_platform.search.documents import EventDocument, EventQuery
from exchange_platform.search.expressions import AllOf, Expression, Field, SearchPlan, Term, Typo, Within
from exchange_platform.search.plan import steps, understand
from exchange_platform.search.ranking import Candidate, nearly_begins, order_key
from exchange_platform.search.standing import flags, start_that_counts
from exchange_platform.search.terms import event_terms
from tests.exchange_platform.search.test_terms import document

NOW_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000
TEAMS = (
    "Arsenal",
    "Ars Nova",
    "Aston Villa",
    "Chelsea",
    "Man Utd",
    "Manchester City",
    "Real Madrid",
    "Real Sociedad",
)
TEXTS = (
    "",
    "a",
    "ar",
    "ars",
    "arsenl",
    "man",
    "man ma",
    "real a",
    "real real",
    "che ars",
    "mna cit",
    "u",
    "nothing",
)

documents = st.builds(
    lambda number, home, away, is_open, in_play, hours, traded: document(
        f"{home} v {away}",
        event_id=f"e{number}",
        open=is_open,
        in_play=in_play,
        starts_at_us=None if hours is None else NOW_US + hours * HOUR_US,
        traded_minor=traded,
    ),
    st.integers(0, 10_000),
    st.sampled_from(TEAMS),
    st.sampled_from(TEAMS),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(-1000, 1000),
    st.sampled_from((0, 9_999, 10_000, 5_000_000, 10**12)),
)
held = st.lists(documents, max_size=40, unique_by=lambda one: one.event_id)


class Engine:
    """Matches every document with every plan."""

    def __init__(self, documents: Sequence[EventDocument]) -> None:
        self.documents = documents
        self.asked: list[SearchPlan] = []
        self.read = 0

    def __call__(self, plan: SearchPlan) -> Iterator[Candidate]:
        self.asked.append(plan)
        for candidate in self.found(plan):
            self.read += 1
            yield candidate

    def found(self, plan: SearchPlan) -> list[Candidate]:
        """What matches, most points first."""
        scored = [(score(plan, one), one) for one in self.documents]
        matching = [
            Candidate(points, one, event_terms(one).places) for points, one in scored if points is not None
        ]
        return sorted(matching, key=lambda candidate: -candidate.points)


def score(plan: SearchPlan, one: EventDocument) -> int | None:
    required = [points(part, one) for part in plan.required]
    if None in required:
        return None
    wanted = (points(part, one) for part in plan.preferred)
    return sum(part or 0 for part in (*required, *wanted))


def points(part: Expression | Within, one: EventDocument) -> int | None:
    """What a document has of it; None where it does not hold."""
    if isinstance(part, Within):
        at_us = start_that_counts(one)
        return part.points if at_us is not None and part.from_us <= at_us <= part.until_us else None
    if isinstance(part, Term):
        return part.points if holds(part, one) else None
    found = [points(inner, one) for inner in part.parts]
    if None in found if isinstance(part, AllOf) else set(found) == {None}:
        return None
    return sum(inner or 0 for inner in found)


def holds(term: Term, one: EventDocument) -> bool:
    if term.field is Field.FLAGS:
        return term.text in flags(one)
    terms = getattr(event_terms(one), term.field)
    if term.typo is Typo.NONE:
        return term.text in terms
    return any(nearly_begins(word, term.text) for word in terms)


@settings(max_examples=150)
@given(held, st.sampled_from(TEXTS), st.integers(1, 10), st.booleans())
def test_an_answer_is_the_best_of_everything_that_matches(
    documents: list[EventDocument], text: str, limit: int, open_only: bool
) -> None:
    engine = Engine(documents)
    query = EventQuery(text=text, limit=limit, open_only=open_only)
    words = understand(text)
    wanted: list[str] = []
    for step in steps(query, words, NOW_US):
        matching = [candidate for plan in step.plans for candidate in engine.found(plan)]
        matching.sort(key=lambda candidate: order_key(candidate, words))
        wanted += [one.document.event_id for one in matching if one.document.event_id not in wanted]
        if len(wanted) >= step.enough:
            break
    got = [hit.document.event_id for hit in answer(query, NOW_US, engine)]
    assert got == wanted[:limit]


@given(held, st.sampled_from(TEXTS), st.integers(1, 10), st.integers(0, 5))
def test_an_engine_may_find_its_first_events_again(
    documents: list[EventDocument], text: str, limit: int, few: int
) -> None:
    once, query = Engine(documents), EventQuery(text=text, limit=limit)

    def again(plan: SearchPlan) -> Iterator[Candidate]:
        yield from once.found(plan)[:few]
        # Events of the same points in another order, as another copy of an index has them.
        others = once.found(plan)
        others.reverse()
        yield from sorted(others, key=lambda candidate: -candidate.points)

    assert answer(query, NOW_US, again) == answer(query, NOW_US, once)


@given(held, st.sampled_from(TEXTS))
def test_no_document_scores_more_than_its_plan_says(documents: list[EventDocument], text: str) -> None:
    engine = Engine(documents)
    for step in steps(EventQuery(text=text), understand(text), NOW_US):
        for plan in step.plans:
            assert all(candidate.points <= plan.most for candidate in engine.found(plan))


@pytest.mark.parametrize("text", ["ars", "ars che"])
def test_what_cannot_be_bet_on_is_not_looked_up_where_enough_can(text: str) -> None:
    every = [document("Arsenal v Chelsea", event_id=f"e{number}", open=number < 5) for number in range(50)]
    engine = Engine(every)
    answer(EventQuery(text=text, limit=5), NOW_US, engine)
    assert (len(engine.asked), engine.read) == (1, 5)
    answer(EventQuery(text=text, limit=6), NOW_US, engine)
    assert len(engine.asked) == 3


def test_closed_events_rank_by_when_they_began_then_by_what_was_traded() -> None:
    ago_and_traded = {
        "today": (5, 0),
        "this-week": (100, 10**6),
        "old": (3000, 10**8),
        "old-and-small": (2000, 0),
    }
    engine = Engine(
        [
            document(
                "Arsenal v Chelsea",
                event_id=event_id,
                open=False,
                starts_at_us=NOW_US - hours * HOUR_US,
                traded_minor=traded,
            )
            for event_id, (hours, traded) in ago_and_traded.items()
        ]
    )
    hits = answer(EventQuery(text="arsenal"), NOW_US, engine)
    assert [hit.document.event_id for hit in hits] == ["today", "this-week", "old", "old-and-small"]
