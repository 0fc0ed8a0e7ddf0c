"""The commands `lost-spans list|acknowledge|read-again`. What a lost span is: stores/lost_spans.py."""

from __future__ import annotations

from typing import Annotated

import typer

from exchange_platform.cli import arguments
from exchange_platform.cli.arguments import AsJson, DataDir

app = typer.Typer(
    help="Spans of a source that were gone before they were read: list them, acknowledge them, read a shard again.",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    data_dir: DataDir = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Those that were acknowledged, too: the newest 1,000.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """List lost spans, newest first."""
    from exchange_platform.cli.spans import show_list
    from exchange_platform.settings import load_settings

    return show_list(load_settings(data_dir), standing_only=not everything, as_json=as_json)


@app.command()
def acknowledge(
    span_ids: Annotated[
        list[int] | None,
        typer.Argument(parser=arguments.span_id, metavar="ID...", help="Which; or --all."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that stand.")] = False,
    note: Annotated[
        str | None,
        typer.Option(
            parser=arguments.note, metavar="TEXT", help="What was done about it.", show_default=False
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Take note of lost spans, once the exchange has published them again or nothing more can be done."""
    if everything == bool(span_ids):
        raise typer.BadParameter("name the lost spans by their ids, or say --all (not both)", param_hint="ID")
    from exchange_platform.cli.spans import acknowledge_spans
    from exchange_platform.settings import load_settings

    return acknowledge_spans(load_settings(data_dir), span_ids or None, note or "", as_json=as_json)


@app.command("read-again")
def read_again(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The source, such as exchange-bets.")],
    shard: Annotated[
        str, typer.Argument(metavar="SHARD", help="The shard's whole name, as `status --json` has it.")
    ],
    data_dir: DataDir = None,
) -> int:
    """Give up a position that the source refuses: read the shard from the oldest record that it holds.
    Repeats change nothing.
    """
    from exchange_platform.cli.spans import read_shard_again
    from exchange_platform.settings import load_settings

    return read_shard_again(load_settings(data_dir), source, shard)
