"""A consumer over a damaged lake: bets go on, the lake goes on without the file, and restoring makes both
whole again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange_platform.operations.restoring import restore_lake
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.lake.inspection import inspect
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sources.kinesis import KinesisSource, ensure_stream
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.stores.damaging import Damaging, bit_flipped, cut, deleted
from tests.support.platform_parts import consume_all, encoded, lake_rows, operational_rows, publish
from tests.support.prepared import prepare
from tests.support.workload import matched_pairs

DATA = encoded(matched_pairs(60, users=20, markets=5))


@pytest.fixture
def prepared(settings: Settings) -> Settings:
    prepare(settings)
    ensure_stream(aws_client(settings, "kinesis"), settings.bets_stream)
    return settings


def look_at_files(settings: Settings) -> None:
    """As the check lake_files_whole does: a changed bit is found in files that were seen before."""
    lake = Lake.from_settings(settings)
    inspect(lake.connection, 1)
    lake.close()


def largest_file(settings: Settings) -> Path:
    files = (settings.data_dir / "lake" / "data" / "main" / "executions").glob("*.parquet")
    return max(files, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("damage", [cut, deleted, bit_flipped])
@pytest.mark.long
def test_a_damaged_file_of_the_lake_stops_no_bets_and_is_restored_from_the_stream(
    prepared: Settings, damage: Damaging
) -> None:
    consume_all(prepared, publish(prepared, DATA))
    whole, bets = lake_rows(prepared), operational_rows(prepared)
    look_at_files(prepared)
    damage(largest_file(prepared))

    later = encoded(matched_pairs(10, users=5, seed=7, prefix="later"))
    consume_all(
        prepared, publish(prepared, DATA + later)
    )  # what is repeated is looked for in the damaged file

    database = Database(prepared.operational_database_url)
    assert len(operational_rows(prepared)["bets"]) == len(bets["bets"]) + 20
    assert DeadLetters(database).count().waiting == 0
    source = KinesisSource(aws_client(prepared, "kinesis"), prepared.bets_stream, name=EXCHANGE_BETS)
    restored = restore_lake(prepared, database, source)
    source.close()
    database.dispose()
    assert restored.complete
    after = lake_rows(prepared)
    for table in ("executions", "bet_history"):
        assert [row for row in after[table] if row in whole[table]] == whole[table]
    lake = Lake.from_settings(prepared, read_only=True)
    assert lake.disagreeing_windows() == []
    lake.close()
