"""What may be typed: arguments checked and read, each refusal saying what is allowed. Not here: what they are
for.
"""

from __future__ import annotations

import math
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

MAX_RATE = 2000.0
MAX_NOTE = 500


class ExchangeKind(StrEnum):
    """Which exchange `up` starts."""

    SIMULATED = "simulated"
    NONE = "none"


class Format(StrEnum):
    """How the answer to a query is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise typer.BadParameter(f"{text!r} is not a number")
    return value


def rate(text: str) -> float:
    """Executions a second of the simulated exchange."""
    value = _number(text)
    if not 0 < value <= MAX_RATE:
        raise typer.BadParameter(f"{text} executions a second; allowed is more than 0, up to {MAX_RATE:g}")
    return value


def seconds(text: str) -> float:
    """A duration, in seconds."""
    value = _number(text)
    if not 1 <= value <= 7 * 86400:
        raise typer.BadParameter(f"{text} seconds; allowed is 1 to {7 * 86400} (a week)")
    return value


def port(text: str) -> int:
    """A TCP port."""
    if not re.fullmatch(r"\d{1,9}", text) or not 1 <= int(text) <= 65535:
        raise typer.BadParameter(f"{text!r} is not a port; allowed is 1 to 65535")
    return int(text)


def speed(text: str) -> float | None:
    """How many times faster than it was recorded; None is as fast as can be."""
    if text.lower() == "max":
        return None
    try:
        value = _number(text)
    except typer.BadParameter:
        value = 0.0
    if not 0 < value <= 1_000_000:
        raise typer.BadParameter(
            f"{text!r} is not a speed; allowed is 'max' or a number more than 0 (1 is as it happened, up to 1000000)"
        )
    return value


def count(text: str) -> int:
    """How many to show."""
    if not re.fullmatch(r"\d{1,9}", text) or not 1 <= int(text) <= 100_000:
        raise typer.BadParameter(f"{text!r} is not a number of rows; allowed is 1 to 100000")
    return int(text)


def conflation(text: str) -> int:
    """Milliseconds in which several changes of a market may become one."""
    if not re.fullmatch(r"\d{1,9}", text) or int(text) > 120_000:
        raise typer.BadParameter(f"{text!r} is not possible; allowed is 0 to 120000 milliseconds")
    return int(text)


def betfair_code(text: str) -> str:
    """One of Betfair's ids or codes, such as 1.234567890, 4, MATCH_ODDS or GB."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", text):
        raise typer.BadParameter(
            f"{text!r} is none of Betfair's ids or codes; they have letters, digits, '.', '_' and '-'"
        )
    return text


def dead_letter_id(text: str) -> int:
    """A dead letter's number."""
    if not re.fullmatch(r"\d{1,18}", text) or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is not a dead letter's id; `dead-letters list` shows them")
    return int(text)


def span_id(text: str) -> int:
    """A lost span's number."""
    if not re.fullmatch(r"\d{1,18}", text) or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is not a lost span's id; `lost-spans list` shows them")
    return int(text)


def note(text: str) -> str:
    """What somebody writes down, in a few words."""
    if not 1 <= len(text) <= MAX_NOTE or not text.isprintable():
        raise typer.BadParameter(f"allowed is one line of 1 to {MAX_NOTE} characters")
    return text


def query(text: str) -> str:
    """A query, as text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("it is no UTF-8 text") from None
    return text


def recorded_file(text: str) -> Path:
    """A file that is there and can be read."""
    path = Path(text)
    if path.is_dir():
        raise typer.BadParameter(f"{text} is a directory; a recorded stream is a file")
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise typer.BadParameter(f"{text}: {(error.strerror or str(error)).lower()}") from None


def data_dir(text: str) -> Path:
    """A directory, or a place where one can be made."""
    if not text.strip():
        raise typer.BadParameter("the name is empty; name a directory")
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise typer.BadParameter(f"{text} is a file; name a directory")
    return path


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        parser=data_dir,
        metavar="DIR",
        help="Where the platform keeps everything. (default .exchange-platform, or EXCHANGE_PLATFORM_DATA_DIR)",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON (stable, documented in docs/cli.md).")]
