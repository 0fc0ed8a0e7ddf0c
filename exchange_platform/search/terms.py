"""Text to terms: folded words with the place where they stand, and all that an event is found by. Not here:
queries (plan.py).

Both engines index exactly these terms and look up exactly what plan.py makes of a query, so both match and
rank alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from exchange_platform.search.aliases import COUNTRIES, SEPARATORS, other_phrases, other_words
from exchange_platform.search.documents import EventDocument

LONGEST_TERM = 24
"""Words are cut to so many letters, in documents and in queries."""
MAX_SIDES = 4
"""Of an event with more participants, such as a race, the participants count less than the words of its name.
"""

_SOFT = frozenset("'’‘`´ʼ.-‐‑‒–_·&:")
"""Between letters these make one word or two: O'Brien is found as `obrien` and as `brien`."""
_ASCII_PART = re.compile(r"[0-9A-Za-z]+")
_ASCII_WORD = re.compile(r"[0-9A-Za-z]+(?:['`.\-_&:]+[0-9A-Za-z]+)*")
_LETTERS = {
    "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ħ": "h", "ŧ": "t", "ŋ": "n",
    "ə": "e",
}  # fmt: skip
_SPELT_OUT = {"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"}
_BETWEEN_SIDES = re.compile(r"\s+(?:v|vs|versus)\.?\s+|\s*@\s*|\s+[-–—]\s+", re.IGNORECASE)


class Token(msgspec.Struct, frozen=True):
    """A term and where its word stands: `[start, end)` in the text that it was read from."""

    term: str
    start: int
    end: int


class EventTerms(msgspec.Struct, frozen=True):
    """All that an event is found by."""

    places: tuple[str, ...]
    """For each place in its name where a word begins, the terms that it is found by there, each after a
    space.
    """
    words: tuple[str, ...]
    """Whole words of its name, and of sides that the name leaves out, with their other spellings and
    initials.
    """
    prefixes: tuple[str, ...]
    """Every beginning of these words; `ma+2` where two of the name's words begin with `ma`."""
    joined: tuple[str, ...]
    """Every beginning of each side written as one word."""
    others: tuple[str, ...]
    """Every beginning of the words of its runners, competition, sport and country."""


@lru_cache(maxsize=4096)
def fold(character: str) -> str:
    """The character without case and accents, as letters and digits only; empty where it is neither."""
    decomposed = unicodedata.normalize("NFKD", character.casefold())
    return "".join(_LETTERS.get(c, c) for c in decomposed if c.isalnum())


@lru_cache(maxsize=4096)
def is_ignored(character: str) -> bool:
    """Whether it is a mark or invisible, and so neither adds to a word nor ends it."""
    return unicodedata.category(character) in ("Mn", "Me", "Cf") and not fold(character)


def compounds(text: str) -> list[list[Token]]:
    """The text's words; one with a hyphen, an apostrophe or the like inside is a list of its parts."""
    if text.isascii():
        return [
            [
                Token(part[0].lower(), part.start(), part.end())
                for part in _ASCII_PART.finditer(text, *word.span())
            ]
            for word in _ASCII_WORD.finditer(text)
        ]
    return compounds_of_any(text)


def compounds_of_any(text: str) -> list[list[Token]]:
    """What `compounds` gives for text of any script."""
    found: list[list[Token]] = []
    parts: list[Token] = []
    letters: list[str] = []
    start = end = 0

    def finish_part() -> None:
        if letters:
            parts.append(Token("".join(letters), start, end))
            letters.clear()

    for place, character in enumerate(text):
        folded = fold(character)
        if folded:
            if not letters:
                start = place
            letters.append(folded)
            end = place + 1
        elif is_ignored(character):
            if letters:
                end = place + 1
        else:
            finish_part()
            if character not in _SOFT and parts:
                found.append(parts)
                parts = []
    finish_part()
    if parts:
        found.append(parts)
    return found


def joined(parts: Iterable[Token]) -> Token:
    """Several neighbouring words as one."""
    whole = list(parts)
    return Token("".join(part.term for part in whole), whole[0].start, whole[-1].end)


@lru_cache(maxsize=1024)
def name_tokens(text: str) -> tuple[Token, ...]:
    """Every term that a name or a competition is found by, each with the words that it stands for; a term may
    come twice.
    """
    return tuple(_name_tokens(text))


