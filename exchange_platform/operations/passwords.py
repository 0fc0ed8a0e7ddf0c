"""`python -m exchange_platform.operations.passwords`: whether the databases take the passwords that this
container was started with, for its health check.

A secret that was rotated reaches a task of ECS when it is restarted; one that is unhealthy, ECS replaces. So
the exit status is 1 where a database refuses the password, and 0 in all other trouble, which a restart would
not end. Not here: the services' own health.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import sqlalchemy as sa
from sqlalchemy.engine import URL

from exchange_platform.settings import InvalidSettings, Settings, load_settings
from exchange_platform.stores.credentials import refuses
from exchange_platform.stores.dagster_database import dagster_database

TIMEOUT_S = 3
"""For each database: a health check as a whole has ten seconds."""


def refusals(settings: Settings) -> list[str]:
    """What each database says that refuses the password which these settings hold. Those that can't be
    reached say nothing.
    """
    found: list[str] = []
    for name, connect in _logins(settings):
        try:
            connect()
        except Exception as error:
            cause = getattr(error, "orig", None) or error
            if refuses(cause):
                found.append(f"{name}: {cause}".strip())
    return found


def _logins(settings: Settings) -> Iterator[tuple[str, Callable[[], None]]]:
    """Each database that asks for a password, and how to log in to it."""
    if settings.database_url is not None:
        yield "operational database", lambda: _log_in(sa.make_url(settings.operational_database_url))
    if find_spec("psycopg2") is None:
        return
    dagster = dagster_database(settings)
    if dagster is not None:
        yield "dagster's database", lambda: _log_in(dagster)
    for catalog in dict.fromkeys((settings.lake_catalog_string, settings.lake_read_catalog_string)):
        kind, _, place = catalog.partition(":")
        if kind == "postgres":
            yield "lake catalog", partial(_log_in_to_catalog, place)


def _log_in(url: URL) -> None:
    if url.get_backend_name() == "sqlite":
        return
    engine = sa.create_engine(url, connect_args={"connect_timeout": TIMEOUT_S}, poolclass=sa.NullPool)
    engine.connect().close()


def _log_in_to_catalog(place: str) -> None:
    import psycopg2  # type: ignore[import-untyped]  # installed where Dagster is

    psycopg2.connect(place, connect_timeout=TIMEOUT_S).close()


def main() -> int:
    """Try each; the exit status is 1 if one refuses."""
    try:
        found = refusals(load_settings())
    except InvalidSettings as error:
        print(f"passwords: {error}", file=sys.stderr)
        return 2
    for refusal in found:
        print(refusal, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
