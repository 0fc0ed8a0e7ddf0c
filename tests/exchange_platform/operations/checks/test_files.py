"""The check of the lake's files, and what the other checks say of a damaged one."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets.checks import LAKE_AGREES, WINDOWS_AGREE, Check
from exchange_platform.operations.checks import EVERYTHING, lake_files_whole, windows_agree
from exchange_platform.operations.restoring import restore_lake
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import load_settings
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from resources.platform import PlatformResource
from tests.exchange_platform.operations.checks.stores import EPOCH, Stores
from tests.exchange_platform.stores.damaging import FILE_DAMAGES, Damaging, bit_flipped, emptied


@pytest.fixture
def closed(stores: Stores) -> Stores:
    """Stores that agree, with every window closed and every file looked at once."""
    markets = {market for market, _ in stores.lake.open_windows(refresh=True)}
    stores.lake.close_windows(EXCHANGE_BETS, EPOCH, dict.fromkeys(markets))
    assert lake_files_whole(stores.lake, SYSTEM_CLOCK).passed
    return stores


def file_of(stores: Stores, table: str) -> Path:
    return sorted((stores.directory / "lake" / "data" / "main" / table).glob("*.parquet"))[0]


@pytest.mark.parametrize("damage", [*FILE_DAMAGES, bit_flipped])
def test_a_damaged_file_fails_the_check_with_its_name_rows_and_remedy(
    closed: Stores, damage: Damaging
) -> None:
    damaged = file_of(closed, "executions")
    damage(damaged)

    outcome = lake_files_whole(closed.lake, SYSTEM_CLOCK)

    assert not outcome.passed
    assert damaged.name in outcome.description
    assert "rows of executions from 20" in outcome.description
    assert "restore-lake" in outcome.description


def test_a_loss_is_reported_until_it_is_decided(closed: Stores) -> None:
    settings = load_settings(closed.directory)
    emptied(file_of(closed, "executions"))
    restore_lake(settings, closed.database, None)
    undecided = lake_files_whole(closed.lake, SYSTEM_CLOCK)
    windows = windows_agree(closed.lake)

    restore_lake(settings, closed.database, None, accept=True)

    assert not undecided.passed
    assert "are missing" in undecided.description
    assert not windows.passed
    assert "executions were lost" in windows.description
    decided = lake_files_whole(closed.lake, SYSTEM_CLOCK)
    assert decided.passed
    assert "accepted" in decided.description
    assert windows_agree(closed.lake).passed


@pytest.mark.parametrize(("check", "table"), [(WINDOWS_AGREE, "executions"), (LAKE_AGREES, "bet_history")])
def test_other_checks_fail_with_the_damage_instead_of_raising(
    closed: Stores, check: Check, table: str
) -> None:
    damaged = file_of(closed, table)
    emptied(damaged)

    with dg.DagsterInstance.ephemeral() as instance:
        outcome = check.outcome(PlatformResource(data_dir=str(closed.directory)), EVERYTHING, instance)

    assert not outcome.passed
    assert damaged.name in outcome.description
    assert not outcome.looked
