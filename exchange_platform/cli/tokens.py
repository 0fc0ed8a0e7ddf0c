"""The commands `tokens create|list|revoke` and `security-events`. What a token is: api_tokens.py."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from exchange_platform.cli import arguments
from exchange_platform.cli.arguments import AsJson, DataDir
from exchange_platform.domain.api_tokens import MAX_LIFE_S, MIN_LIFE_S, Scope

app = typer.Typer(
    help="Tokens of the applications that call the API: make, list and revoke them.", no_args_is_help=True
)

_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_DEFAULT_LIFE = "365d"


def lifetime(text: str) -> int:
    """How long a token lasts, in seconds."""
    found = re.fullmatch(r"([0-9]{1,6})([hdw])", text, re.ASCII)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not MIN_LIFE_S <= seconds <= MAX_LIFE_S:
        raise typer.BadParameter(
            f"{text!r} is not possible; allowed is 1h to {MAX_LIFE_S // 86_400}d: a number with h, d or w (hours, days, weeks)"
        )
    return seconds


def digest(text: str) -> bytes:
    """The SHA-256 of a token that was drawn elsewhere."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text, re.ASCII):
        raise typer.BadParameter("a SHA-256 is 64 hexadecimal digits")
    return bytes.fromhex(text)


def _kind(text: str) -> str:
    from exchange_platform.stores.operational.accounts.security_events import SecurityKind

    if text not in set(SecurityKind):
        raise typer.BadParameter(f"{text[:80]!r} is no kind of event; allowed are {', '.join(SecurityKind)}")
    return text


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The application's name.")],
    scope: Annotated[
        list[Scope], typer.Option("--scope", help="What it may do; give it once for each scope.")
    ],
    account: Annotated[
        list[str] | None,
        typer.Option(
            "--account",
            metavar="ID",
            help="An account that it may act for, besides those that it registers; give it once for each.",
            show_default=False,
        ),
    ] = None,
    all_accounts: Annotated[
        bool, typer.Option("--all-accounts", help="It may act for every account.")
    ] = False,
    expires_in: Annotated[
        int | None,
        typer.Option(
            "--expires-in",
            parser=lifetime,
            metavar="90d",
            help=f"How long it lasts: hours, days or weeks. (default {_DEFAULT_LIFE})",
            show_default=False,
        ),
    ] = None,
    sha256: Annotated[
        bytes | None,
        typer.Option(
            "--sha256",
            parser=digest,
            metavar="HEX",
            help="Keep the hash of a token that was drawn elsewhere (256 random bits as text) and print none: for"
            " where what is printed is logged.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Make a token for an application and print it, once: only its hash is kept. An application may have
    several.
    """
    from exchange_platform.cli.applications import create_token
    from exchange_platform.domain.api_tokens import digest_of, draw_token
    from exchange_platform.settings import load_settings
    from exchange_platform.stores.operational.accounts.api_tokens import NewToken

    token = draw_token() if sha256 is None else None
    wanted = NewToken(
        application=name,
        sha256=digest_of(token) if token is not None else sha256 or b"",
        scopes=frozenset(scope),
        all_accounts=all_accounts,
        account_ids=frozenset(account or ()),
        lasts_s=expires_in or lifetime(_DEFAULT_LIFE),
    )
    return create_token(load_settings(data_dir), wanted, token, as_json=as_json)


@app.command("list")
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> int:
    """List the tokens: what each may do, until when, and when it was used last. No secret is shown, and none
    is kept.
    """
    from exchange_platform.cli.applications import show_tokens
    from exchange_platform.settings import load_settings

    return show_tokens(load_settings(data_dir), as_json=as_json)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The application's name.")],
    token: Annotated[
        list[str] | None,
        typer.Option(
            "--token",
            metavar="ID",
            help="Only this token of it, by the id that `tokens list` shows; give it once for each.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Revoke an application's tokens, or some of them: within two seconds no process of the API lets
    them in.
    """
    from exchange_platform.cli.applications import revoke_tokens
    from exchange_platform.settings import load_settings

    return revoke_tokens(load_settings(data_dir), name, token or [], as_json=as_json)


def security_events(
    limit: Annotated[
        int | None,
        typer.Option(
            parser=arguments.count,
            metavar="N",
            help="The newest so many. (default 50)",
            show_default=False,
        ),
    ] = None,
    application: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only of this application.", show_default=False),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(parser=_kind, metavar="KIND", help="Only of this kind.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Show the log of security events: who was let in and refused, money, limits, closings, tokens made and
    revoked.
    """
    from exchange_platform.cli.applications import show_events
    from exchange_platform.settings import load_settings
    from exchange_platform.stores.operational.accounts.security_events import SecurityKind, WantedEvents

    wanted = WantedEvents(application, SecurityKind(kind) if kind is not None else None)
    return show_events(load_settings(data_dir), wanted, limit or 50, as_json=as_json)
