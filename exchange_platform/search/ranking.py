"""The order of an answer: one rule for every engine, from the points of the plan and the words of the name.
Pure. Not here: the points (plan.py).
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from exchange_platform.search.documents import EventDocument
from exchange_platform.search.expressions import Typo
from exchange_platform.search.plan import REPEATED, Understood, possible_typo

_IN_ORDER = 100

Places = tuple[str, ...]
OrderKey = tuple[int, int, int, str]


class Candidate(msgspec.Struct, frozen=True):
    """What an engine found: the points that it counted, the document, the terms at each place of its name."""

    points: int
    document: EventDocument
    places: Places


def order_key(candidate: Candidate, words: Understood) -> OrderKey:
    """Sorts candidates: by their points and how their names fit the query, then what was traded, then by
    start, then by id.
    """
    document = candidate.document
    starts_at_us = document.starts_at_us if document.starts_at_us is not None else 2**62
    return (
        -candidate.points - fit(words, candidate.places),
        -document.traded_minor,
        starts_at_us if document.open else -starts_at_us,
        document.event_id,
    )


def fit(words: Understood, places: Places) -> int:
    """Points for words found in the order in which they were typed, less points for each that shares its
    place with another.
    """
    if not most_fit(words):
        return 0
    options = [found for forms in words.demanded for term in forms[0] if (found := _found_at(term, places))]
    taken: dict[int, int] = {}
    placed = sum(_place(number, options, taken, set()) for number in range(len(options)))
    where = {number: place for place, number in taken.items()}
    order = [where[number] for number in sorted(where)]
    in_order = len(order) > 1 and order == sorted(order)
    return (_IN_ORDER if in_order else 0) - REPEATED * (len(options) - placed)


def most_fit(words: Understood) -> int:
    """The most points that `fit` gives for these words."""
    return _IN_ORDER if len(words.demanded) > 1 or words.repeated else 0


def _found_at(term: str, places: Places) -> list[int]:
    exact = [place for place, terms in enumerate(places) if f" {term}" in terms]
    if exact:
        return exact
    return [
        place for place, terms in enumerate(places) if any(nearly_begins(one, term) for one in terms.split())
    ]


def _place(number: int, options: list[list[int]], taken: dict[int, int], tried: set[int]) -> bool:
    """Give a word a place of its own, moving others where they have another (Kuhn's matching)."""
    for place in options[number]:
        if place not in tried:
            tried.add(place)
            if place not in taken or _place(taken[place], options, taken, tried):
                taken[place] = number
                return True
    return False


@lru_cache(maxsize=8192)
def nearly_begins(word: str, typed: str) -> bool:
    """Whether some beginning of the word becomes `typed` by one of the typos that are possible there."""
    typo = possible_typo(typed)
    if typo is Typo.NONE:
        return word.startswith(typed)
    same = 0
    while same < min(len(word), len(typed)) and word[same] == typed[same]:
        same += 1
    if same == len(typed):
        return True
    rest, wrong = word[same:], typed[same:]
    if typo is Typo.LETTER_LEFT_OUT:
        return rest[1:].startswith(wrong)
    return (
        rest.startswith(wrong[1:])  # a letter too many
        or (bool(rest) and rest[1:].startswith(wrong[1:]))  # a wrong letter
        or rest[1:].startswith(wrong)  # a letter left out
        or (
            len(wrong) > 1
            and len(rest) > 1
            and rest[0] == wrong[1]
            and rest[1] == wrong[0]
            and rest[2:].startswith(wrong[2:])
        )
    )
