"""A PostgreSQL server for tests, with databases of a test's own on it. Not here: what is kept in them."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

_VARIABLE = "EXCHANGE_PLATFORM_TEST_POSTGRES"


@dataclass(frozen=True)
class Postgres:
    """Where it is, and who may make databases there without a password."""

    host: str
    port: str
    user: str

    @classmethod
    def of_environment(cls) -> Postgres:
        """The one that the environment names, as libpq writes it: `host=... port=... user=...`. Skips the
        test where there is none.
        """
        place = os.environ.get(_VARIABLE)
        if not place:
            pytest.skip(f"no PostgreSQL: {_VARIABLE} is not set (.ci/run starts one)")
        return cls(**dict(pair.split("=", 1) for pair in place.split()))

    def new_database(self) -> str:
        """Make a database of its own; its name."""
        name = f"test_{uuid.uuid4().hex}"
        self._do(f"CREATE DATABASE {name}")
        return name

    def give_password(self, user: str, password: str, *, owns: str) -> None:
        """Make that user, if there is none, the owner of a database, with this password from now on."""
        self._do(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}')"
            f" THEN CREATE ROLE {user} LOGIN; END IF; END $$"
        )
        self._do(f"ALTER ROLE {user} PASSWORD '{password}'")
        self._do(f"ALTER DATABASE {owns} OWNER TO {user}")

    def reader(self, database: str, *, password: str) -> str:
        """The setting `lake_read_catalog`: a role that can only SELECT, as docs/deployment.md has it made."""
        role = f"reader_{uuid.uuid4().hex[:12]}"
        self._do(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        for statement in (
            f"GRANT CONNECT ON DATABASE {database} TO {role}",
            f"REVOKE CREATE, TEMPORARY ON DATABASE {database} FROM PUBLIC",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            f"GRANT USAGE ON SCHEMA public TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role}",
            f"ALTER ROLE {role} SET default_transaction_read_only = on",
        ):
            self._do(statement, database)
        return f"postgres:host={self.host} port={self.port} user={role} password={password} dbname={database}"

    def rows(self, database: str, query: str) -> list[tuple[object, ...]]:
        """What a database answers."""
        engine = sa.create_engine(self._url(database), poolclass=sa.NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def _url(self, database: str) -> sa.URL:
        return sa.URL.create(
            "postgresql+psycopg2", self.user, host=self.host, port=int(self.port), database=database
        )

    def _do(self, statement: str, database: str = "postgres") -> None:
        engine = sa.create_engine(self._url(database), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def catalog(self, database: str) -> str:
        """The setting `lake_catalog` of a lake whose catalog is that database."""
        return f"postgres:host={self.host} port={self.port} user={self.user} dbname={database}"
