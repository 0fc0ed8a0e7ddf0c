"""A damaged lake on PostgreSQL and S3 is restored as one on this machine is (test_restoring.py)."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from exchange_platform.operations.restoring import restore_lake
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake.inspection import inspect
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.operations.checks.stores import DATABASE_FILE, EPOCH, SHARD, Stores
from tests.exchange_platform.operations.test_restoring import (
    PARTS,
    RECORDS,
    close_windows,
    everything,
    tables,
)
from tests.support.postgres_parts import Postgres
from tests.support.prepared import prepare_database

pytestmark = pytest.mark.servers

Damaging = Callable[[Any, str, str], None]
"""Damages an object: the client, its bucket, its key."""


def emptied(s3: Any, bucket: str, key: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=b"")


def deleted(s3: Any, bucket: str, key: str) -> None:
    s3.delete_object(Bucket=bucket, Key=key)


def bit_flipped(s3: Any, bucket: str, key: str) -> None:
    """One bit is another, such that the rows are not what they were, or can't be read. S3 guards the bytes
    themselves: what changes no row is not looked for.
    """
    content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    for place in range(len(content) // 4, len(content), 7):
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        if _rows(bytes(flipped)) != _rows(content):
            s3.put_object(Bucket=bucket, Key=key, Body=bytes(flipped))
            return
    raise AssertionError("no bit of it matters")


def _rows(content: bytes) -> object:
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file, duckdb.connect() as session:
        file.write(content)
        file.flush()
        try:
            return session.execute(f"SELECT * FROM read_parquet('{file.name}')").fetchall()
        except duckdb.Error:
            return None


@pytest.fixture
def bucket() -> str:
    return f"restored-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def settings(
    tmp_path: Path, emulator_url: str, postgres: Postgres, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "emulator")
    settings = Settings(
        data_dir=tmp_path,
        aws_endpoint_url=emulator_url,
        lake_catalog=postgres.catalog(postgres.new_database()),
        lake_data_path=f"s3://{bucket}/lake/",
    )
    place = {"LocationConstraint": settings.aws_region}
    aws_client(settings, "s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    return settings


@pytest.fixture
def stores(tmp_path: Path, settings: Settings) -> Iterator[Stores]:
    """Both stores with the same records, the lake's in several objects, each of them looked at."""
    database = Database(f"sqlite:///{tmp_path / DATABASE_FILE}")
    prepare_database(database)
    Checkpoints(database, OPERATIONAL_DATABASE).claim(EXCHANGE_BETS, EPOCH, [SHARD], now_us=0)
    stores = Stores(tmp_path, database, Lake.from_settings(settings))
    stores.lake.migrate()
    stores.lake.claim(EXCHANGE_BETS, EPOCH, [SHARD])
    size = len(RECORDS) // PARTS + 1
    for start in range(0, len(RECORDS), size):
        stores.to_both(RECORDS[start : start + size])
    close_windows(stores)
    inspect(stores.lake.connection, 1)
    yield stores
    stores.close()


def key_of(s3: Any, bucket: str, table: str) -> str:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"lake/main/{table}/")["Contents"]
    return sorted(str(one["Key"]) for one in listed if one["Key"].endswith(".parquet"))[1]


@pytest.mark.parametrize("table", ["executions", "bet_history"])
@pytest.mark.parametrize("damage", [emptied, deleted, bit_flipped])
def test_what_the_stream_holds_is_restored_exactly(
    settings: Settings, stores: Stores, bucket: str, table: str, damage: Damaging
) -> None:
    before = tables(stores)
    s3 = aws_client(settings, "s3")
    damage(s3, bucket, key_of(s3, bucket, table))

    stores.lake.close()
    restored = restore_lake(settings, stores.database, everything(), wait=lambda _: None)
    close_windows(stores)

    assert restored.complete
    assert [loss.table for loss in restored.taken_out] == [table]
    assert tables(stores) == before


def test_what_nobody_holds_is_counted_and_stays_on_record(
    settings: Settings, stores: Stores, bucket: str
) -> None:
    held = len(tables(stores)[0])
    s3 = aws_client(settings, "s3")
    emptied(s3, bucket, key_of(s3, bucket, "executions"))

    stores.lake.close()
    restored = restore_lake(settings, stores.database, None, wait=lambda _: None)

    assert not restored.complete
    (loss,) = restored.losses
    assert loss.missing_rows == held - len(tables(stores)[0]) > 0
