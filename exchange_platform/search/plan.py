"""A query understood: which terms must be found, and what each is worth. Pure. Not here: how an engine looks them up (stores/).

A candidate's score is a sum of whole points that depends on nothing but the query, the document and the hour, so both engines give the
same one. Points for the text are shared out among the query's words; beside them count, in this order, whether an event can be bet
on, whether it is in play, how soon it starts and how much was traded. Answers with a typo come only after those without, and only
where those are few.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from exchange_platform.search.aliases import OPTIONAL, SEPARATORS
from exchange_platform.search.documents import LONGEST_QUERY, EventDocument, EventQuery
from exchange_platform.search.terms import LONGEST_TERM, Token, compounds, cut, joined, nth, one_word

MOST_WORDS = 12
"""A query's further words are not looked up."""
SHORTEST_WITH_TYPO = 4
"""Words of so many letters may be mistyped; so one letter less, where one was left out, may stand for such a word."""
ENOUGH = 5
"""So many answers without a typo, and none with one is looked for."""
CANDIDATES = 60
"""So many answers are asked of an engine; ranking.py puts them in order."""

_WORD, _WHOLE_WORD, _FIRST_WORD, _OTHER_WORD = 1200, 150, 100, 200
_WORD_WITH_TYPO, _OTHER_WORD_WITH_TYPO = 600, 100
_AS_WRITTEN = 400
REPEATED = 500
_OPEN, _IN_PLAY = 2000, 800
_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_DAY_US = 24 * _HOUR_US
_LATE_US = 6 * _HOUR_US
"""An event that is so late has not lost its place yet."""
_NEAR = (
    (_HOUR_US, 100),
    (6 * _HOUR_US, 100),
    (_DAY_US, 150),
    (3 * _DAY_US, 100),
    (7 * _DAY_US, 100),
    (30 * _DAY_US, 50),
)
_TRADED_LEVELS = tuple(int(10 ** (half / 2)) for half in range(8, 19))
"""Minor units: 100 to 10,000,000 pounds, two steps a factor of ten."""
_TRADED_STEP = 25


class Field(enum.StrEnum):
    """A field of terms in the index."""

    WORDS = "words"
    PREFIXES = "prefixes"
    JOINED = "joined"
    OTHERS = "others"
    FLAGS = "flags"


class Typo(enum.Enum):
    """How a term may differ from the one that is looked up."""

    NONE = enum.auto()
    LETTER_LEFT_OUT = enum.auto()
    """The term has one letter more, not at its end."""
    ANY = enum.auto()
    """One letter more, less or other, or two neighbours swapped, or none of this."""


class Term(msgspec.Struct, frozen=True):
    """A term of a field."""

    field: Field
    text: str
    points: int
    typo: Typo = Typo.NONE


class Within(msgspec.Struct, frozen=True):
    """The event starts in `[from_us, until_us]`."""

    from_us: int
    until_us: int
    points: int


class AnyOf(msgspec.Struct, frozen=True):
    """At least one holds; the points of all that hold are added."""

    parts: tuple[Expression, ...]


class AllOf(msgspec.Struct, frozen=True):
    """All hold; their points are added."""

    parts: tuple[Expression, ...]


Expression: TypeAlias = Term | AnyOf | AllOf


class Plan(msgspec.Struct, frozen=True):
    """What to look up. A document that has all that is required scores what it has of both."""

    required: tuple[Expression, ...]
    preferred: tuple[Term | Within, ...]
    enough: int
    """So many answers, of this plan and those before it, and the next plan is left out."""


class Understood(msgspec.Struct, frozen=True):
    """A query's words; each is a list of alternatives, of which each is a list of terms."""

    demanded: tuple[tuple[tuple[str, ...], ...], ...]
    optional: tuple[str, ...]
    as_written: str
    """All of it as one word."""
    repeated: tuple[tuple[str, int], ...] = ()
    """(term, number) where so many of the words begin with one of them: they must be so many words of a name."""

    @property
    def terms(self) -> set[str]:
        """Every term that is looked up."""
        return {term for word in self.demanded for form in word for term in form} | set(self.optional)


def understand(text: str) -> Understood:
    """Read a query: its words, those that it could do without, and words that may be written in two ways."""
    words = [_forms(parts) for parts in compounds(text[:LONGEST_QUERY])[:MOST_WORDS]]
    as_written = "".join(forms[0][0] for forms in words if forms[0][0] not in SEPARATORS)
    optional = {forms: forms[0][0] for forms in words if len(forms) == 1 and forms[0][0] in OPTIONAL}
    demanded = tuple(dict.fromkeys(forms for forms in words if forms not in optional))
    if not demanded:
        return Understood(tuple(optional), (), as_written)
    firsts = [forms[0][0] for forms in words if forms not in optional]
    counts = {term: sum(1 for other in firsts if other.startswith(term)) for term in firsts}
    return Understood(
        demanded,
        tuple(word for word in optional.values() if word not in SEPARATORS),
        as_written,
        tuple((term, count) for term, count in counts.items() if count > 1),
    )


