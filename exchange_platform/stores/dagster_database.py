"""The PostgreSQL database of Dagster's own storage: where it is, and making it. Not here: its tables, which
Dagster makes itself.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from exchange_platform.settings import Settings
from exchange_platform.settings.locations import postgres_security
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.credentials import unavailable

log = logging.getLogger(__name__)

_SERVERS_OWN = "postgres"
"""A database that every PostgreSQL server has: where one connects to make others."""


def dagster_database(settings: Settings) -> URL | None:
    """Dagster's database, with its password: never print it. None where Dagster keeps its storage in
    files.
    """
    if settings.dagster_host is None:
        return None
    password = settings.dagster_password
    return URL.create(
        "postgresql+psycopg2",
        username=settings.dagster_user,
        password=password.get_secret_value() if password is not None else None,
        host=settings.dagster_host,
        port=settings.dagster_port,
        database=settings.dagster_database,
        query=postgres_security(
            settings.dagster_host, tls=settings.database_tls, ca_file=settings.database_authority
        ),
    )


def ensure_dagster_database(settings: Settings) -> None:
    """Create Dagster's database unless it is there, or there is to be none. Raises `StoreUnavailable`.

    An installation without Dagster (and so without its driver) leaves it to one that has it.
    """
    url = dagster_database(settings)
    if url is None:
        return
    if find_spec("psycopg2") is None:
        log.warning(
            "Dagster's database is not looked at: psycopg2 is not installed here (the extra `dagster`)"
        )
        return
    engine = sa.create_engine(
        url.set(database=_SERVERS_OWN), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    known = sa.text("SELECT 1 FROM pg_database WHERE datname = :name")
    try:
        with engine.connect() as connection:
            if connection.execute(known, {"name": url.database}).first() is None:
                name = engine.dialect.identifier_preparer.quote(str(url.database))
                connection.execute(sa.text(f"CREATE DATABASE {name}"))
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) in ("42P04", "23505"):  # another process was faster
            return
        raise unavailable(f"dagster's database: {str(error.orig).strip()}", error.orig) from None


def dagster_answers(settings: Settings) -> str | None:
    """The server's version, once Dagster's database has answered; None where there is none. Raises
    `StoreUnavailable`.
    """
    url = dagster_database(settings)
    if url is None:
        return None
    if find_spec("psycopg2") is None:
        raise StoreUnavailable("dagster's database: psycopg2 is not installed here (the extra `dagster`)")
    try:
        with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
            return str(connection.execute(sa.text("SHOW server_version")).scalar_one())
    except DBAPIError as error:
        raise unavailable(f"dagster's database: {str(error.orig).strip()}", error.orig) from None
