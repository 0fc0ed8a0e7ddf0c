"""A query understood: which terms must be found, and what each is worth. Pure. Not here: how an engine looks
them up (stores/).

Points for the text are shared out among the query's words; beside them count those of standing.py. Answers
with a typo come only after those without, and only where those are few. Events that can't be bet on are most
of an index and seldom wanted: they have a plan of their own, which is left out where nothing in it could
score enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from exchange_platform.search.aliases import OPTIONAL, SEPARATORS
from exchange_platform.search.documents import LONGEST_QUERY, EventQuery
from exchange_platform.search.expressions import (
    AllOf,
    AnyOf,
    Expression,
    Field,
    SearchPlan,
    SearchStep,
    Term,
    Typo,
    most_points,
)
from exchange_platform.search.standing import (
    sport_flag,
    standing_of_any,
    standing_of_closed,
    standing_of_open,
)
from exchange_platform.search.terms import LONGEST_TERM, Token, compounds, cut, joined, nth

MAX_WORDS = 12
"""A query's further words are not looked up."""
SHORTEST_WITH_TYPO = 4
"""Words of so many letters may be mistyped; so one letter less, where one was left out, may stand for such a
word.
"""
ENOUGH = 5
"""So many answers without a typo, and none with one is looked for."""

_WORD, _WHOLE_WORD, _FIRST_WORD, _OTHER_WORD = 1200, 150, 100, 200
_WORD_WITH_TYPO, _OTHER_WORD_WITH_TYPO = 600, 100
_AS_WRITTEN = 400
REPEATED = 500


class Understood(msgspec.Struct, frozen=True):
    """A query's words; each is a list of alternatives, of which each is a list of terms."""

    demanded: tuple[tuple[tuple[str, ...], ...], ...]
    optional: tuple[str, ...]
    as_written: str
    """All of it as one word."""
    repeated: tuple[tuple[str, int], ...] = ()
    """(term, number) where so many of the words begin with one of them: they must be so many words of a name.
    """

    @property
    def terms(self) -> set[str]:
        """Every term that is looked up."""
        return {term for word in self.demanded for form in word for term in form} | set(self.optional)


def understand(text: str) -> Understood:
    """Read a query: its words, those that it could do without, and words that may be written in two ways."""
    words = [_forms(parts) for parts in compounds(text[:LONGEST_QUERY])[:MAX_WORDS]]
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


def steps(query: EventQuery, words: Understood, now_us: int) -> Iterator[SearchStep]:
    """What to look up, one after the other, until there are enough answers. Those of a later step come after
    those of an earlier one.
    """
    sport = () if query.sport is None else (Term(Field.FLAGS, sport_flag(query.sport), 0),)
    of_open = standing_of_open(now_us)
    standings = (of_open,) if query.open_only else (of_open, standing_of_closed(now_us))
    if not words.demanded:
        by_sport = SearchPlan(sport, (), 0)
        for standing in standings:
            yield SearchStep((by_sport.with_standing(standing),), query.limit)
        return
    enough = min(query.limit, ENOUGH)
    exact = _of_words(words, sport, with_typo=False)
    yield SearchStep(tuple(exact.with_standing(standing) for standing in standings), enough)
    if any(possible_typo(term) is not Typo.NONE for term in words.terms):
        near = _of_words(words, sport, with_typo=True)
        # Words with typos take longest to look up: once for all events.
        standing = of_open if query.open_only else standing_of_any(now_us)
        yield SearchStep((near.with_standing(standing),), enough)


def _of_words(words: Understood, sport: tuple[Term, ...], *, with_typo: bool) -> SearchPlan:
    required = (*sport, *_required(words, with_typo=with_typo))
    preferred = _whole_text(words)
    return SearchPlan(required, preferred, most_points((*required, *preferred)))


def _forms(parts: Sequence[Token]) -> tuple[tuple[str, ...], ...]:
    """As one word, and as several."""
    apart = tuple(cut(part.term) for part in parts)
    return (apart,) if len(apart) == 1 else ((cut(joined(parts).term),), apart)


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


def _all_of(parts: list[AnyOf]) -> Expression:
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _whole_text(words: Understood) -> tuple[Term, ...]:
    """What is worth something beside the words themselves: a word that begins a side, words in the order of a
    side, the optional words.
    """
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
