"""A damaged lake is restored from what others still hold, and what nobody holds is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exchange_platform.domain import records
from exchange_platform.domain.records import Execution, Record
from exchange_platform.operations.restoring import NothingDecided, RestoredRows, restore_lake, set_aside
from exchange_platform.settings import Settings, load_settings
from exchange_platform.stores.lake import losses as lake_losses
from exchange_platform.stores.lake.inspection import inspect
from exchange_platform.stores.lake.losses import LossState
from exchange_platform.streams.engine.source import Read, Shard, StreamRecord
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.operations.checks.stores import EPOCH, SHARD, Stores, make_stores
from tests.exchange_platform.stores.damaging import FILE_DAMAGES, Damaging, bit_flipped, deleted, emptied
from tests.support.workload import matched_pairs

RECORDS = list(matched_pairs(40, users=20))
PARTS = 4
NOW = datetime(2026, 6, 1, tzinfo=UTC)


class HeldStream:
    """A stream that still holds these records of one shard."""

    name = EXCHANGE_BETS

    def __init__(self, held: Sequence[tuple[int, Record]]) -> None:
        self._held = [StreamRecord(str(place), 0, "", records.encode(record), 0) for place, record in held]

    def shards(self) -> Sequence[Shard]:
        return [Shard(SHARD)]

    def seek(self, shard: str, position: str | None) -> None:
        assert position is None

    def read(self, shard: str) -> Read:
        read, self._held = self._held[:100], self._held[100:]
        return Read(read, 1000.0 if self._held else 0.0)

    def is_after(self, position: str, other: str | None) -> bool:
        return other is None or int(position) > int(other)

    def close(self) -> None:
        """Nothing is open."""


def everything() -> HeldStream:
    return HeldStream(list(enumerate(RECORDS, start=1)))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """Both stores with the same records, the lake's in several files, its windows closed and every file
    looked at.
    """
    stores = make_stores(tmp_path)
    size = len(RECORDS) // PARTS + 1
    for start in range(0, len(RECORDS), size):
        stores.to_both(RECORDS[start : start + size])
    close_windows(stores)
    inspect(stores.lake.connection, 1)
    yield stores
    stores.close()


def close_windows(stores: Stores) -> None:
    markets = {market for market, _ in stores.lake.open_windows(refresh=True)}
    stores.lake.close_windows(EXCHANGE_BETS, EPOCH, dict.fromkeys(markets))


def tables(stores: Stores) -> list[list[tuple[object, ...]]]:
    """What the lake holds, in one order."""
    session = stores.lake.connection.session
    return [
        session.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
        for table in ("executions", "bet_history", "odds_windows", "open_windows")
    ]


def file_of(stores: Stores, table: str, number: int = 1) -> Path:
    return sorted((stores.directory / "lake" / "data" / "main" / table).glob("*.parquet"))[number]


def restore(
    settings: Settings,
    stores: Stores,
    source: HeldStream | None,
    *,
    accept: bool = False,
    even_all: bool = False,
) -> RestoredRows:
    stores.lake.close()
    return restore_lake(
        settings, stores.database, source, accept=accept, even_all=even_all, wait=lambda _: None
    )


@pytest.mark.parametrize("table", ["executions", "bet_history"])
@pytest.mark.parametrize("damage", [*FILE_DAMAGES, bit_flipped])
@pytest.mark.long
def test_what_the_stream_holds_is_restored_exactly(
    settings: Settings, stores: Stores, table: str, damage: Damaging
) -> None:
    before = tables(stores)
    damage(file_of(stores, table))

    restored = restore(settings, stores, everything())
    close_windows(stores)

    assert restored.complete
    assert [loss.table for loss in restored.taken_out] == [table]
    assert tables(stores) == before


def test_windows_are_restored_from_their_executions(settings: Settings, stores: Stores) -> None:
    before = tables(stores)
    emptied(file_of(stores, "odds_windows", 0))

    restored = restore(settings, stores, None)
    close_windows(stores)

    assert restored.complete
    assert tables(stores) == before


def test_the_newest_versions_of_bets_come_back_without_a_stream(settings: Settings, stores: Stores) -> None:
    deleted(file_of(stores, "bet_history"))

    restore(settings, stores, None)

    newest = "SELECT bet_id, max(version) FROM bet_history GROUP BY bet_id ORDER BY bet_id"
    with stores.database.read() as connection:
        wanted = connection.exec_driver_sql("SELECT bet_id, version FROM bets ORDER BY bet_id").fetchall()
    assert stores.lake.connection.session.execute(newest).fetchall() == [tuple(row) for row in wanted]


def test_what_nobody_holds_is_counted_by_market_and_stays_on_record(
    settings: Settings, stores: Stores
) -> None:
    windows = tables(stores)[2]
    held = {row[0] for row in tables(stores)[0]}
    emptied(file_of(stores, "executions"))

    restored = restore(settings, stores, None)
    close_windows(stores)

    left = {row[0] for row in tables(stores)[0]}
    lost = [
        record for record in RECORDS if isinstance(record, Execution) and record.execution_id in held - left
    ]
    by_market: dict[str, int] = {}
    for execution in lost:
        by_market[execution.market_id] = by_market.get(execution.market_id, 0) + 1
    (loss,) = restored.losses
    assert not restored.complete
    assert loss.state is LossState.OPEN
    assert loss.missing == by_market
    assert loss.missing_rows == len(lost) == loss.rows
    assert "stream" in restored.not_asked[0]
    assert tables(stores)[2] == windows, "a closed row is all that is left of the lost executions"


def test_a_loss_is_restored_once_an_archive_brought_the_rows_back(settings: Settings, stores: Stores) -> None:
    before = tables(stores)
    emptied(file_of(stores, "executions"))
    assert not restore(settings, stores, None).complete

    stores.to_lake(RECORDS)  # as `replay` makes the consumer do
    restored = restore(settings, stores, None)
    close_windows(stores)

    assert restored.complete
    assert tables(stores)[0] == before[0]
    assert [loss.state for loss in lake_losses.losses(stores.lake.connection)] == [LossState.RESTORED]


def test_a_loss_that_was_accepted_is_kept_with_its_counts(settings: Settings, stores: Stores) -> None:
    emptied(file_of(stores, "executions"))

    restored = restore(settings, stores, None, accept=True)

    assert restored.complete
    (loss,) = lake_losses.losses(stores.lake.connection)
    assert loss.state is LossState.ACCEPTED
    assert loss.missing_rows == loss.rows


def test_a_whole_copy_that_was_put_back_is_enough(settings: Settings, stores: Stores) -> None:
    before = tables(stores)
    damaged = file_of(stores, "executions")
    whole = damaged.read_bytes()
    emptied(damaged)
    (loss,) = restore(settings, stores, None).losses
    Path(loss.files[0].path).write_bytes(whole)

    assert restore(settings, stores, None).complete
    assert tables(stores) == before


def test_restoring_twice_changes_nothing(settings: Settings, stores: Stores) -> None:
    deleted(file_of(stores, "executions"))
    restore(settings, stores, everything())
    once = tables(stores)

    again = restore(settings, stores, everything())

    assert again.losses == ()
    assert tables(stores) == once


def test_a_whole_lake_is_left_as_it_is(settings: Settings, stores: Stores) -> None:
    before = tables(stores)

    restored = restore(settings, stores, everything())

    assert restored == RestoredRows((), (), {}, 0, (), ())
    assert tables(stores) == before


def test_files_that_are_all_gone_are_taken_out_only_when_that_is_said(
    settings: Settings, stores: Stores
) -> None:
    before = tables(stores)
    for path in (stores.directory / "lake" / "data").rglob("*.parquet"):
        path.unlink()

    with pytest.raises(NothingDecided, match="is the disk or the bucket that holds them there"):
        restore(settings, stores, everything())
    restored = restore(settings, stores, everything(), even_all=True)
    close_windows(stores)

    assert restored.complete
    assert tables(stores)[:3] == before[:3]


def test_a_lake_with_a_damaged_catalog_is_made_again_from_its_files(
    settings: Settings, stores: Stores
) -> None:
    before = tables(stores)
    stores.close()
    emptied(stores.directory / "lake" / "catalog.sqlite")
    (stores.directory / "lake" / "catalog.sqlite-wal").unlink(missing_ok=True)

    aside = set_aside(settings, NOW)
    restored = restore(settings, stores, None)
    stores.lake.claim(EXCHANGE_BETS, EPOCH, [SHARD])
    close_windows(stores)

    assert restored.complete
    assert aside.exists()
    assert tables(stores)[:3] == before[:3]


def test_a_killed_restoring_of_a_catalog_goes_on_where_it_was(settings: Settings, stores: Stores) -> None:
    before = tables(stores)
    stores.close()
    (stores.directory / "lake" / "catalog.sqlite").unlink()
    set_aside(settings, NOW)  # and killed here

    assert restore(settings, stores, None).complete
    assert tables(stores)[:2] == before[:2]
    assert restore(settings, stores, None).added == {}
