"""Marking what a search found in a text, safely: the text is escaped, then the ranges are marked. Not here:
finding them.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from exchange_platform.api.event_models import Highlight


def marked(text: str, highlights: Iterable[Highlight], field: str) -> Markup:
    """The text as HTML with `<mark>` around the field's ranges; ranges that overlap are one, what lies
    outside the text is left out.
    """
    parts = [Markup()]
    at = 0
    for start, end in sorted((mark.start, mark.end) for mark in highlights if mark.field == field):
        start, end = max(start, at), min(end, len(text))
        if start < end:
            parts += [escape(text[at:start]), Markup("<mark>{}</mark>").format(text[start:end])]
            at = end
    parts.append(escape(text[at:]))
    return Markup().join(parts)
