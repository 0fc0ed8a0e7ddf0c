"""What an engine is asked: terms to look up, what each is worth, plans made of them. Pure. Not here: which
(plan.py, standing.py), how (stores/).

A document's score is a sum of whole points that depends on nothing but the query, the document and the
minute, so both engines give the same one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

CANDIDATES = 60
"""So many documents are asked of an engine for a plan; ranking.py puts them in order."""


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


class SearchPlan(msgspec.Struct, frozen=True):
    """What to look up. A document that has all that is required scores what it has of both."""

    required: tuple[Expression, ...]
    preferred: tuple[Term | Within, ...]
    most: int
    """No document scores more."""

    def with_standing(self, other: SearchPlan) -> SearchPlan:
        """Both: what is required and preferred by each."""
        return SearchPlan(
            (*self.required, *other.required), (*self.preferred, *other.preferred), self.most + other.most
        )


class SearchStep(msgspec.Struct, frozen=True):
    """Plans whose answers are put in order together."""

    plans: tuple[SearchPlan, ...]
    enough: int
    """So many answers, of this step and those before it, and the next step is left out."""


def most_points(parts: Iterable[Expression]) -> int:
    """What a document scores that has all of it."""
    return sum(part.points if isinstance(part, Term) else most_points(part.parts) for part in parts)


def spellings_with_letter_left_out(term: str) -> tuple[str, ...]:
    """The term with any letter, written as a dot, before each of its letters: a pattern each."""
    return tuple(f"{term[:place]}.{term[place:]}" for place in range(len(term)))
