"""Odds have the ladder's decimals, money three figures, found words marks, whatever the text holds."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from exchange_platform.api.board.marks import marked
from exchange_platform.api.event_models import Highlight
from exchange_platform.api.rendering.formats import instant_attribute, instant_text, money_text, odds_text
from exchange_platform.domain.odds import CLASSIC


@pytest.mark.parametrize(
    ("odds", "text"),
    [
        ("1.01", "1.01"),
        ("2.5", "2.50"),
        ("3.95", "3.95"),
        ("4", "4.0"),
        ("9.8", "9.8"),
        ("19.5", "19.5"),
        ("20", "20"),
        ("1000", "1000"),
        ("2.436", "2.44"),
    ],
)
def test_odds_have_the_decimals_of_the_ladder(odds: str, text: str) -> None:
    assert odds_text(Decimal(odds)) == text


def test_odds_on_the_ladder_are_written_exactly() -> None:
    assert [Decimal(odds_text(odds)) for odds in CLASSIC] == list(CLASSIC)


def test_no_odds_are_a_dash() -> None:
    assert odds_text(None) == "–"


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (0, "GBP", "£0"),
        (84_049, "GBP", "£840"),
        (123_450, "EUR", "€1.23k"),
        (500_000, "GBP", "£5k"),
        (1_234_500, "GBP", "£12.3k"),
        (12_345_000, "USD", "$123k"),
        (125_000_000, "GBP", "£1.25m"),
        (999_999_999_999, "GBP", "£10bn"),
        (1_500, "JPY", "¥1.5k"),
        (1_500, "SEK", "15 SEK"),
        (1_500, "XYZ", "1500 XYZ"),
    ],
)
def test_money_is_short_and_in_its_currency(minor: int, currency: str, text: str) -> None:
    assert money_text(minor, currency) == text


def test_instants_are_written_in_utc() -> None:
    instant = datetime(2026, 11, 25, 1, 5, tzinfo=timezone(timedelta(hours=2)))
    assert instant_text(instant) == "24 Nov 2026, 23:05 UTC"
    assert instant_attribute(instant) == "2026-11-24T23:05:00Z"


@pytest.mark.parametrize(
    ("ranges", "html"),
    [
        ([], "a&lt;b&gt; &amp; c"),
        ([(0, 1)], "<mark>a</mark>&lt;b&gt; &amp; c"),
        ([(1, 4), (2, 6)], "a<mark>&lt;b&gt;</mark><mark> &amp;</mark> c"),
        ([(7, 99), (-3, 1)], "<mark>a</mark>&lt;b&gt; &amp; <mark>c</mark>"),
        ([(3, 3), (5, 2)], "a&lt;b&gt; &amp; c"),
    ],
)
def test_a_text_is_escaped_and_its_ranges_marked(ranges: list[tuple[int, int]], html: str) -> None:
    highlights = [Highlight(field="name", start=start, end=end) for start, end in ranges]
    highlights.append(Highlight(field="competition", start=0, end=5))
    assert str(marked("a<b> & c", highlights, "name")) == html