def plans(query: EventQuery, words: Understood, now_us: int) -> tuple[Plan, ...]:
    """What to look up, one after the other, until there are enough answers. Those of a later plan come after those of an earlier one."""
    filters = _filters(query)
    standing = _standing(now_us)
    if not words.demanded:
        top = Plan((*filters, Term(Field.FLAGS, "open", 0)), standing, query.limit)
        if query.open_only:
            return (top,)
        return (top, Plan((*filters, Term(Field.FLAGS, "closed", 0)), standing, query.limit))
    enough = min(query.limit, ENOUGH)
    preferred = (*_whole_text(words), *standing)
    exact = Plan((*filters, *_required(words, with_typo=False)), preferred, enough)
    if all(possible_typo(term) is Typo.NONE for term in words.terms):
        return (exact,)
    return (exact, Plan((*filters, *_required(words, with_typo=True)), preferred, enough))


def flags(document: EventDocument) -> tuple[str, ...]:
    """The terms of a document's `flags`: its state, its sport and how much was traded."""
    found = ["open" if document.open else "closed", f"sport-{one_word(document.sport)}"]
    if document.in_play:
        found.append("in-play")
    level = sum(1 for least in _TRADED_LEVELS if document.traded_minor >= least)
    if level:
        found.append(f"traded-{level}")
    return tuple(found)


def _forms(parts: Sequence[Token]) -> tuple[tuple[str, ...], ...]:
    """As one word, and as several."""
    apart = tuple(cut(part.term) for part in parts)
    return (apart,) if len(apart) == 1 else ((cut(joined(parts).term),), apart)


def _filters(query: EventQuery) -> tuple[Term, ...]:
    found = []
    if query.sport is not None:
        found.append(Term(Field.FLAGS, f"sport-{one_word(query.sport)}", 0))
    if query.open_only:
        found.append(Term(Field.FLAGS, "open", 0))
    return tuple(found)


def _required(words: Understood, *, with_typo: bool) -> Iterable[Expression]:
    share = len(words.demanded) + len(words.optional)
    for forms in words.demanded:
        alternatives = [
            _all_of([_found(term, share * len(form), with_typo=with_typo) for term in form]) for form in forms
        ]
        yield alternatives[0] if len(alternatives) == 1 else AnyOf(tuple(alternatives))


def _found(term: str, share: int, *, with_typo: bool) -> AnyOf:
    exact = [
        Term(Field.PREFIXES, term, _WORD // share),
        Term(Field.OTHERS, term, _OTHER_WORD // share),
        Term(Field.WORDS, term, _WHOLE_WORD // share),
    ]
    typo = possible_typo(term)
    if with_typo and typo is not Typo.NONE:
        exact += [
            Term(Field.PREFIXES, term, _WORD_WITH_TYPO // share, typo),
            Term(Field.OTHERS, term, _OTHER_WORD_WITH_TYPO // share, typo),
        ]
    return AnyOf(tuple(exact))


def possible_typo(term: str) -> Typo:
    """How a term may have been mistyped; numbers and short words are taken as they are."""
    if term.isdecimal() or len(term) < SHORTEST_WITH_TYPO - 1:
        return Typo.NONE
    return Typo.ANY if len(term) >= SHORTEST_WITH_TYPO else Typo.LETTER_LEFT_OUT


def spellings_with_letter_left_out(term: str) -> tuple[str, ...]:
    """The term with any letter, written as a dot, before each of its letters: a pattern each."""
    return tuple(f"{term[:place]}.{term[place:]}" for place in range(len(term)))


def _all_of(parts: list[AnyOf]) -> Expression:
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _whole_text(words: Understood) -> tuple[Term, ...]:
    """What is worth something beside the words themselves: a word that begins a side, words in the order of a side, the optional words."""
    share = len(words.demanded) + len(words.optional)
    terms = sorted(words.terms)
    found = [Term(Field.JOINED, term, _FIRST_WORD // share) for term in terms]
    if share > 1 and len(words.as_written) <= LONGEST_TERM:
        found.append(Term(Field.JOINED, words.as_written, _AS_WRITTEN))
    found += [Term(Field.PREFIXES, nth(term, number), REPEATED) for term, number in words.repeated]
    for word in words.optional:
        found += [
            Term(Field.PREFIXES, word, _WORD // share),
            Term(Field.OTHERS, word, _OTHER_WORD // share),
        ]
    return tuple(found)


def _standing(now_us: int) -> tuple[Term | Within, ...]:
    now_us -= now_us % _MINUTE_US
    return (
        Term(Field.FLAGS, "open", _OPEN),
        Term(Field.FLAGS, "in-play", _IN_PLAY),
        *(Within(now_us - max(near_us, _LATE_US), now_us + near_us, points) for near_us, points in _NEAR),
        *(
            Term(Field.FLAGS, f"traded-{level}", level * _TRADED_STEP)
            for level in range(1, len(_TRADED_LEVELS) + 1)
        ),
    )
