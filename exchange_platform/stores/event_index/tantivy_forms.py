"""What tantivy is given: the schema, documents and plans as queries. Not here: asking it (tantivy.py)."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import tantivy
from tantivy import FieldType, Occur, Query

from exchange_platform.search.documents import EventDocument
from exchange_platform.search.expressions import (
    AllOf,
    Expression,
    Field,
    SearchPlan,
    Term,
    Typo,
    Within,
    spellings_with_letter_left_out,
)
from exchange_platform.search.standing import flags, start_that_counts
from exchange_platform.search.terms import event_terms

ID, DOCUMENT, STARTS_AT, VERSION = "event_id", "document", "starts_at_us", "version"
_BASIC = "basic"
_encode = msgspec.msgpack.Encoder().encode


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field(ID, tokenizer_name="raw", index_option=_BASIC)
    builder.add_bytes_field(DOCUMENT, stored=True)
    for field in Field:
        builder.add_text_field(field, tokenizer_name="terms", index_option=_BASIC)
    builder.add_integer_field(STARTS_AT, fast=True)
    builder.add_integer_field(VERSION, fast=True)
    return builder.build()


SCHEMA = _schema()


def indexed(document: EventDocument) -> tantivy.Document:
    """The document as tantivy keeps it, with all the terms that it is found by."""
    terms = event_terms(document)
    indexed = tantivy.Document()
    indexed.add_text(ID, document.event_id)
    indexed.add_bytes(DOCUMENT, _encode((document, terms.places)))
    for field, words in (
        (Field.WORDS, terms.words),
        (Field.PREFIXES, terms.prefixes),
        (Field.JOINED, terms.joined),
        (Field.OTHERS, terms.others),
        (Field.FLAGS, flags(document)),
    ):
        indexed.add_text(field, " ".join(words))
    starts_at_us = start_that_counts(document)
    if starts_at_us is not None:
        indexed.add_integer(STARTS_AT, starts_at_us)
    indexed.add_integer(VERSION, document.version)
    return indexed


def query_of(plan: SearchPlan) -> Query:
    """The plan as tantivy's query."""
    return Query.boolean_query(
        [
            *((Occur.Must, _expression(part)) for part in plan.required),
            *((Occur.Should, _preferred(part)) for part in plan.preferred),
        ]
    )


def _expression(part: Expression) -> Query:
    if isinstance(part, Term):
        return _term(part)
    occur = Occur.Must if isinstance(part, AllOf) else Occur.Should
    return Query.boolean_query([(occur, _expression(one)) for one in part.parts])


def _preferred(part: Term | Within) -> Query:
    if isinstance(part, Term):
        return _term(part)
    inside = Query.range_query(SCHEMA, STARTS_AT, FieldType.Integer, part.from_us, part.until_us)
    return Query.const_score_query(inside, part.points)


def _term(part: Term) -> Query:
    return Query.const_score_query(_spelt(part), part.points)


def _spelt(part: Term) -> Query:
    if part.typo is Typo.NONE:
        return Query.term_query(SCHEMA, part.field, part.text, index_option=_BASIC)
    return _mistyped(part.field, part.text, part.typo)


@lru_cache(maxsize=256)
def _mistyped(field: Field, text: str, typo: Typo) -> Query:
    """Kept, because a pattern takes longer to compile than to look up, and a box asks for the same words with
    every letter that follows.
    """
    if typo is Typo.ANY:
        return Query.fuzzy_term_query(SCHEMA, field, text, distance=1, transposition_cost_one=True)
    return Query.regex_query(SCHEMA, field, "|".join(spellings_with_letter_left_out(text)))
