"""Which characters of an answer the query's words were found at. Pure. Not here: markup (whoever shows it makes that)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exchange_platform.search.documents import EventDocument, EventHit, Highlight
from exchange_platform.search.plan import SHORTEST_WITH_TYPO, Understood
from exchange_platform.search.terms import Token, cut, fold, is_ignored, name_tokens, readings

_FIELDS = ("name", "competition")


def marked(document: EventDocument, words: Understood) -> EventHit:
    """The document with the places where the query's words stand in its name and competition."""
    found = []
    for field in _FIELDS:
        text = getattr(document, field)
        found += [Highlight(field, start, end) for start, end in _ranges(text, sorted(words.terms))]
    return EventHit(document=document, highlights=tuple(found))


def _ranges(text: str, terms: Sequence[str]) -> list[tuple[int, int]]:
    written = [token for tokens in readings(text) for token in tokens]
    known = [Token(cut(token.term), token.start, token.end) for token in name_tokens(text)]
    ranges: list[tuple[int, int]] = []
    for term in terms:
        ranges += _of_term(text, term, written, known)
    return _merged(ranges)


def _of_term(text: str, term: str, written: Iterable[Token], known: Iterable[Token]) -> list[tuple[int, int]]:
    """The letters that were typed, else the words that they stand for, else the words that they nearly begin."""
    begun = [
        (token.start, _end_of(text, token.start, term)) for token in written if token.term.startswith(term)
    ]
    if begun:
        return begun
    meant = [(token.start, token.end) for token in known if token.term.startswith(term)]
    if meant or len(term) < SHORTEST_WITH_TYPO:
        return meant
    return [(token.start, token.end) for token in known if nearly_begins(token.term, term)]


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


def nearly_begins(word: str, typed: str) -> bool:
    """Whether some beginning of the word becomes `typed` by one insertion, deletion, replacement or swap of neighbours."""
    same = 0
    while same < min(len(word), len(typed)) and word[same] == typed[same]:
        same += 1
    if same == len(typed):
        return True
    rest, wrong = word[same:], typed[same:]
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
