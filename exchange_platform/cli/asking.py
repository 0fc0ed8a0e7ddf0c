"""The commands that ask: `status`, `sql`, `doctor`. Not here: the answers (status.py, lake/lake.py,
doctor/findings.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exchange_platform.cli import output
from exchange_platform.cli.arguments import Format
from exchange_platform.process.visible_text import visible
from exchange_platform.settings import Settings


def show_status(settings: Settings, *, as_json: bool) -> int:
    """Print the status; 0 if there is a platform to tell of. Raises `NoPlatform` and `StoreUnavailable`."""
    from exchange_platform.operations.status import StatusReader

    reader = StatusReader(settings)
    try:
        status = reader.read_when_caught_up() if as_json else reader.read()
    finally:
        reader.close()
    if as_json:
        output.print_json(status)
    else:
        from rich.console import Console

        from exchange_platform.local.display import status_view

        Console(width=None if Console().is_terminal else 160).print(status_view(status))
    return 0


def show_query(settings: Settings, sql: str, format_: Format) -> int:
    """Print what the lake answers. Raises `QueryError` and `StoreUnavailable`."""
    from exchange_platform.stores.lake import Lake

    lake = Lake.from_settings(settings, read_only=True)
    try:
        table = lake.query(sql)
    finally:
        lake.close()
    columns = [str(name) for name in table.column_names]
    match format_:
        case Format.CSV:
            output.print_rows_csv(columns, _rows(table))
        case Format.JSON:
            output.print_rows_json(columns, _rows(table))
        case Format.TABLE:
            output.print_rows_table(columns, _rows(table), table.num_rows)
    return 0


def show_diagnosis(settings: Settings, *, as_json: bool) -> int:
    """Print every check's finding; 1 if something is wrong."""
    from exchange_platform.doctor.diagnosis import diagnose
    from exchange_platform.doctor.findings import Level

    findings = []
    signs = {Level.FINE: "[green]ok  [/]", Level.NOTE: "[yellow]note[/]", Level.WRONG: "[red]WRONG[/]"}
    if as_json:
        findings = list(diagnose(settings))
        output.print_json({"well": all(one.level is not Level.WRONG for one in findings), "checks": findings})
    else:
        from rich.console import Console
        from rich.markup import escape

        console = Console(highlight=False, soft_wrap=True)
        for one in diagnose(settings):
            findings.append(one)
            console.print(f"{signs[one.level]} [bold]{one.part}[/]: {escape(visible(one.found))}")
            if one.remedy:
                console.print(f"      -> {escape(visible(one.remedy))}")
    return int(any(one.level is Level.WRONG for one in findings))


def _rows(table: Any) -> Iterator[tuple[Any, ...]]:
    for batch in table.to_batches(max_chunksize=10_000):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
