"""Dagster's storage on PostgreSQL keeps its connections, whoever makes an instance, and does without one that
the server closed.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from deployments.dagster_storage import KEPT
from tests.support.postgres_parts import Postgres

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
FILES = [DEPLOYMENTS / "aws" / "dagster.yaml", DEPLOYMENTS / "docker" / "dagster.yaml"]
QUESTIONS = 30


@pytest.fixture
def database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a database that Dagster's instance is told of as on AWS."""
    name = postgres.new_database()
    for variable, value in {
        "HOST": postgres.host,
        "PORT": postgres.port,
        "USER": postgres.user,
        "PASSWORD": "trusted",
        "DATABASE": name,
    }.items():
        monkeypatch.setenv(f"EXCHANGE_PLATFORM_DAGSTER_{variable}", value)
    return name


@pytest.fixture
def home(tmp_path: Path) -> str:
    """A directory with the storage of AWS's dagster.yaml, and nothing else of it."""
    storage = yaml.safe_load(FILES[0].read_text())["storage"]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"storage": storage}))
    return str(tmp_path)


@pytest.mark.servers
def test_questions_and_instances_share_a_few_connections(
    postgres: Postgres, database: str, home: str
) -> None:
    _ask(home)  # makes the tables
    before = _opened(postgres, database)
    for _ in range(QUESTIONS):
        _ask(home)
    assert _opened(postgres, database) - before <= KEPT
    assert _open(postgres, database) <= KEPT


@pytest.mark.servers
def test_a_connection_that_the_server_closed_fails_no_question(
    postgres: Postgres, database: str, home: str
) -> None:
    for _ in range(3):
        _ask(home)
        with _server(postgres).connect() as connection:
            end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = :name"
            assert connection.execute(sa.text(end), {"name": database}).scalar_one() >= 1


@pytest.mark.servers
def test_the_webserver_may_have_pools_of_its_own(database: str, home: str) -> None:
    with dg.DagsterInstance.from_config(home) as instance:
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
        assert instance.get_runs() == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_both_deployments_keep_their_connections(file: Path) -> None:
    storage = yaml.safe_load(file.read_text())["storage"]["custom"]
    assert (storage["module"], storage["class"]) == ("deployments.dagster_storage", "PooledPostgresStorage")


def _ask(home: str) -> None:
    """What a sensor's tick does: an instance of its own, and questions to each part of the storage."""
    with dg.DagsterInstance.from_config(home) as instance:
        assert instance.get_runs() == []
        assert instance.get_asset_keys() == []
        assert instance.all_instigator_state() == []


def _server(postgres: Postgres) -> sa.Engine:
    url = f"postgresql+psycopg2://{postgres.user}@{postgres.host}:{postgres.port}/postgres"
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)


def _opened(postgres: Postgres, database: str) -> int:
    """Sessions of the database since it was made, those that are over and those that are not."""
    with _server(postgres).connect() as connection:
        connection.execute(sa.text("SELECT pg_stat_clear_snapshot()"))
        count = "SELECT sessions FROM pg_stat_database WHERE datname = :name"
        return int(connection.execute(sa.text(count), {"name": database}).scalar_one())


def _open(postgres: Postgres, database: str) -> int:
    with _server(postgres).connect() as connection:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = :name"
        return int(connection.execute(sa.text(count), {"name": database}).scalar_one())
