"""The derivation rule once more, written to be unlike the platform's: plain JSON, dictionaries, fractions,
one flat state.

It shares nothing with exchange_platform, so that a mistake there is not repeated here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple


class Trade(NamedTuple):
    market: str
    selection: int
    handicap: Fraction
    odds: Fraction
    stake: Fraction
    at_ms: int


def derive(lines: Iterable[bytes]) -> tuple[list[Trade], int]:
    """Every execution in order, and the number of restatements."""
    known: dict[tuple[Any, ...], Fraction] = {}
    trades: list[Trade] = []
    restated = 0
    for line in lines:
        message: dict[str, Any] = json.loads(line, parse_float=Fraction)
        for change in message.get("mc", []):
            market, image = change["id"], change.get("img", False)
            if image:
                known = {place: size for place, size in known.items() if place[0] != market}
            for runner in change.get("rc", []):
                who = (market, runner["id"], Fraction(runner.get("hc", 0)))
                entries = [(Fraction(odds), Fraction(size)) for odds, size in runner.get("trd", [])]
                growth = [size - known.get((*who, odds), Fraction(0)) for odds, size in entries]
                known.update({(*who, odds): size for odds, size in entries})
                if image:
                    continue
                if [1 for grown in growth if grown < 0]:
                    restated += 1
                    continue
                for (odds, _), grown in zip(entries, growth, strict=True):
                    if grown:
                        trades.append(Trade(*who, odds, grown / 2, message["pt"]))
    return trades, restated
