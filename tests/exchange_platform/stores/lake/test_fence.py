"""Analysts' SQL reads the lake and nothing else, on a SQLite catalog; on PostgreSQL:
test_lake_fence_postgres.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest

from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.lake.connection import LakeConnection, without_password
from exchange_platform.stores.lake.fence import SIDE_EFFECTS_KNOWN
from exchange_platform.stores.lake.lake import Lake, QueryError
from tests.exchange_platform.stores.lake.fence_attacks import ATTACKS
from tests.exchange_platform.stores.lake.fence_honest import HONEST
from tests.exchange_platform.stores.lake.lake_feed import Feed, bet, execution
from tests.support.prepared import prepare

SECRET = "hunter2"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A platform's directory with what somebody would like to have."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("platform"))
    prepare(settings)
    fill(settings)
    (settings.data_dir / "platform.json").write_text(f'{{"secret": "{SECRET}"}}')
    (settings.data_dir / "x.csv").write_text(f"a,market_id\n{SECRET},1.1\n")
    return settings


def fill(settings: Settings) -> None:
    """Some executions, bets and closed windows."""
    with closing(Lake.from_settings(settings)) as lake:
        feed = Feed(lake)
        feed.commit([execution(n) for n in range(200)], [bet(n) for n in range(200)])
        feed.close_all()


@pytest.fixture(scope="module")
def lake(platform: Settings) -> Iterator[Lake]:
    with closing(Lake.from_settings(platform, read_only=True)) as lake:
        lake.query("SELECT 1")
        yield lake


def files_of(directory: Path) -> dict[str, str]:
    """Every file below, by what it holds; SQLite's shared memory is left out, as readers keep marks there."""
    return {
        str(path.relative_to(directory)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def filled_in(attack: str, settings: Settings) -> str:
    return attack.replace("{data}", str(settings.data_dir)).replace("{lake}", settings.lake_data_location)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused_and_changes_nothing(lake: Lake, platform: Settings, attack: str) -> None:
    before, home = files_of(platform.data_dir), set(Path.home().glob(".duckdb/**/*"))
    directory = set(Path.cwd().iterdir())
    with pytest.raises(QueryError) as refused:
        lake.query(filled_in(attack, platform))
    assert str(refused.value).strip()
    assert SECRET not in str(refused.value)
    assert files_of(platform.data_dir) == before
    assert set(Path.home().glob(".duckdb/**/*")) == home
    assert set(Path.cwd().iterdir()) == directory
    assert lake.query("SELECT count(*), count(DISTINCT execution_id) FROM executions").to_pylist() == [
        {"count_star()": 200, "count(DISTINCT execution_id)": 200}
    ]


@pytest.mark.parametrize("query", HONEST)
def test_an_honest_query_is_answered(lake: Lake, query: str) -> None:
    assert lake.query(query).num_columns > 0


def test_the_suites_are_as_large_as_they_have_to_be() -> None:
    assert len(ATTACKS) >= 60
    assert len(HONEST) >= 40


def test_the_connection_alone_opens_no_file_but_the_lakes(platform: Settings) -> None:
    """The layer below the list of what is allowed, for what that list may have missed."""
    location = platform.lake_data_location
    fenced = LakeConnection(platform.lake_catalog_string, location, read_only=True, fenced=True)
    attempts = (
        "FROM read_text('/etc/passwd')",
        f"FROM read_blob('{platform.data_dir}/operational.sqlite')",
        f"FROM '{platform.data_dir}/x.csv'",
        f"FROM glob('{platform.data_dir}/*')",
        f"COPY (SELECT 1) TO '{platform.data_dir}/operational.sqlite'",
        f"COPY (SELECT 1) TO '{location}/../x.csv'",
        f"ATTACH '{platform.data_dir}/x.db'",
        "INSTALL spatial",
        "CREATE PERSISTENT SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET allowed_directories = ['/']",
        "RESET enable_external_access",
        "DELETE FROM executions",
        "DELETE FROM __ducklake_metadata_lake.ducklake_snapshot",
        "FROM sqlite_query('__ducklake_metadata_lake', 'DELETE FROM ducklake_snapshot RETURNING 1')",
    )
    before = files_of(platform.data_dir)
    try:
        for attempt in attempts:
            with pytest.raises(duckdb.Error):
                fenced.session.execute(attempt).fetchall()
        assert fenced.session.execute("SELECT count(*) FROM executions").fetchall() == [(200,)]
    finally:
        fenced.close()
    assert files_of(platform.data_dir) == before


def test_a_query_sees_what_is_committed_meanwhile(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    prepare(settings)
    with closing(Lake.from_settings(settings)) as lake:
        feed = Feed(lake)
        for number in range(3):
            feed.commit([execution(number)])
            assert lake.query("SELECT count(*) AS n FROM executions").to_pylist() == [{"n": number + 1}]
        lake.maintain(keep_snapshots="0 seconds")
        assert lake.query("SELECT count(*) AS n FROM executions").to_pylist() == [{"n": 3}]


def test_a_lake_reached_by_a_relative_path_or_a_link_is_answered(
    platform: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(platform.data_dir / "lake")
    monkeypatch.chdir(tmp_path)
    for directory in ("link", str(tmp_path / "link")):
        with closing(Lake(f"sqlite:{directory}/catalog.sqlite", f"{directory}/data", read_only=True)) as lake:
            assert lake.query("SELECT count(*) AS n FROM executions").to_pylist() == [{"n": 200}]


def test_a_query_that_needs_more_memory_than_it_may_have_spills(platform: Settings) -> None:
    lake = Lake(
        platform.lake_catalog_string, platform.lake_data_location, read_only=True, memory_mb=60, threads=1
    )
    with closing(lake):
        query = "SELECT count(*) AS n FROM (SELECT * FROM range(4_000_000) t(x) ORDER BY hash(x), x)"
        assert lake.query(query).to_pylist() == [{"n": 4_000_000}]


def test_a_lake_on_s3_is_answered_and_no_other_object_is_read(
    tmp_path: Path, emulator_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "emulator")
    settings = Settings(
        data_dir=tmp_path, aws_endpoint_url=emulator_url, lake_data_path="s3://lake-of-the-fence/lake/"
    )
    s3 = aws_client(settings, "s3")
    place = {"LocationConstraint": settings.aws_region}
    s3.create_bucket(Bucket="lake-of-the-fence", CreateBucketConfiguration=place)
    s3.put_object(Bucket="lake-of-the-fence", Key="other/secret.txt", Body=SECRET.encode())
    with closing(Lake.from_settings(settings)) as lake:
        lake.migrate()
        Feed(lake).commit([execution(n) for n in range(200)])
        assert lake.query("SELECT sum(stake)::INT AS n FROM executions").to_pylist() == [{"n": 2_000}]
        for attempt in (
            "FROM read_text('s3://lake-of-the-fence/other/secret.txt')",
            "FROM glob('s3://lake-of-the-fence/other/*')",
            "COPY (SELECT 1) TO 's3://lake-of-the-fence/x.csv'",
            f"FROM read_text('{emulator_url}/lake-of-the-fence/other/secret.txt')",
        ):
            with pytest.raises(duckdb.PermissionException, match="disabled by configuration"):
                lake._queries.session.execute(attempt)
            with pytest.raises(QueryError):
                lake.query(attempt)


def test_views_and_macros_of_the_lake_are_whose_who_made_them(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    prepare(settings)
    with closing(Lake.from_settings(settings)) as lake:
        with lake._connection.write() as connection:
            connection.execute("CREATE VIEW lake.doubled AS SELECT 2 AS n")
        assert lake.query("FROM doubled").to_pylist() == [{"n": 2}]


def test_every_function_with_side_effects_was_looked_at() -> None:
    """A newer DuckDB that brings one is refused until somebody has: this says which it is."""
    with duckdb.connect() as fresh:
        found = fresh.execute(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE has_side_effects"
        ).fetchall()
    looked_at = SIDE_EFFECTS_KNOWN | {"currval", "nextval", "sleep_ms", "write_log"}
    assert {name for (name,) in found} <= looked_at


@pytest.mark.parametrize(
    ("catalog", "leaks"),
    [
        ("postgresql://me:p@ss@127.0.0.1:1/lake", ("p@ss", "ss@")),
        ("postgresql://me:hunter2@127.0.0.1:1/lake", ("hunter2",)),
        ("postgresql://me:p%40ss@127.0.0.1:1/lake", ("p%40ss", "p@ss")),
        ("host=127.0.0.1 port=1 user=me password=hunt'er2 connect_timeout=1", ("hunt",)),
        ("host=127.0.0.1 port=1 user=me password='hun\\'ter 2' connect_timeout=1", ("hun", "ter 2")),
    ],
)
def test_no_form_of_a_password_is_in_an_error(tmp_path: Path, catalog: str, leaks: tuple[str, ...]) -> None:
    lake = Lake(f"postgres:{catalog}", str(tmp_path), read_only=True)
    with closing(lake), pytest.raises(StoreUnavailable) as told:
        lake.query("SELECT 1")
    assert [leak for leak in leaks if leak in str(told.value)] == []


def test_an_at_sign_in_a_password_ends_nothing() -> None:
    assert without_password("at postgresql://me:p@ss@db/lake: no") == "at postgresql://me:***@db/lake: no"


def test_a_refusal_says_what_is_allowed(lake: Lake) -> None:
    refusals = {
        "FROM read_text('x')": r"read_text is refused. Allowed are.*unnest",
        "FROM duckdb_databases": r"duckdb_databases is refused: the lake's tables",
        "FROM 'x.csv'": r"'x.csv' is not a table of the lake.*SHOW TABLES",
        "SELECT getenv('x')": r"getenv is refused or does not exist",
        "EXPLAIN DELETE FROM executions": r"EXPLAIN of anything but one query is refused. Allowed is",
        "PRAGMA database_list": r"PRAGMA is refused",
        "SELECT write_log('x')": r"write_log is refused: it writes",
    }
    for query, told in refusals.items():
        with pytest.raises(QueryError, match=told):
            lake.query(query)


def test_the_operational_database_is_whole_after_all_that(platform: Settings) -> None:
    assert (platform.data_dir / "operational.sqlite").stat().st_size > 100_000
    with closing(sqlite3.connect(platform.data_dir / "operational.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
