"""Identifiers that the platform draws for bets, orders and transfers. Not here: those of others, such as
submission ids.

One is a letter, eleven characters of time and ten of chance, so that ids sort as they were drawn, are unique
without asking anybody, and are never numbers alone.
"""

from __future__ import annotations

import secrets
from typing import Protocol

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: without i, l, o, u
_TIME_LENGTH, _CHANCE_LENGTH = 11, 10


class DrawId(Protocol):
    """Draws an identifier that nobody else draws."""

    def __call__(self, letter: str, now_us: int) -> str:
        """An id that begins with `letter` and sorts by `now_us`."""
        ...


def draw_id(letter: str, now_us: int) -> str:
    """Draw an id: the letter, microseconds since 1970 in base 32, and 50 random bits. 22 characters."""
    return letter + _base32(now_us, _TIME_LENGTH) + _base32(secrets.randbits(50), _CHANCE_LENGTH)


def _base32(number: int, length: int) -> str:
    characters = []
    for _ in range(length):
        number, place = divmod(number, 32)
        characters.append(_ALPHABET[place])
    return "".join(reversed(characters))
