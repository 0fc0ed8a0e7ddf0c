"""What a check of a part finds. Not here: the checks (diagnosis.py and its neighbours)."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How a part is."""

    FINE = "fine"
    NOTE = "note"
    WRONG = "wrong"


class Finding(msgspec.Struct, frozen=True):
    """What a check found of a part, and what to do about it (empty: nothing)."""

    part: str
    level: Level
    found: str
    remedy: str = ""
