"""`exchange-platform restore-lake`: what it prints and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exchange_platform.cli import run
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.operations.checks.stores import EPOCH, Stores, make_stores
from tests.exchange_platform.stores.damaging import emptied
from tests.support.workload import matched_pairs


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    stores = make_stores(tmp_path)
    for seed in (1, 2):
        stores.to_both(list(matched_pairs(20, users=10, seed=seed, prefix=f"p{seed}")))
    markets = {market for market, _ in stores.lake.open_windows(refresh=True)}
    stores.lake.close_windows(EXCHANGE_BETS, EPOCH, dict.fromkeys(markets))
    stores.close()
    return stores


def restore(stores: Stores, *options: str) -> int:
    return run(["restore-lake", "--data-dir", str(stores.directory), *options])


def test_a_whole_lake_is_said_to_be_whole(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore(stores) == 0
    assert "every file was read" in capsys.readouterr().out


def test_missing_rows_are_an_exit_status_of_1_until_they_are_accepted(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    restore(stores)  # every file is looked at once
    capsys.readouterr()
    damaged = next((stores.directory / "lake" / "data" / "main" / "executions").glob("*.parquet"))
    emptied(damaged)

    assert restore(stores, "--json") == 1
    (loss,) = json.loads(capsys.readouterr().out)["losses"]
    assert loss["missing_rows"] == loss["rows"] == sum(loss["missing"].values())
    assert restore(stores, "--accept") == 0
    assert "Accepted as lost" in capsys.readouterr().out


def test_a_damaged_catalog_is_set_aside_and_made_again(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    (stores.directory / "lake" / "catalog.sqlite").write_bytes(b"no database" * 1000)

    assert restore(stores) == 0
    assert "rows were added from the lake that was set aside" in capsys.readouterr().out
    assert stores.lake.counts().executions == 40
