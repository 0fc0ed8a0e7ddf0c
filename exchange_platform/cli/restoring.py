"""The command `restore-lake`: what it says. What it does is restoring.py's."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import typer

from exchange_platform.cli import output
from exchange_platform.local.running import data_dir_held, is_running
from exchange_platform.operations.restoring import RestoredRows, restore_lake, set_aside
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.data_files import CATALOG, examinations
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake.files import LakeDamaged
from exchange_platform.stores.lake.losses import LakeLoss, LossState
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.sqlite_files import FileCondition
from exchange_platform.streams.engine.source import Source
from exchange_platform.streams.sources.kinesis import KinesisSource
from exchange_platform.streams.sources.names import EXCHANGE_BETS

_EXAMINED_S = 60.0
"""How long the catalog's file is examined at most."""
_MARKETS_SHOWN = 20


class StopFirst(Exception):
    """The lake's catalog can't be made again under a running platform."""


def restore(settings: Settings, *, accept: bool, even_all: bool, as_json: bool) -> int:
    """Restore the lake and say what was done; 1 if rows are missing still. Raises what `restore_lake` does,
    and `StopFirst`.
    """
    _set_aside_if_needed(settings)
    source = _stream(settings)
    database = Database(settings.operational_database_url)
    try:
        restored = restore_lake(
            settings,
            database,
            source,
            accept=accept,
            even_all=even_all,
            say=lambda text: print(text, file=sys.stderr),
        )
    finally:
        database.dispose()
        if source is not None:
            source.close()
    if as_json:
        output.print_json({"complete": restored.complete, **_fields(restored)})
    else:
        _show(restored)
    return 0 if restored.complete else 1


def _set_aside_if_needed(settings: Settings) -> None:
    damage = _catalog_damage(settings)
    if damage is None:
        return
    if is_running(settings.data_dir):
        raise StopFirst(f"{damage}. Stop the platform that runs here first (Ctrl-C in its terminal)")
    with data_dir_held(settings.data_dir):
        print(f"Set aside as {set_aside(settings, datetime.now(UTC))}", file=sys.stderr)


def _catalog_damage(settings: Settings) -> str | None:
    """What is wrong with the catalog; None where it is whole. A page that no query here reads may be damaged
    too.
    """
    if settings.lake_catalog is None:
        for _, _, fault in examinations(settings.data_dir, _EXAMINED_S, (CATALOG,)):
            if fault is not None and fault.state.condition is FileCondition.DAMAGED:
                return fault.found
    lake = Lake.from_settings(settings, read_only=True)
    try:
        lake.connection.files()
    except LakeDamaged as damage:
        return None if damage.files else str(damage)
    finally:
        lake.close()
    return None


def _stream(settings: Settings) -> Source | None:
    if settings.database_url is None and settings.aws_endpoint_url is None:
        return None
    return KinesisSource(aws_client(settings, "kinesis"), settings.bets_stream, name=EXCHANGE_BETS)


def _fields(restored: RestoredRows) -> dict[str, object]:
    return {
        "taken_out": [file.path for loss in restored.taken_out for file in loss.files],
        "added": restored.added,
        "windows_opened": restored.windows,
        "losses": restored.losses,
        "not_asked": restored.not_asked,
        "unreadable": restored.unreadable,
    }


def _show(restored: RestoredRows) -> None:
    if not restored.losses and not restored.added:
        typer.echo("The lake is whole: every file was read.")
        return
    for loss in restored.taken_out:
        typer.echo(f"Taken out: {', '.join(file.path for file in loss.files)} ({loss.files[0].reason})")
    for origin, rows in restored.added.items():
        typer.echo(f"{rows:,} rows were added from {origin}")
    if restored.windows:
        typer.echo(f"{restored.windows:,} windows are open again: the consumer closes them")
    for loss in restored.losses:
        _show_loss(loss)
    for said in (*restored.not_asked, *restored.unreadable):
        typer.echo(f"Not asked or not readable: {said}")


def _show_loss(loss: LakeLoss) -> None:
    if loss.state is LossState.RESTORED:
        typer.echo(f"Restored: all {loss.rows:,} rows of {loss.table} {loss.span}")
        return
    what = "Accepted as lost" if loss.state is LossState.ACCEPTED else "Missing"
    typer.echo(f"{what}: {loss.missing_rows:,} of {loss.rows:,} rows of {loss.table} {loss.span}")
    for market, rows in sorted(loss.missing.items(), key=lambda one: -one[1])[:_MARKETS_SHOWN]:
        typer.echo(f"  market {market}: {rows:,}")
    if len(loss.missing) > _MARKETS_SHOWN:
        typer.echo(f"  and {len(loss.missing) - _MARKETS_SHOWN:,} more markets (--json names all)")
    if loss.state is LossState.OPEN:
        typer.echo(
            "  `replay` an archive of these markets, or put a whole copy of the file where it was taken to, and run this again;"
            " --accept decides to go on without them"
        )
