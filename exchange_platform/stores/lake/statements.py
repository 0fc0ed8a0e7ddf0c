"""Finding the query inside an EXPLAIN, and making the columns of a PIVOT explicit, by DuckDB's own tokens.
Whether the query is allowed is fence.py's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

_OPTIONS = {"analyze", "format", "json", "text", "html", "graphviz", "yaml", "verbose", "true", "false", ","}
_PIVOTS = {"pivot", "pivot_wider"}
_EXPLICIT = b"\n IN ('x') "
"""On a line of its own: a remark may stand before it."""
_AFTER_COLUMNS = {"using", "group", "order", "limit", "union", "intersect", "except", ";", ","}


@dataclass(frozen=True, slots=True)
class _Token:
    start: int
    """In bytes of UTF-8."""
    text: str
    """In lower case, without what follows it."""


def explained(sql: str) -> str | None:
    """What an EXPLAIN explains; None where the text is none."""
    tokens = _tokens(sql)
    if not tokens or tokens[0].text != "explain":
        return None
    at = 1
    while at < len(tokens) and tokens[at].text in ("analyze", "verbose"):
        at += 1
    if at < len(tokens) and tokens[at].text == "(":
        closing = next((n for n in range(at, len(tokens)) if tokens[n].text == ")"), at)
        if closing > at + 1 and all(token.text in _OPTIONS for token in tokens[at + 1 : closing]):
            at = closing + 1
    return sql.encode()[tokens[at].start :].decode() if at < len(tokens) else None


def with_explicit_columns(sql: str) -> str | None:
    """The text with `IN ('x')` behind each expression that a PIVOT is ON, so that DuckDB parses it as one
    query; None without a PIVOT.

    Every other token stays as it is: what the result may read, the text may read.
    """
    tokens, text = _tokens(sql), sql.encode()
    places = {
        place
        for at, token in enumerate(tokens)
        if token.text in _PIVOTS
        for place in _ends(tokens, at, len(text))
    }
    if not places:
        return None
    bounds = [0, *sorted(places), len(text)]
    parts = [text[start:end] for start, end in itertools.pairwise(bounds)]
    return _EXPLICIT.join(parts).decode()


def _ends(tokens: list[_Token], at: int, length: int) -> Iterator[int]:
    """Where each expression ends that the PIVOT at that token is ON, but for those that have an IN
    already.
    """
    depth, on, has_in = 0, False, False
    for token in tokens[at + 1 :]:
        if depth == 0 and on and (token.text == ")" or token.text in _AFTER_COLUMNS):
            if not has_in:
                yield token.start
            has_in = False
            if token.text != ",":
                return
        elif depth == 0 and token.text == ")":
            return
        elif depth == 0 and token.text == "on":
            on = True
        elif depth == 0 and on and token.text == "in":
            has_in = True
        depth += (token.text in "([{") - (token.text in ")]}")
    if on and not has_in:
        yield length


def _tokens(sql: str) -> list[_Token]:
    """DuckDB's tokens; it leaves remarks out."""
    text = sql.encode()
    starts = [start for start, _ in duckdb.tokenize(sql)]
    ends = [*starts[1:], len(text)]
    return [
        _Token(start, _word(text[start:end].decode(errors="replace")))
        for start, end in zip(starts, ends, strict=True)
    ]


def _word(text: str) -> str:
    """A token's text without the spaces and comments behind it."""
    first = text.split(maxsplit=1)[0] if text.strip() else text
    return first.partition("--")[0].partition("/*")[0].lower() or first.lower()
