"""Each kind of task logs in to the databases as a user of its own, which can do that task's work and nothing
else. Against MariaDB and PostgreSQL.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg2  # type: ignore[import-untyped]
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.exc import DBAPIError

from exchange_platform.api.app import create_app
from exchange_platform.local.emulator.server import provision
from exchange_platform.settings import InvalidSettings, Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.dagster_database import dagster_answers
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake import losses as lake_losses
from exchange_platform.stores.operational.database import Database, metadata
from exchange_platform.stores.operational.database_users import API, MIGRATOR, PLATFORM, READER, make_users
from exchange_platform.stores.schema import migrate, schema_revisions
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.betting import add_account, add_event, add_market
from tests.support.platform_parts import consume_all, encoded, publish
from tests.support.postgres_parts import Postgres
from tests.support.workload import matched_pairs

pytestmark = pytest.mark.servers
DAGSTER = "exchange_dagster"
TOKEN = "a-token-of-an-application-000000"
BET = {
    "account_id": "a1",
    "market_id": "m1",
    "selection_id": 1,
    "side": "back",
    "odds": "3",
    "currency": "GBP",
    "stake_minor": 1000,
}


@dataclass(frozen=True)
class World:
    """Servers with the separate users on them, schemas made by the migrator."""

    admin: Settings
    passwords: dict[str, str]
    mysql: sa.URL
    postgres: Postgres
    lake: str

    def settings(self, user: str, lake_user: str | None = None) -> Settings:
        """Those of a task that logs in as this user."""
        reader = lake_user or user
        return self.admin.model_copy(
            update=Settings(
                database_url=self._url(user),
                lake_catalog=f"{self._place} user={reader} password='{self.passwords[reader]}'",
                database_separate_users=user == MIGRATOR,
            ).model_dump(include={"database_url", "lake_catalog", "database_separate_users"})
            | {"dagster_host": None}
        )

    def database(self, user: str) -> Database:
        return Database(self._url(user))

    def _url(self, user: str) -> str:
        return self.mysql.set(username=user, password=self.passwords[user]).render_as_string(
            hide_password=False
        )

    @property
    def _place(self) -> str:
        return f"postgres:host={self.postgres.host} port={self.postgres.port} dbname={self.lake}"

    def log_in(self, user: str, database: str | None = None) -> None:
        """To PostgreSQL."""
        psycopg2.connect(
            host=self.postgres.host,
            port=self.postgres.port,
            user=user,
            password=self.passwords[user],
            dbname=database or self.lake,
        ).close()


@pytest.fixture
def world(mysql_url: str, postgres: Postgres, settings: Settings) -> Iterator[World]:
    passwords = {
        user: f"%s{secrets.token_urlsafe(16)}" for user in (MIGRATOR, PLATFORM, API, READER, DAGSTER)
    }
    lake = postgres.new_database()
    admin = settings.model_copy(
        update=Settings(
            database_url=mysql_url,
            lake_catalog=postgres.catalog(lake),
            api_tokens=TOKEN,
            database_migrator_password=passwords[MIGRATOR],
            database_platform_password=passwords[PLATFORM],
            database_api_password=passwords[API],
            lake_reader_password=passwords[READER],
            dagster_host=postgres.host,
            dagster_port=int(postgres.port),
            dagster_user=DAGSTER,
            dagster_password=passwords[DAGSTER],
            dagster_database=f"{lake}_dagster",
        ).model_dump(exclude_unset=True)
    )
    made = World(admin, passwords, sa.make_url(mysql_url), postgres, lake)
    yield made
    with sa.create_engine(mysql_url, poolclass=sa.NullPool).begin() as connection:
        for user in (MIGRATOR, PLATFORM, API):
            connection.exec_driver_sql(f"DROP USER IF EXISTS '{user}'@'%%'")


@pytest.fixture
def ready(world: World) -> World:
    """The users made, twice; then the schemas, by the migrator, twice."""
    for _ in range(2):
        assert len(make_users(world.admin)) == 8
        migrate(world.settings(MIGRATOR))
    provision(world.admin)
    return world


def refused(database: Database, *statements: str) -> None:
    for statement in statements:
        with pytest.raises(DBAPIError, match=r"(?i)denied"), database.engine.begin() as connection:
            connection.exec_driver_sql(statement)


def test_tasks_do_their_work_as_their_users(ready: World) -> None:
    platform, api = ready.settings(PLATFORM), ready.settings(API)
    published = list(matched_pairs(50))
    consume_all(platform, publish(platform, encoded(published)))
    with closing(Lake.from_settings(platform)) as lake:
        for _ in range(2):
            lake.maintain(keep_snapshots="0 seconds")
        lake_losses.keep_sightings(lake._connection, {}, [])
        counted = lake.query("SELECT count(*) AS n FROM executions").to_pylist()
    for user in (API, READER):
        with closing(Lake.from_settings(ready.settings(API, user), read_only=True)) as lake:
            assert lake.query("SELECT count(*) AS n FROM executions").to_pylist() == counted
    owner = ready.database(PLATFORM)
    add_event(owner)
    add_market(owner)
    add_account(owner, funds_minor=10_000)
    _work_as_the_api(api)
    assert dagster_answers(ready.admin)
    assert schema_revisions(ready.database(API))[0] == schema_revisions(ready.database(API))[1]
    owner.dispose()


def _work_as_the_api(settings: Settings) -> None:
    """All that applications and users do that writes a row."""
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        registered = client.post("/accounts", json={"email": "ann@exchange.example", "display_name": "Ann"})
        assert registered.status_code == 202, registered.text
        account = registered.json()["account_id"]
        placed = client.post("/bets", json=BET, headers={"Idempotency-Key": "k1"})
        assert placed.status_code in {200, 201, 202}, placed.text
        deleted = client.delete(f"/bets/{placed.json()['bet']['bet_id']}", headers={"Idempotency-Key": "k2"})
        assert deleted.status_code in {200, 202, 409}, deleted.text
        for kind in ("deposits", "withdrawals"):
            moved = client.post(
                f"/accounts/a1/{kind}",
                json={"amount_minor": 100, "currency": "GBP", "authorised_by": "a test"},
                headers={"Idempotency-Key": kind},
            )
            assert moved.status_code in {200, 201}, moved.text
        for path in (
            "/health",
            "/events",
            "/accounts/a1/wallet",
            f"/accounts/{account}",
            "/accounts/a1/bets",
        ):
            assert client.get(path).status_code == 200, path
        refused = client.get("/accounts/a1/wallet", headers={"Authorization": "Bearer nobody's"})
        assert refused.status_code == 401
        assert client.post("/confirm", data={"code": "none"}).status_code < 500
        assert client.post(f"/accounts/{account}/close").status_code == 200


def test_no_user_but_the_migrator_changes_the_schema_or_gives_rights(ready: World) -> None:
    for user in (PLATFORM, API):
        database = ready.database(user)
        refused(
            database,
            "CREATE TABLE pwned (a INT)",
            "ALTER TABLE bets ADD COLUMN pwned INT",
            "DROP TABLE bets",
            "CREATE INDEX pwned ON bets (status)",
            "TRUNCATE TABLE ledger",
            f"GRANT SELECT ON {ready.mysql.database}.* TO '{API}'@'%%'",
            "CREATE USER 'pwned'@'%%'",
            "SELECT * FROM mysql.user",
            "SELECT LOAD_FILE('/etc/passwd') FROM mysql.user",
        )
        database.dispose()
    migrator = ready.database(MIGRATOR)
    refused(migrator, "CREATE USER 'pwned'@'%%'", "SELECT * FROM mysql.user", "CREATE DATABASE pwned")
    migrator.dispose()


def test_the_api_s_user_changes_nothing_of_markets_consumers_tokens_or_the_log(ready: World) -> None:
    api = ready.database(API)
    for table in (
        *("source_epochs", "consumers", "checkpoints", "dead_letters", "restatements", "alembic_version"),
        *("events", "markets", "selections", "lost_spans", "purge_rounds", "api_tokens"),
    ):
        refused(api, f"DELETE FROM {table}")
    refused(
        api,
        "DELETE FROM security_events",
        "UPDATE security_events SET kind = 'x'",
        "UPDATE api_tokens SET scopes = 'operate'",
        "INSERT INTO api_tokens (token_id) VALUES ('x')",
    )
    with api.write() as connection:
        connection.exec_driver_sql("UPDATE api_tokens SET last_used_at_us = 1 WHERE token_id = 'none'")
    api.dispose()


def test_every_table_can_be_worked_with_by_the_platform_and_read_by_the_api(ready: World) -> None:
    platform, api = ready.database(PLATFORM), ready.database(API)
    for table in metadata.sorted_tables:
        with platform.write() as connection:
            connection.execute(sa.delete(table).where(sa.false()))
        with api.read() as connection:
            connection.execute(sa.select(sa.func.count()).select_from(table)).one()
    platform.dispose()
    api.dispose()


def test_the_lake_s_roles_do_no_more_than_they_are_for(ready: World) -> None:
    rows = ready.postgres.rows
    owners = rows(ready.lake, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == [(MIGRATOR,)]
    place = {"host": ready.postgres.host, "port": ready.postgres.port, "dbname": ready.lake}
    writes = "DELETE FROM ducklake_snapshot WHERE false"
    temporary = "CREATE TEMP TABLE own (a int)"  # DuckDB updates rows by way of one
    creates = "CREATE TABLE own (a int)"  # DuckLake keeps small rows in such
    for user, allowed in ((PLATFORM, [writes, temporary, creates]), (API, []), (READER, [])):
        with closing(psycopg2.connect(user=user, password=ready.passwords[user], **place)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute("SELECT 1 FROM ducklake_snapshot")
            cursor.execute("SET default_transaction_read_only = off")
            for statement in (
                writes,
                creates,
                "ALTER TABLE ducklake_snapshot ADD COLUMN pwned int",
                temporary,
                "DROP TABLE ducklake_snapshot",
                "TRUNCATE ducklake_snapshot",
                "CREATE ROLE pwned",
                "SELECT pg_read_file('/etc/passwd')",
                "COPY ducklake_snapshot TO PROGRAM 'true'",
            ):
                if statement in allowed:
                    cursor.execute(statement)
                    continue
                with pytest.raises(psycopg2.Error, match=r"permission denied|must be (owner|superuser)"):
                    cursor.execute(statement)
    for user, database in (
        (DAGSTER, ready.lake),
        (PLATFORM, f"{ready.lake}_dagster"),
        (READER, f"{ready.lake}_dagster"),
    ):
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            ready.log_in(user, database)


def test_a_new_password_is_taken_and_the_old_one_no_longer(ready: World) -> None:
    renewed = ready.admin.model_copy(
        update=Settings(database_platform_password="another-one").model_dump(exclude_unset=True)
    )
    make_users(renewed)
    with pytest.raises(StoreUnavailable, match="denied"), ready.database(PLATFORM).read():
        pass
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        ready.log_in(PLATFORM)
    ready.log_in(API)


def test_a_table_that_was_there_before_the_users_becomes_the_migrator_s(world: World) -> None:
    """As on an installation whose tasks were all the administrator."""
    migrate(world.admin.model_copy(update={"dagster_user": world.postgres.user, "dagster_password": None}))
    make_users(world.admin)
    migrate(world.settings(MIGRATOR))
    provision(world.admin)
    platform = world.settings(PLATFORM)
    consume_all(platform, publish(platform, encoded(list(matched_pairs(5)))))
    with closing(Lake.from_settings(platform)) as lake:
        assert lake.positions(EXCHANGE_BETS)


def test_without_any_password_nothing_is_made(settings: Settings) -> None:
    with pytest.raises(InvalidSettings, match="no user's password is set"):
        make_users(settings)


def test_an_error_of_the_server_shows_no_password(ready: World) -> None:
    """The platform's user may make nobody."""
    settings = ready.settings(PLATFORM).model_copy(
        update=Settings(database_api_password="very-secret").model_dump(exclude_unset=True)
    )
    with pytest.raises(StoreUnavailable, match="denied") as failed:
        make_users(settings)
    assert "very-secret" not in str(failed.value)
