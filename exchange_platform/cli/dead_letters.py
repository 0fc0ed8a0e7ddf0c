"""The commands `dead-letters list|show|replay`. Not here: what a dead letter is
(consumers/dead_letters.py).
"""

from __future__ import annotations

from typing import Annotated

import typer

from exchange_platform.cli import arguments
from exchange_platform.cli.arguments import AsJson, DataDir

app = typer.Typer(
    help="Records that could not be decoded or applied: list them, look at one, replay them.",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    data_dir: DataDir = None,
    limit: Annotated[
        int | None,
        typer.Option(
            parser=arguments.count,
            metavar="N",
            help="How many, newest first. (default 100)",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that were replayed, too.")] = False,
    as_json: AsJson = False,
) -> int:
    """List dead letters, newest first."""
    from exchange_platform.cli.letters import show_list
    from exchange_platform.settings import load_settings

    return show_list(
        load_settings(data_dir), 100 if limit is None else limit, waiting_only=not everything, as_json=as_json
    )


@app.command()
def show(
    dead_letter_id: Annotated[
        int, typer.Argument(parser=arguments.dead_letter_id, metavar="ID", help="As `list` shows it.")
    ],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Show one dead letter: where it was, why it is dead, its bytes."""
    from exchange_platform.cli.letters import show_one
    from exchange_platform.settings import load_settings

    return show_one(load_settings(data_dir), dead_letter_id, as_json=as_json)


@app.command()
def replay(
    dead_letter_ids: Annotated[
        list[int] | None,
        typer.Argument(parser=arguments.dead_letter_id, metavar="ID...", help="Which; or --all."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that were not replayed yet.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Apply dead letters again, for instance after the decoder was fixed. What is still refused stays."""
    if everything == bool(dead_letter_ids):
        raise typer.BadParameter(
            "name the dead letters to replay by their ids, or say --all (not both)", param_hint="ID"
        )
    from exchange_platform.cli.letters import replay_letters
    from exchange_platform.settings import load_settings

    return replay_letters(load_settings(data_dir), dead_letter_ids or None, as_json=as_json)
