"""The commands of `exchange-platform`, each a few calls down. Not here: what they do, and how errors are
reported.

Imports stand inside the commands, so that `--help` and `status` do not wait for what they do not use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from exchange_platform.cli import arguments
from exchange_platform.cli.arguments import AsJson, DataDir, ExchangeKind, Format
from exchange_platform.cli.dead_letters import app as dead_letters
from exchange_platform.cli.lost_spans import app as lost_spans
from exchange_platform.cli.mail import app as mail
from exchange_platform.cli.tokens import app as tokens
from exchange_platform.cli.tokens import security_events
from exchange_platform.process.docstrings import flowing

app = typer.Typer(
    name="exchange-platform",
    help="The data platform behind a sports-betting exchange, on this machine: bets, profiles and odds windows in real time.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(lost_spans, name="lost-spans")
app.add_typer(mail, name="mail")
app.add_typer(tokens, name="tokens")
app.command("security-events")(security_events)


@app.command()
def up(
    data_dir: DataDir = None,
    exchange: Annotated[
        ExchangeKind,
        typer.Option(help="The exchange to start: a simulated one, or none (then `replay` feeds it)."),
    ] = ExchangeKind.SIMULATED,
    rate: Annotated[
        float | None,
        typer.Option(
            parser=arguments.rate,
            metavar="N",
            help="Executions a second of the simulated exchange, up to 2000. (default 50)",
            show_default=False,
        ),
    ] = None,
    for_s: Annotated[
        float | None,
        typer.Option(
            "--for",
            parser=arguments.seconds,
            metavar="SECONDS",
            help="End by itself so long after data first flows, with a summary; exit status 0 only if all went well.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            parser=arguments.port,
            metavar="N",
            help="Port of the Dagster UI on 127.0.0.1. (default 3000)",
            show_default=False,
        ),
    ] = None,
    api_port: Annotated[
        int | None,
        typer.Option(
            parser=arguments.port,
            metavar="N",
            help="Port of the API on 127.0.0.1. (default 8000)",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Start everything here, in the foreground, with live status. Ctrl-C stops all of it."""
    from exchange_platform.local.up import (
        DEFAULT_API_PORT,
        DEFAULT_PORT,
        DEFAULT_RATE,
        Launch,
        run_platform,
    )
    from exchange_platform.settings import load_settings

    if rate is not None and exchange is ExchangeKind.NONE:
        raise typer.BadParameter(
            "it sets the simulated exchange's rate, and --exchange none starts none", param_hint="'--rate'"
        )
    wanted = Launch(
        simulated_exchange=exchange is ExchangeKind.SIMULATED,
        rate=DEFAULT_RATE if rate is None else rate,
        for_s=for_s,
        port=DEFAULT_PORT if port is None else port,
        api_port=DEFAULT_API_PORT if api_port is None else api_port,
    )
    return run_platform(load_settings(data_dir), wanted)


