"""How answers are printed: tables, CSV, JSON, and bytes that a terminal must not obey. Not here: what is
asked.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from exchange_platform.process.visible_text import visible

MAX_TABLE_ROWS = 1000


def visible_bytes(data: bytes) -> str:
    """Bytes as text as far as they are UTF-8, the rest written out, nothing that a terminal would obey."""
    return visible(data.decode("utf-8", "backslashreplace"))


def say_line(console: Console, text: str) -> None:
    """Print one message, which may quote text from elsewhere, as it is: no markup, nothing that a terminal
    would obey.
    """
    console.print(visible(text), markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print as indented JSON. Decimals are numbers with all their digits, instants are ISO 8601 in UTC, bytes
    base64.
    """
    encoded = msgspec.json.Encoder(decimal_format="number").encode(value)
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")


def print_rows_json(columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> None:
    """Print an array of objects, a row a line."""
    encoder = msgspec.json.Encoder(decimal_format="number")
    out = sys.stdout
    out.write("[")
    separator = "\n"
    for row in rows:
        out.write(separator + encoder.encode(dict(zip(columns, row, strict=True))).decode())
        separator = ",\n"
    out.write("\n]\n" if separator != "\n" else "]\n")


def print_rows_csv(columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> None:
    """Print a header and a line a row (RFC 4180, but lines end in a line feed); nothing for NULL. On a
    terminal, nothing that it would obey.
    """
    shown = visible if sys.stdout.isatty() else str
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([shown(name) for name in columns])
    writer.writerows([shown(_plain(value)) for value in row] for row in rows)


def print_rows_table(columns: Sequence[str], rows: Iterator[tuple[Any, ...]], count: int) -> None:
    """Print a table for people: its first thousand rows, and how many more there are."""
    table = Table(header_style="bold")
    for name in columns:
        table.add_column(escape(visible(name)), overflow="fold")
    for number, row in enumerate(rows):
        if number == MAX_TABLE_ROWS:
            break
        table.add_row(*(escape(visible(_plain(value))) for value in row))
    console = Console()
    if not console.is_terminal:  # as wide as it wants to be: nothing is cut in a file or a pipe
        console = Console(
            width=max(80, console.measure(table, options=console.options.update(width=10_000)).maximum)
        )
    console.print(table)
    more = (
        f", the first {MAX_TABLE_ROWS:,} are shown (--format csv prints all)"
        if count > MAX_TABLE_ROWS
        else ""
    )
    console.print(f"{count:,} row{'' if count == 1 else 's'}{more}", style="dim", highlight=False)


def _plain(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case bytes():
            return value.hex()
        case list() | dict() | tuple():
            return msgspec.json.Encoder(decimal_format="number").encode(value).decode()
        case _:
            return str(value)
