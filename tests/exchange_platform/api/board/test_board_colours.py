"""The board's colours, light and dark, can be read: text on what it stands on has a contrast of 4.5 or more
(WCAG 2.2, AA).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import exchange_platform.api

_CSS = (Path(exchange_platform.api.__file__).parent / "static" / "board" / "base.css").read_text()
_LIGHT, _BY_SYSTEM, _DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r"color-scheme: (?:light|dark);(.*?)\}", _CSS, re.DOTALL)
)
PAIRS = [
    *(
        (text, ground)
        for text in ("text", "muted", "accent")
        for ground in ("bg", "surface", "sunken", "hover", "price")
    ),
    ("live", "live-bg"),
    ("live", "surface"),
    ("warning", "warning-bg"),
    ("over", "over-bg"),
    ("text", "mark"),
    ("on-accent", "accent"),
    ("up", "price"),
    ("down", "price"),
    ("surface", "text"),
    ("muted", "over-bg"),
]
LINES = [(line, "surface") for line in ("average", "vwap")]


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colours", [_LIGHT, _DARK], ids=["light", "dark"])
def test_text_can_be_read(colours: dict[str, str]) -> None:
    weak = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in PAIRS}
    assert not {pair: ratio for pair, ratio in weak.items() if ratio < 4.5}


@pytest.mark.parametrize("colours", [_LIGHT, _DARK], ids=["light", "dark"])
def test_lines_of_charts_can_be_seen(colours: dict[str, str]) -> None:
    assert all(contrast(colours[line], colours[ground]) >= 3 for line, ground in LINES)


def test_dark_is_the_same_whether_the_system_or_the_reader_asks_for_it() -> None:
    assert _BY_SYSTEM == _DARK
    assert _DARK.keys() == _LIGHT.keys()
