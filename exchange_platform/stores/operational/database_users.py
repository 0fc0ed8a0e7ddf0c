"""The users of the databases: each kind of task has its own, which may do what such a task does and no more.
Their tables live in schema.py.

| user | on MySQL | on the lake's PostgreSQL catalog | |---|---|---| | exchange_migrator | changes the schema,
grants what it may do itself | owns the tables | | exchange_platform | reads and writes rows | reads and
writes rows, makes the tables that DuckLake keeps small rows in | | exchange_api | reads rows, and writes
those of customers, their money and their bets | reads rows | | lake_reader | is not there | reads rows |

Dagster's user (`dagster_user`) owns Dagster's database on PostgreSQL, and reaches nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from sqlalchemy.exc import DBAPIError

from exchange_platform.settings import InvalidSettings, Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.credentials import unavailable
from exchange_platform.stores.operational.consumers.lost_spans import lost_spans
from exchange_platform.stores.operational.database import (
    Database,
    checkpoints,
    consumers,
    dead_letters,
    metadata,
    restatements,
    source_epochs,
)
from exchange_platform.stores.operational.purge_rounds import purge_rounds
from exchange_platform.stores.operational.tables.accounts import accounts
from exchange_platform.stores.operational.tables.events import events, markets, selections
from exchange_platform.stores.operational.tables.mails import mails
from exchange_platform.stores.operational.tables.security import api_tokens, security_events
from exchange_platform.stores.operational.tables.wallets import submissions

log = logging.getLogger(__name__)

MIGRATOR, PLATFORM, API, READER = "exchange_migrator", "exchange_platform", "exchange_api", "lake_reader"
_ROWS = "SELECT, INSERT, UPDATE, DELETE"
_SCHEMA = f"{_ROWS}, CREATE, ALTER, DROP, INDEX, REFERENCES, CREATE TEMPORARY TABLES, LOCK TABLES"
_ONLY_READ_BY_THE_API = frozenset(
    {
        source_epochs,
        consumers,
        checkpoints,
        dead_letters,
        restatements,
        events,
        markets,
        selections,
        lost_spans,
        purge_rounds,
        api_tokens,
        security_events,
    }
)
"""What consumers, housekeeping and operators write. The API adds rows to the log of security events, and
notes when a token was last used.
"""
_SMALL_ROWS = "ducklake\\_inlined\\_data\\_%\\_%"
"""The tables that DuckLake makes as it writes: one for each of its own whose rows are too few for a file.
They are the writers'.
"""
_OF_CUSTOMERS = (accounts, mails, submissions)
"""One table of each other module that defines some: importing them is what makes `metadata` whole."""


def make_users(settings: Settings) -> list[str]:
    """Make the users whose passwords are set, as the administrators that the settings name; give them these
    passwords and their rights. Idempotent.

    Returns their names, with the server. Raises `InvalidSettings` where no password is set, and
    `StoreUnavailable`.
    """
    passwords = _passwords(settings)
    if not passwords:
        raise InvalidSettings(
            "no user's password is set: database_migrator_password, database_platform_password, database_api_password, lake_reader_password"
        )
    made: list[str] = []
    if settings.database_url is not None:
        made += _make_on_mysql(settings, {name: one for name, one in passwords.items() if name != READER})
    kind, _, place = settings.lake_catalog_string.partition(":")
    if kind == "postgres":
        made += _make_on_postgresql(settings, place, passwords)
    return made


def grant_to_users(database: Database) -> None:
    """Let the users do what they may in every table that there is by now: `migrate` does so after it changed
    the schema, as its owner.
    """
    if database.is_sqlite:
        return
    with _translated("operational database"), database.engine.begin() as connection:
        there = {str(row[0]) for row in connection.exec_driver_sql("SHOW TABLES")}
        for statement in _rights(str(database.engine.url.database), there):
            connection.exec_driver_sql(statement)


def _passwords(settings: Settings) -> dict[str, str]:
    set_ = {
        MIGRATOR: settings.database_migrator_password,
        PLATFORM: settings.database_platform_password,
        API: settings.database_api_password,
        READER: settings.lake_reader_password,
    }
    return {name: one.get_secret_value() for name, one in set_.items() if one is not None}


# --- MySQL


def _rights(schema: str, there: set[str]) -> Iterator[str]:
    """The grants in a schema with these tables."""
    yield f"GRANT {_ROWS} ON `{schema}`.* TO '{PLATFORM}'@'%%'"
    yield f"GRANT SELECT ON `{schema}`.* TO '{API}'@'%%'"
    for table in metadata.sorted_tables:
        if table.name in there and table not in _ONLY_READ_BY_THE_API:
            yield f"GRANT {_ROWS} ON `{schema}`.`{table.name}` TO '{API}'@'%%'"
    if security_events.name in there:
        yield f"GRANT INSERT ON `{schema}`.`{security_events.name}` TO '{API}'@'%%'"
    if api_tokens.name in there:
        used = api_tokens.c.last_used_at_us.name
        yield f"GRANT UPDATE (`{used}`) ON `{schema}`.`{api_tokens.name}` TO '{API}'@'%%'"


def _make_on_mysql(settings: Settings, passwords: dict[str, str]) -> list[str]:
    database = Database(settings.operational_database_url)
    if database.is_sqlite:
        return []
    schema = str(database.engine.url.database)
    # Errors never show parameters, the passwords.
    engine = database.engine
    engine.hide_parameters = True
    try:
        with _translated("operational database"), engine.begin() as connection:
            for name, password in passwords.items():
                for verb in ("CREATE USER IF NOT EXISTS", "ALTER USER"):
                    connection.exec_driver_sql(f"{verb} '{name}'@'%%' IDENTIFIED BY %s", (password,))
            if MIGRATOR in passwords:
                connection.exec_driver_sql(
                    f"GRANT {_SCHEMA} ON `{schema}`.* TO '{MIGRATOR}'@'%%' WITH GRANT OPTION"
                )
        if {PLATFORM, API} <= passwords.keys():
            grant_to_users(database)
    finally:
        database.dispose()
    return [f"{name} on MySQL" for name in passwords]


# --- PostgreSQL


def _make_on_postgresql(settings: Settings, place: str, passwords: dict[str, str]) -> list[str]:
    if find_spec("psycopg2") is None:
        raise StoreUnavailable("lake catalog: psycopg2 is not installed here (the extra `dagster`)")
    with _translated("lake catalog"), _connected(place) as server:
        for name, password in passwords.items():
            server.make_role(name, password)
        server.share_lake(passwords.keys())
        made = list(passwords)
        if settings.dagster_host is not None and settings.dagster_password is not None:
            if server.administrator == settings.dagster_user:
                log.info("Dagster's database stays its administrator's: dagster_user is the administrator")
            else:
                server.make_role(settings.dagster_user, settings.dagster_password.get_secret_value())
                server.own_database(settings.dagster_database, settings.dagster_user)
                made.append(settings.dagster_user)
    if settings.dagster_user in made:
        with _translated("dagster's database"), _connected(place, settings.dagster_database) as server:
            server.own_everything(settings.dagster_user)
    return [f"{name} on PostgreSQL" for name in made]


class _Server:
    """A PostgreSQL server, by an administrator's connection to one of its databases; each statement is done
    by itself.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.administrator, self._database = self._rows("SELECT current_user, current_database()")[0]

    def make_role(self, name: str, password: str) -> None:
        """Make the role, and give it the password: as its hash, since statements are logged. The
        administrator may act for it.
        """
        from psycopg2.extensions import encrypt_password  # type: ignore[import-untyped]

        if not self._rows("SELECT 1 FROM pg_roles WHERE rolname = %s", name):
            self._do("CREATE ROLE {} LOGIN", name)
        hashed = encrypt_password(password, name, scope=self._connection, algorithm="scram-sha-256")
        self._do("ALTER ROLE {} LOGIN PASSWORD %s", name, given=hashed)
        self._do("GRANT {} TO CURRENT_USER", name)

    def share_lake(self, users: Any) -> None:
        """Give the tables to their owner, and let the others use them."""
        self._do("REVOKE ALL ON DATABASE {} FROM PUBLIC", self._database)
        self._do("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        for name in users:
            self._do("GRANT CONNECT ON DATABASE {} TO {}", self._database, name)
            self._do("GRANT USAGE ON SCHEMA public TO {}", name)
            if name in (MIGRATOR, PLATFORM):  # DuckDB updates rows by way of temporary tables
                self._do("GRANT TEMPORARY ON DATABASE {} TO {}", self._database, name)
        if MIGRATOR not in users:
            return
        makers = [name for name in (MIGRATOR, PLATFORM) if name in users]
        for maker in makers:
            self._do("GRANT CREATE ON SCHEMA public TO {}", maker)
        if PLATFORM in users:
            self.own_everything(PLATFORM, like=_SMALL_ROWS)
        self.own_everything(MIGRATOR)
        for name, rights in ((MIGRATOR, _ROWS), (PLATFORM, _ROWS), (API, "SELECT"), (READER, "SELECT")):
            if name not in users:
                continue
            self._do(f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {{}}", name)
            for maker in makers:
                self._do(
                    f"ALTER DEFAULT PRIVILEGES FOR ROLE {{}} IN SCHEMA public GRANT {rights} ON TABLES TO {{}}",
                    maker,
                    name,
                )
            if rights == "SELECT":
                self._do("ALTER ROLE {} SET default_transaction_read_only = on", name)

    def own_database(self, name: str, owner: str) -> None:
        """Let the role own the database, which is made where it is not there; nobody else connects."""
        if self._rows("SELECT 1 FROM pg_database WHERE datname = %s", name):
            self._do("ALTER DATABASE {} OWNER TO {}", name, owner)
        else:
            self._do("CREATE DATABASE {} OWNER {}", name, owner)
        self._do("REVOKE ALL ON DATABASE {} FROM PUBLIC", name)

    def own_everything(self, owner: str, *, like: str = "%") -> None:
        """Give the role the tables, views and free sequences of such names that the administrator
        made here.
        """
        mine = (
            "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner = current_user::regrole AND relname LIKE %s"
            " AND (relkind IN ('r', 'p', 'v') OR (relkind = 'S' AND NOT EXISTS"
            " (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i') AND refobjsubid > 0)))"
        )
        kinds = {"S": "SEQUENCE", "v": "VIEW"}
        for name, kind in self._rows(mine, like):
            self._do(f"ALTER {kinds.get(kind, 'TABLE')} {{}} OWNER TO {{}}", name, owner)

    def _do(self, statement: str, *names: str, given: str | None = None) -> None:
        from psycopg2 import sql  # type: ignore[import-untyped]

        with self._connection.cursor() as cursor:
            cursor.execute(
                sql.SQL(statement).format(*map(sql.Identifier, names)), None if given is None else (given,)
            )

    def _rows(self, query: str, *given: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, given or None)
            return list(cursor.fetchall())


@contextmanager
def _connected(place: str, database: str | None = None) -> Iterator[_Server]:
    import psycopg2

    connection = psycopg2.connect(place, **({} if database is None else {"dbname": database}))
    connection.autocommit = True
    try:
        yield _Server(connection)
    finally:
        connection.close()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn drivers' errors into `StoreUnavailable`; they hold no password, as statements are not shown."""
    try:
        yield
    except DBAPIError as error:
        raise unavailable(f"{what}: {str(error.orig).strip()}", error.orig) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "psycopg2":
            raise
        raise unavailable(f"{what}: {str(error).strip()}", error) from None
