"""Stores that agree, for the checks to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exchange_platform.checks.stores import Stores, make_stores
from tests.workload import matched_pairs

PAIRS = 60


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Stores]:
    """120 bets of 20 users, half of them settled, in the operational database alone."""
    stores = make_stores(tmp_path, with_lake=False)
    stores.to_database(list(matched_pairs(PAIRS // 2, users=20)))
    stores.to_database(list(matched_pairs(PAIRS // 2, users=20, seed=2, prefix="live", settle=False)))
    yield stores
    stores.database.dispose()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """The same, held by both stores."""
    stores = make_stores(tmp_path)
    stores.to_both(list(matched_pairs(PAIRS // 2, users=20)))
    stores.to_both(list(matched_pairs(PAIRS // 2, users=20, seed=2, prefix="live", settle=False)))
    yield stores
    stores.lake.close()
    stores.database.dispose()
