"""One damaged Parquet file of the lake: who notices, what is said, and that everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.stores.checkpoints import StoreDamaged, StoreUnavailable
from exchange_platform.stores.lake.files import LakeDamaged
from exchange_platform.stores.lake.lake import Lake
from tests.exchange_platform.stores.damaging import FILE_DAMAGES, Damaging, deleted, emptied
from tests.exchange_platform.stores.lake.lake_feed import Feed, bet, execution, lake_in

EXECUTIONS = 400
_FILES = 3


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A lake with three files of executions, 400 s each after the other."""
    lake = lake_in(tmp_path)
    lake.migrate()
    feed = Feed(lake)
    for part in range(_FILES):
        feed.commit([execution(part * EXECUTIONS + number) for number in range(EXECUTIONS)])
    lake.close()
    return tmp_path


@pytest.fixture
def lake(directory: Path) -> Iterator[Lake]:
    lake = lake_in(directory)
    yield lake
    lake.close()


def files(directory: Path, table: str = "executions") -> list[Path]:
    """The table's files, oldest first."""
    return sorted((directory / "data" / "main" / table).glob("*.parquet"))


@pytest.mark.parametrize("damage", FILE_DAMAGES)
def test_an_error_names_the_damaged_file_its_rows_and_the_remedy(directory: Path, damage: Damaging) -> None:
    damaged = files(directory)[1]
    damage(damaged)
    reader = lake_in(directory, read_only=True)

    with pytest.raises(LakeDamaged) as raised:
        reader.disagreeing_windows()

    reader.close()
    said = str(raised.value)
    assert damaged.name in said
    assert "400 rows of executions from 2026-06-01 12:06:40 to 2026-06-01 12:13:19 UTC" in said
    assert "restore-lake" in said


@pytest.mark.parametrize("damage", FILE_DAMAGES)
def test_a_damaged_file_does_not_stop_later_commits(directory: Path, lake: Lake, damage: Damaging) -> None:
    feed = Feed(lake, epoch=2)
    damage(files(directory)[1])
    repeated = [execution(number) for number in range(EXECUTIONS, EXECUTIONS + 10)]

    with pytest.raises(StoreDamaged):  # the call that met it fails, and takes it out
        lake.commit("exchange-bets", 2, [], repeated, [])

    assert feed.commit([execution(5000)], [bet(5000)]).executions == 1
    assert lake.counts().executions == 2 * EXECUTIONS + 1


def test_a_file_that_was_taken_out_is_kept_beside_the_data(directory: Path, lake: Lake) -> None:
    damaged = files(directory)[1]
    emptied(damaged)

    with pytest.raises(StoreDamaged):
        lake.disagreeing_windows()

    assert not damaged.exists()
    assert (directory / "damaged" / "executions" / damaged.name).exists()


def test_maintenance_goes_on_without_a_damaged_file(directory: Path, lake: Lake) -> None:
    feed = Feed(lake, epoch=2)
    for number in range(3):
        feed.commit([execution(5000 + number)])
    deleted(files(directory)[1])

    with pytest.raises(StoreDamaged):
        lake.maintain(keep_snapshots="0 seconds")
    lake.maintain(keep_snapshots="0 seconds")

    assert lake.counts().executions == 2 * EXECUTIONS + 3


def test_files_that_are_all_gone_are_a_missing_disk_and_none_is_taken_out(
    directory: Path, lake: Lake
) -> None:
    contents = {path: path.read_bytes() for path in files(directory)}
    for path in contents:
        path.unlink()

    with pytest.raises(StoreDamaged, match="is the disk or the bucket that holds them there"):
        lake.disagreeing_windows()
    for path, content in contents.items():
        path.write_bytes(content)

    assert lake.counts().executions == _FILES * EXECUTIONS


def test_a_lost_catalog_is_not_replaced_by_an_empty_one(directory: Path) -> None:
    (directory / "catalog.sqlite").unlink()

    for read_only in (True, False):
        lake = lake_in(directory, read_only=read_only)
        with pytest.raises(StoreDamaged, match=r"its catalog .* is gone, and .* has the files that it named"):
            lake.counts()
        with pytest.raises(StoreUnavailable):
            lake.migrate()
        lake.close()

    assert not (directory / "catalog.sqlite").exists()
