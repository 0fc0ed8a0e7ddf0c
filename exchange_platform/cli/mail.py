"""The commands `mail`, `mail show` and `mail preview`. Not here: what they print (mails.py), or writing the
mails (mail/senders/files.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exchange_platform.cli import arguments
from exchange_platform.cli.arguments import AsJson, DataDir

app = typer.Typer(
    help="Mails that the embedded sender wrote: list them, look at one; see every kind of mail."
)


@app.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    data_dir: DataDir = None,
    limit: Annotated[
        int | None,
        typer.Option(
            parser=arguments.count,
            metavar="N",
            help="How many, newest first. (default 20)",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """List the mails that were sent, newest first."""
    if context.invoked_subcommand is not None:
        return 0
    from exchange_platform.cli.mails import show_list
    from exchange_platform.settings import load_settings

    return show_list(load_settings(data_dir), 20 if limit is None else limit, as_json=as_json)


@app.command()
def show(
    mail_id: Annotated[
        str, typer.Argument(metavar="ID", help="As the list shows it; its beginning will do.")
    ],
    data_dir: DataDir = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the mail's HTML there, to be opened in a browser."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show one mail: its headers and its text."""
    from exchange_platform.cli.mails import show_one
    from exchange_platform.settings import load_settings

    return show_one(load_settings(data_dir), mail_id, html=html, as_json=as_json)


@app.command()
def preview(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where to. (default: mail-preview in the data directory)", show_default=False
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Write every kind of mail with sample data, as HTML and text, with a page that shows them all."""
    from exchange_platform.cli.mails import write_preview
    from exchange_platform.settings import load_settings

    return write_preview(load_settings(data_dir), out, as_json=as_json)
