"""Nothing that comes from elsewhere steers a terminal: escape sequences are written out wherever text is
printed.
"""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from exchange_platform.cli import run
from exchange_platform.cli.output import say_line
from exchange_platform.local.screen import Screen
from exchange_platform.process.visible_text import one_visible_line, visible

ESCAPES = "\x1b[31mred\x1b]0;owned\x07\x9b2J\u202egpj.exe"


@given(st.text())
def test_visible_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    assert all(char.isprintable() or char in "\n\t" for char in visible(text))
    assert one_visible_line(text, 80).isprintable()
    assert len(one_visible_line(text, 80)) <= 80


def test_what_is_printable_stays_as_it_is() -> None:
    assert visible("Beroe Stara Zagora – 北京 £1.50\n\t[bold]") == "Beroe Stara Zagora – 北京 £1.50\n\t[bold]"
    assert visible("\x1b[31m") == "\\x1b[31m"


def test_a_message_of_the_live_screen_is_visible_text(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.say(f"the feed says {ESCAPES}")
    screen.warn(f"the feed says {ESCAPES}")
    screen.show_log("gateway", [ESCAPES])
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert "\\x1b[31mred" in text
        assert all(char.isprintable() or char == "\n" for char in text)


def test_a_line_of_replay_is_visible_text_and_no_markup() -> None:
    out = io.StringIO()
    say_line(Console(file=out, force_terminal=True, color_system=None, width=200), f"[red]{ESCAPES}")
    assert "[red]\\x1b[31mred" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_an_error_that_quotes_what_was_typed_is_visible_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([f"nonsense{ESCAPES}"]) != 0
    shown = capsys.readouterr().err
    assert shown
    assert all(char.isprintable() or char == "\n" for char in shown)