def _name_tokens(text: str) -> Iterator[Token]:
    for tokens in readings(text):
        for token in tokens:
            yield token
            for other in (*other_words(token.term), *_spelt_out(text, token)):
                yield Token(other, token.start, token.end)
        for first, last, phrases in other_phrases([token.term for token in tokens]):
            place = (tokens[first].start, tokens[last - 1].end)
            for phrase in phrases:
                for word in phrase:
                    yield Token(word, *place)
                if len(phrase) > 1:
                    yield Token("".join(phrase), *place)
        for side in sides_within(text, tokens):
            if len(side) > 1:
                yield Token("".join(token.term[0] for token in side), side[0].start, side[-1].end)
                yield joined(side)


@lru_cache(maxsize=1024)
def readings(text: str) -> tuple[tuple[Token, ...], ...]:
    """The text's words, and where one has a hyphen or the like inside, also its words with each such one as a
    single word.
    """
    words = compounds(text)
    apart = tuple(part for parts in words for part in parts)
    return (apart,) if len(apart) == len(words) else (apart, tuple(joined(parts) for parts in words))


def sides_within(text: str, tokens: Iterable[Token]) -> list[list[Token]]:
    """The words of each side of a name: `A B v C` has the sides `A B` and `C`."""
    breaks = [match.start() for match in _BETWEEN_SIDES.finditer(text)]
    sides: list[list[Token]] = [[] for _ in range(len(breaks) + 1)]
    for token in tokens:
        if token.term not in SEPARATORS:
            sides[sum(1 for place in breaks if place < token.start)].append(token)
    return [side for side in sides if side]


def event_terms(document: EventDocument) -> EventTerms:
    """All that the event is found by, from its name, participants, competition, sport and country."""
    of_sides = len(document.participants) <= MAX_SIDES
    sides = tuple(side for side in document.participants if side not in document.name) if of_sides else ()
    runners = () if of_sides else document.participants
    places = [place for text in (document.name, *sides) for place in _places(text)]
    words = {word for place in places for word in place}
    others = {
        token.term
        for text in (
            *runners,
            document.competition,
            document.sport,
            *COUNTRIES.get(document.country.upper(), ()),
        )
        for token in name_tokens(text)
    }
    return EventTerms(
        places=tuple("".join(f" {term}" for term in sorted(place)) for place in places),
        words=tuple(sorted(words)),
        prefixes=(*sorted(_beginnings(words)), *_repeated(places)),
        joined=tuple(sorted(_beginnings(_whole_sides((document.name, *sides))))),
        others=tuple(sorted(_beginnings(others))),
    )


def nth(term: str, number: int) -> str:
    """The term that says that so many words of a name begin with a term."""
    return f"{term}+{number}"


def _places(text: str) -> list[set[str]]:
    places: dict[int, set[str]] = {}
    for token in name_tokens(text):
        if token.term not in SEPARATORS:
            places.setdefault(token.start, set()).add(cut(token.term))
    return [places[start] for start in sorted(places)]


def _repeated(places: Iterable[set[str]]) -> list[str]:
    counts = Counter(beginning for place in places for beginning in _beginnings(place))
    return sorted(nth(term, number) for term, count in counts.items() for number in range(2, count + 1))


def _whole_sides(texts: Iterable[str]) -> set[str]:
    whole: set[str] = set()
    for text in texts:
        for side in (side for tokens in readings(text) for side in sides_within(text, tokens)):
            terms = [token.term for token in side]
            whole.add("".join(terms))
            for first, last, phrases in other_phrases(terms):
                whole.update("".join((*terms[:first], *phrase, *terms[last:])) for phrase in phrases)
    return whole


def cut(term: str) -> str:
    """The term as it is indexed and looked up."""
    return term[:LONGEST_TERM]


def one_word(text: str) -> str:
    """The whole text as one term, for comparing names that are no sentences, such as a sport's."""
    return cut("".join(part.term for parts in compounds(text) for part in parts))


def _beginnings(words: Iterable[str]) -> set[str]:
    return {word[:length] for word in words for length in range(1, min(len(word), LONGEST_TERM) + 1)}


def _spelt_out(text: str, token: Token) -> tuple[str, ...]:
    """`Müller` is also `mueller`."""
    if text.isascii():
        return ()
    source = unicodedata.normalize("NFC", text[token.start : token.end].casefold())
    if not any(character in _SPELT_OUT for character in source):
        return ()
    return ("".join(_SPELT_OUT.get(character) or fold(character) for character in source),)
