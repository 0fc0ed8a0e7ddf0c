"""A database's password becomes another while processes run that know the old one: they notice, and those
that are restarted go on.

MariaDB and PostgreSQL are installed and started by CI (.ci/run).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from pydantic import SecretStr

from exchange_platform.api.app import create_app
from exchange_platform.api.lambda_handler import Function
from exchange_platform.operations import passwords
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.settings.section import PREFIX
from exchange_platform.stores.checkpoints import CredentialsRefused
from exchange_platform.stores.dagster_database import dagster_answers
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.schema import migrate
from tests.deployments.api_gateway import through_gateway
from tests.support.postgres_parts import Postgres

pytestmark = pytest.mark.servers
GUARDED = "with_a_password"
"""The one user whom CI's PostgreSQL asks for a password."""
OLD, NEW = "an-old-password", "a-new-password"


@dataclass
class User:
    """A user of MariaDB with a database; whoever administers the server changes the password and ends its
    connections.
    """

    server: sa.Engine
    account: str
    """With the host that the server sees, as its statements name it."""
    url: str
    """Without the password."""

    def change_password(self, password: str) -> None:
        with self.server.begin() as connection:
            connection.exec_driver_sql(f"ALTER USER {self.account} IDENTIFIED BY '{password}'")
            connection.exec_driver_sql(f"KILL USER {self.account}")


@pytest.fixture
def user(mysql_url: str) -> Iterator[User]:
    server = sa.create_engine(mysql_url, poolclass=sa.NullPool)
    name = f"u{uuid.uuid4().hex[:12]}"
    url = server.url._replace(username=name, password=None)
    with server.begin() as connection:
        seen = connection.exec_driver_sql("SELECT SUBSTRING_INDEX(USER(), '@', -1)").scalar_one()
        account = f"'{name}'@'{seen}'"
        connection.exec_driver_sql(f"CREATE USER {account} IDENTIFIED BY '{OLD}'")
        connection.exec_driver_sql(f"GRANT ALL ON {url.database}.* TO {account}")
    yield User(server, account, url.render_as_string())
    with server.begin() as connection:
        connection.exec_driver_sql(f"DROP USER {account}")


@pytest.fixture
def with_old(settings: Settings, user: User) -> Settings:
    """Settings with the user's database, made, and the password that is to be changed."""
    own = settings.model_copy(
        update={"database_url": SecretStr(user.url), "database_password": SecretStr(OLD)}
    )
    migrate(own)
    return own


def with_new(settings: Settings) -> Settings:
    return settings.model_copy(update={"database_password": SecretStr(NEW)})


def test_a_container_s_health_check_tells_a_refused_password_from_other_trouble(
    with_old: Settings, user: User
) -> None:
    assert passwords.refusals(with_old) == []
    user.change_password(NEW)
    (refusal,) = passwords.refusals(with_old)
    assert refusal.startswith("operational database: ")
    assert OLD not in refusal
    assert passwords.refusals(with_new(with_old)) == []
    away = sa.make_url(user.url)._replace(port=1).render_as_string()
    assert passwords.refusals(with_old.model_copy(update={"database_url": SecretStr(away)})) == []


def test_the_api_says_that_it_is_not_healthy_and_one_that_is_started_anew_is(
    with_old: Settings, user: User
) -> None:
    with TestClient(create_app(with_old), raise_server_exceptions=False) as client:
        assert client.get("/health").status_code == 200
        user.change_password(NEW)
        assert client.get("/health").status_code == 503
        assert client.get("/health").json()["code"] == "credentials_refused"
    with TestClient(create_app(with_new(with_old))) as client:
        assert client.get("/health").status_code == 200


def test_a_function_reads_the_new_password_after_the_event_at_which_the_old_was_refused(
    with_old: Settings, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"a-database/{uuid.uuid4().hex}"
    with closing(aws_client(with_old, "secretsmanager")) as secrets:
        secrets.create_secret(Name=secret, SecretString=OLD)
        for name, text in {
            "AWS_ENDPOINT_URL": str(with_old.aws_endpoint_url),
            "DATA_DIR": str(with_old.data_dir),
            "DATABASE_URL": user.url,
            "DATABASE_PASSWORD_SECRET": secret,
        }.items():
            monkeypatch.setenv(PREFIX + name, text)
        with closing(Function()) as function, through_gateway(function) as client:
            assert client.get("/health").status_code == 200
            user.change_password(NEW)
            secrets.put_secret_value(SecretId=secret, SecretString=NEW)
            assert client.get("/health").status_code == 503
            assert client.get("/health").status_code == 200


def test_a_refused_password_of_the_catalog_and_of_dagster_s_database_is_noticed(
    postgres: Postgres, settings: Settings
) -> None:
    database = postgres.new_database()
    guarded = replace(postgres, user=GUARDED)
    postgres.give_password(GUARDED, OLD, owns=database)
    own = settings.model_copy(
        update={
            "lake_catalog": SecretStr(guarded.catalog(database)),
            "lake_catalog_password": SecretStr(OLD),
            "dagster_host": postgres.host,
            "dagster_port": int(postgres.port),
            "dagster_user": GUARDED,
            "dagster_password": SecretStr(OLD),
            "dagster_database": database,
        }
    )
    with closing(Lake.from_settings(own)) as lake:
        lake.migrate()
    assert passwords.refusals(own) == []
    postgres.give_password(GUARDED, NEW, owns=database)
    told = passwords.refusals(own)
    if not told:
        pytest.skip("this PostgreSQL asks nobody for a password (the one that .ci/run starts does)")
    assert [refusal.partition(":")[0] for refusal in told] == ["dagster's database", "lake catalog"]
    assert not any(OLD in refusal for refusal in told)
    with closing(Lake.from_settings(own, read_only=True)) as lake, pytest.raises(CredentialsRefused):
        lake.counts()
    with pytest.raises(CredentialsRefused):
        dagster_answers(own)