@app.command()
def replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            parser=arguments.recorded_file,
            metavar="FILE...",
            help="Recorded streams (Betfair's .bz2 history files).",
        ),
    ],
    speed: Annotated[
        float | None,
        typer.Option(
            parser=arguments.speed,
            metavar="X|max",
            help="So many times as fast as it was recorded, or as fast as can be. (default max)",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
) -> int:
    """Publish a recorded exchange stream to the running platform, as the exchange would."""
    from exchange_platform.cli.replaying import replay_files
    from exchange_platform.settings import load_settings

    return replay_files(load_settings(data_dir), files, speed)


def _codes(name: str, what: str) -> Any:
    return typer.Option(name, parser=arguments.betfair_code, metavar="ID", help=f"{what}; may be repeated.")


@app.command()
def betfair(
    market: Annotated[list[str] | None, _codes("--market", "A market, such as 1.234567890")] = None,
    event: Annotated[list[str] | None, _codes("--event", "An event")] = None,
    sport: Annotated[list[str] | None, _codes("--sport", "A sport's event type, such as 4 (cricket)")] = None,
    market_type: Annotated[
        list[str] | None, _codes("--market-type", "A type of market, such as MATCH_ODDS")
    ] = None,
    country: Annotated[list[str] | None, _codes("--country", "A country of events, such as GB")] = None,
    conflate: Annotated[
        int | None,
        typer.Option(
            parser=arguments.conflation,
            metavar="MS",
            help="Let Betfair make one of several changes of a market within so many milliseconds. (default 0)",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
) -> int:
    """Follow Betfair's live stream: publish its executions and events to the running platform until
    interrupted.
    """
    if not any((market, event, sport, market_type, country)):
        raise typer.BadParameter(
            "name what to follow: --market, --event, --sport, --market-type or --country (Betfair gives 200 markets at most)",
            param_hint="'--market'",
        )
    from exchange_platform.cli.following import follow
    from exchange_platform.exchanges.betfair.live import Subscription
    from exchange_platform.settings import load_settings

    wanted = Subscription(
        market_ids=market or (),
        event_ids=event or (),
        event_type_ids=sport or (),
        market_types=market_type or (),
        country_codes=country or (),
        conflate_ms=conflate or 0,
    )
    return follow(load_settings(data_dir), wanted)


@app.command()
def status(data_dir: DataDir = None, as_json: AsJson = False) -> int:
    """Show sources, lag, rates, checkpoints and failures. Exit status 1 if the platform has no data here."""
    from exchange_platform.cli.asking import show_status
    from exchange_platform.settings import load_settings

    return show_status(load_settings(data_dir), as_json=as_json)


@app.command()
def sql(
    query: Annotated[
        str,
        typer.Argument(
            parser=arguments.query, metavar="QUERY", help="One reading statement, in DuckDB's SQL."
        ),
    ],
    format_: Annotated[Format, typer.Option("--format", help="How to print the rows.")] = Format.TABLE,
    data_dir: DataDir = None,
) -> int:
    """Query the lake: executions, bet_history, odds_windows, odds_windows_live."""
    from exchange_platform.cli.asking import show_query
    from exchange_platform.settings import load_settings

    return show_query(load_settings(data_dir), query, format_)


@app.command()
def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> int:
    """Check every configured part; say what is wrong and how to fix it. Exit status 1 if anything is."""
    from exchange_platform.cli.asking import show_diagnosis
    from exchange_platform.settings import load_settings

    return show_diagnosis(load_settings(data_dir), as_json=as_json)


@app.command("restore-lake")
def restore_lake(
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Go on without the rows that nobody holds any more; they stay on record."
        ),
    ] = False,
    even_all: Annotated[
        bool,
        typer.Option(
            "--even-all", help="Also when all files are gone at once, which a missing disk looks like."
        ),
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Take damaged files out of the lake, put back what they held, and count what nobody holds. Exit status 1
    if rows are missing.
    """
    from exchange_platform.cli.restoring import restore
    from exchange_platform.settings import load_settings

    return restore(load_settings(data_dir), accept=accept, even_all=even_all, as_json=as_json)


@app.command()
def migrate(data_dir: DataDir = None) -> int:
    """Create or upgrade the schemas of the operational database and the lake."""
    from exchange_platform.settings import load_settings
    from exchange_platform.stores.schema import migrate as migrate_schemas

    settings = load_settings(data_dir)
    migrate_schemas(settings)
    typer.echo(
        f"The schemas are the newest: {settings.describe()['database_url'] or settings.operational_database_url}"
    )
    return 0


@app.command("database-users")
def database_users(data_dir: DataDir = None) -> int:
    """Make the databases' separate users, with their passwords and rights, as the administrators that
    DATABASE_URL and LAKE_CATALOG name.
    """
    from exchange_platform.settings import load_settings
    from exchange_platform.stores.operational.database_users import make_users

    for user in make_users(load_settings(data_dir)):
        typer.echo(f"{user} has its password and its rights")
    return 0


def _describe(commands: typer.Typer) -> None:
    """Let each command's help be its docstring, as running text."""
    for command in commands.registered_commands:
        if command.help is None and command.callback is not None and command.callback.__doc__:
            command.help = flowing(command.callback.__doc__)
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _describe(group.typer_instance)


_describe(app)
