"""Docstrings as texts for people: a paragraph flows, whatever the width of the source is."""

from __future__ import annotations

import inspect
import re

_INSIDE_A_PARAGRAPH = re.compile(r"(?<!\n)\n(?!\n)")


def flowing(docstring: str) -> str:
    """The docstring without the source's indentation and the line breaks inside its paragraphs."""
    return _INSIDE_A_PARAGRAPH.sub(" ", inspect.cleandoc(docstring))
