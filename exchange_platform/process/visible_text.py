"""Text from elsewhere that a terminal must not obey: control characters and changes of direction are written
out. No markup is escaped here.
"""

from __future__ import annotations

_PLAIN = frozenset("\n\t")


def visible(text: str) -> str:
    """The text with everything that a terminal would obey (escape sequences, changes of direction) written
    out. Line breaks and tabs stay.
    """
    return "".join(
        char if char in _PLAIN or char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def one_visible_line(text: str, most: int) -> str:
    """`visible` text on one line, one space between words, at most so many characters."""
    return " ".join(visible(text).split())[:most]
