"""Small recordings made in tests."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from exchange_platform.exchanges.betfair.messages import decode_line
from exchange_platform.exchanges.betfair.volumes import Derived, VolumeLadders

START_MS = 1_650_392_673_420


RAW = "@"
"""Marks text that becomes a bare number, digits and all."""


def rc(selection: int, trd: Sequence[tuple[str, str]], hc: str | None = None) -> dict[str, Any]:
    """A selection's change, its numbers as written."""
    change: dict[str, Any] = {"id": selection, "trd": [[RAW + odds, RAW + size] for odds, size in trd]}
    return change if hc is None else change | {"hc": RAW + hc}


def definition(status: str, event: str | None = "31389771", **runners: str) -> dict[str, Any]:
    """A market's definition; runners as `r7="ACTIVE"`."""
    made: dict[str, Any] = {
        "status": status,
        "runners": [{"id": int(name[1:]), "status": state} for name, state in runners.items()],
    }
    return made if event is None else made | {"eventId": event}


def line(ms: int, *changes: dict[str, Any], market: str = "1.2", **of_market: Any) -> bytes:
    """A message of one market, `ms` milliseconds after the start."""
    change = {"id": market, "rc": list(changes), **of_market}
    text = json.dumps({"op": "mcm", "pt": START_MS + ms, "clk": "A", "mc": [change]})
    return re.sub(f'"{RAW}([^"]*)"', r"\1", text).encode()


def derive(lines: Sequence[bytes]) -> list[Derived]:
    """What each line yields."""
    ladders = VolumeLadders()
    messages = [decode_line(each) for each in lines]
    return [ladders.apply(message, n) for n, message in enumerate(messages, 1) if message is not None]


def write(path: Path, lines: Sequence[bytes]) -> Path:
    """A plain recording."""
    path.write_bytes(b"".join(each + b"\n" for each in lines))
    return path


def total(derived: Sequence[Derived]) -> Decimal:
    """All stakes together."""
    return sum((e.stake for each in derived for e in each.executions), Decimal(0))
