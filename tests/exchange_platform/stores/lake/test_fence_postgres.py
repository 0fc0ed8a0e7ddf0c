"""Analysts' SQL reads the lake and nothing else, on a PostgreSQL catalog: with a role that can only SELECT,
and with the writers' own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from pydantic import SecretStr

from exchange_platform.settings import Settings
from exchange_platform.stores.lake.connection import LakeConnection
from exchange_platform.stores.lake.lake import Lake, QueryError
from tests.exchange_platform.stores.lake.fence_attacks import ATTACKS
from tests.exchange_platform.stores.lake.fence_honest import HONEST
from tests.exchange_platform.stores.lake.lake_feed import Feed, bet, execution
from tests.support.postgres_parts import Postgres

pytestmark = pytest.mark.servers

SECRET = "hunter2"


@dataclass(frozen=True)
class Platform:
    """A platform whose lake's catalog is a database of its own."""

    postgres: Postgres
    database: str
    settings: Settings

    def state(self) -> tuple[object, ...]:
        """Every table and role of the server's database, how many snapshots the lake has, and the files
        beside it.
        """
        return (
            self.postgres.rows(self.database, "SELECT schemaname, tablename FROM pg_tables ORDER BY 1, 2"),
            self.postgres.rows(self.database, "SELECT rolname, rolsuper FROM pg_roles ORDER BY 1"),
            self.postgres.rows(self.database, "SELECT count(*) FROM ducklake_snapshot"),
            sorted(str(path) for path in self.settings.data_dir.rglob("*")),
        )


@pytest.fixture(scope="module", params=["a role that can only read", "the writers' role"])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    postgres = Postgres.of_environment()
    database = postgres.new_database()
    directory = tmp_path_factory.mktemp("platform")
    settings = Settings(
        data_dir=directory,
        lake_catalog=SecretStr(f"{postgres.catalog(database)} password={SECRET}"),
        lake_data_path=str(directory / "lake" / "data"),
    )
    with closing(Lake.from_settings(settings)) as lake:
        lake.migrate()
        feed = Feed(lake)
        feed.commit([execution(n) for n in range(200)], [bet(n) for n in range(200)])
        feed.close_all()
    if request.param == "a role that can only read":
        reader = SecretStr(postgres.reader(database, password=SECRET))
        settings = settings.model_copy(update={"lake_read_catalog": reader})
    (directory / "operational.sqlite").write_bytes(b"not to be touched")
    return Platform(postgres, database, settings)


@pytest.fixture(scope="module")
def lake(platform: Platform) -> Iterator[Lake]:
    with closing(Lake.from_settings(platform.settings, read_only=True)) as lake:
        yield lake


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused_and_changes_nothing(lake: Lake, platform: Platform, attack: str) -> None:
    before = platform.state()
    data_dir, location = str(platform.settings.data_dir), platform.settings.lake_data_location
    with pytest.raises(QueryError) as refused:
        lake.query(attack.replace("{data}", data_dir).replace("{lake}", location))
    assert SECRET not in str(refused.value)
    assert platform.state() == before
    assert (platform.settings.data_dir / "operational.sqlite").read_bytes() == b"not to be touched"
    assert lake.query("SELECT count(*) AS n FROM executions").to_pylist() == [{"n": 200}]


@pytest.mark.parametrize("query", HONEST)
def test_an_honest_query_is_answered(lake: Lake, query: str) -> None:
    assert lake.query(query).num_columns > 0


def test_the_connection_alone_does_not_write_to_the_catalog(platform: Platform) -> None:
    """The layers below the list of what is allowed, for what that list may have missed."""
    if platform.settings.lake_read_catalog is None:
        pytest.skip("the writers' role may lift that its transactions only read: hence the other")
    fenced = LakeConnection(
        platform.settings.lake_read_catalog_string,
        platform.settings.lake_data_location,
        read_only=True,
        fenced=True,
    )
    statements = (
        "COMMIT; CREATE TABLE pwned(a int); BEGIN",
        "COMMIT; SET default_transaction_read_only = off; CREATE TABLE pwned(a int); BEGIN",
        "COMMIT; SET default_transaction_read_only = off; DELETE FROM ducklake_snapshot; BEGIN",
        "COMMIT; SET default_transaction_read_only = off; CREATE TEMP TABLE pwned(a int); BEGIN",
        "COMMIT; COPY ducklake_snapshot TO '/tmp/pwned'; BEGIN",
        "COMMIT; COPY ducklake_snapshot TO PROGRAM 'cat'; BEGIN",
        "COMMIT; SET ROLE lake; BEGIN",
    )
    before = platform.state()
    try:
        for statement in statements:
            with pytest.raises(duckdb.Error):
                fenced.session.execute(
                    f"CALL postgres_execute('__ducklake_metadata_lake', '{statement.replace(chr(39), chr(39) * 2)}')"
                )
            fenced.close()
        for attempt in ("FROM read_text('/etc/passwd')", "SET threads = 1", "DELETE FROM executions"):
            with pytest.raises(duckdb.Error):
                fenced.session.execute(attempt).fetchall()
    finally:
        fenced.close()
    assert platform.state() == before


def test_what_the_platform_itself_reads_needs_no_other_role(platform: Platform, tmp_path: Path) -> None:
    with closing(Lake.from_settings(platform.settings, read_only=True)) as lake:
        assert lake.counts().executions == 200
        assert lake.disagreeing_windows() == []
        assert lake.hours()
        assert lake.positions("exchange-bets")
