"""Which characters of an answer the query's words were found at. Pure. Not here: markup (whoever shows it
makes that).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exchange_platform.search.documents import EventDocument, EventHit, FieldHighlight
from exchange_platform.search.plan import Understood
from exchange_platform.search.ranking import nearly_begins
from exchange_platform.search.terms import cut, fold, is_ignored, name_tokens, readings

_FIELDS = ("name", "competition")


def marked(document: EventDocument, words: Understood) -> EventHit:
    """The document with the places where the query's words stand in its name and competition."""
    found = []
    for field in _FIELDS:
        text = getattr(document, field)
        found += [FieldHighlight(field, start, end) for start, end in _ranges(text, sorted(words.terms))]
    return EventHit(document=document, highlights=tuple(found))


def _ranges(text: str, terms: Sequence[str]) -> list[tuple[int, int]]:
    return _merged(place for term in terms for place in _of_term(text, term))


def _of_term(text: str, term: str) -> list[tuple[int, int]]:
    """The letters that were typed, else the words that they stand for, else the words that they
    nearly begin.
    """
    begun = [
        (token.start, _end_of(text, token.start, term))
        for tokens in readings(text)
        for token in tokens
        if token.term.startswith(term)
    ]
    if begun:
        return begun
    meant = [(token.start, token.end) for token in name_tokens(text) if cut(token.term).startswith(term)]
    if meant:
        return [place for place in meant if not any(_is_inside(other, place) for other in meant)]
    return [(token.start, token.end) for token in name_tokens(text) if nearly_begins(cut(token.term), term)]


def _is_inside(place: tuple[int, int], other: tuple[int, int]) -> bool:
    return place != other and other[0] <= place[0] and place[1] <= other[1]


def _end_of(text: str, start: int, term: str) -> int:
    """Where the characters that fold to the term end."""
    left = len(term)
    for place in range(start, len(text)):
        left -= len(fold(text[place]))
        if left <= 0:
            end = place + 1
            while end < len(text) and is_ignored(text[end]):
                end += 1
            return end
    return len(text)


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
