"""What Elasticsearch is given: the event index's mapping, its documents, plans as queries. Not here: asking
it (elasticsearch.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from exchange_platform.process.decoders import converter
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
from exchange_platform.search.ranking import Candidate, Places
from exchange_platform.search.standing import flags, start_that_counts
from exchange_platform.search.terms import event_terms

FORMAT = 2
"""Grows when documents are indexed differently: an index of another format is rebuilt."""
REFRESH_INTERVAL = "500ms"
DOCUMENT, PLACES = "document", "places"

_MAX_SPELLINGS = 1024
"""How many indexed terms one mistyped word may stand for."""


def template(alias: str) -> dict[str, Any]:
    """The index template of the indices behind the alias."""
    return {
        "index_patterns": [f"{alias}-*"],
        "priority": 500,
        "template": {
            "settings": {
                "number_of_shards": 1,
                "auto_expand_replicas": "0-1",
                "refresh_interval": REFRESH_INTERVAL,
            },
            "mappings": {
                "dynamic": "strict",
                "_source": {"includes": [DOCUMENT, PLACES]},
                "properties": {
                    "event_id": {"type": "keyword"},
                    "starts_at_us": {"type": "long"},
                    DOCUMENT: {"type": "object", "enabled": False},
                    PLACES: {"type": "object", "enabled": False},
                    **{field.value: {"type": "keyword", "doc_values": False} for field in Field},
                },
            },
        },
    }


def meta(*, filled: bool) -> dict[str, Any]:
    """The part of an index's mapping that says whether it was filled, and how."""
    return {"_meta": {"filled": filled, "format": FORMAT}}


def indexed(document: EventDocument) -> dict[str, Any]:
    """A document as it is indexed: its terms, and the whole of it to be given back."""
    terms = event_terms(document)
    return {
        "event_id": document.event_id,
        "starts_at_us": start_that_counts(document),
        DOCUMENT: msgspec.to_builtins(document),
        PLACES: terms.places,
        Field.WORDS: terms.words,
        Field.PREFIXES: terms.prefixes,
        Field.JOINED: terms.joined,
        Field.OTHERS: terms.others,
        Field.FLAGS: flags(document),
    }


def as_query(plan: SearchPlan) -> dict[str, Any]:
    """The plan in Elasticsearch's query language. Every part has a constant score, so the score is the plan's
    sum of points.
    """
    return {
        "bool": {
            "must": [_expression(part) for part in plan.required],
            "should": [_preferred(part) for part in plan.preferred],
        }
    }


_document, _places = converter(EventDocument), converter(Places)


def as_candidate(hit: Mapping[str, Any]) -> Candidate:
    """One of the hits of a search."""
    source = hit["_source"]
    return Candidate(
        round(hit["_score"]),
        _document(source[DOCUMENT]),
        _places(source[PLACES]),
    )


def _expression(part: Expression) -> dict[str, Any]:
    if isinstance(part, Term):
        return _term(part)
    parts = [_expression(one) for one in part.parts]
    if isinstance(part, AllOf):
        return {"bool": {"must": parts}}
    return {"bool": {"should": parts, "minimum_should_match": 1}}


def _preferred(part: Term | Within) -> dict[str, Any]:
    if isinstance(part, Term):
        return _term(part)
    return _constant({"range": {"starts_at_us": {"gte": part.from_us, "lte": part.until_us}}}, part.points)


def _term(part: Term) -> dict[str, Any]:
    return _constant(_spelt(part), part.points)


def _spelt(part: Term) -> dict[str, Any]:
    if part.typo is Typo.ANY:
        near = {"value": part.text, "fuzziness": 1, "transpositions": True, "max_expansions": _MAX_SPELLINGS}
        return {"fuzzy": {part.field.value: near}}
    if part.typo is Typo.LETTER_LEFT_OUT:
        return {
            "regexp": {
                part.field.value: {
                    "value": "|".join(spellings_with_letter_left_out(part.text)),
                    "flags": "NONE",
                }
            }
        }
    return {"term": {part.field.value: part.text}}


def _constant(found: Mapping[str, Any], points: int) -> dict[str, Any]:
    return {"constant_score": {"filter": found, "boost": points}}
