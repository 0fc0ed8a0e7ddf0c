"""Stores that agree, for the checks to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exchange_platform.operations.checks.stores import Stores, make_stores
from tests.support.workload import matched_pairs

PAIRS = 60


@pytest.fixture(scope="session")
def filled_once(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """What `filled` is a copy of."""
    stores = make_stores(tmp_path_factory.mktemp("filled"), with_lake=False)
    stores.to_database(list(matched_pairs(PAIRS // 2, users=20)))
    stores.to_database(list(matched_pairs(PAIRS // 2, users=20, seed=2, prefix="live", settle=False)))
    stores.close()
    return stores


@pytest.fixture(scope="session")
def stores_once(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """What `stores` is a copy of."""
    stores = make_stores(tmp_path_factory.mktemp("stores"))
    stores.to_both(list(matched_pairs(PAIRS // 2, users=20)))
    stores.to_both(list(matched_pairs(PAIRS // 2, users=20, seed=2, prefix="live", settle=False)))
    stores.close()
    return stores


@pytest.fixture
def filled(filled_once: Stores, tmp_path: Path) -> Iterator[Stores]:
    """120 bets of 20 users, half of them settled, in the operational database alone."""
    stores = filled_once.copy(tmp_path)
    yield stores
    stores.close()


@pytest.fixture
def stores(stores_once: Stores, tmp_path: Path) -> Iterator[Stores]:
    """The same, held by both stores."""
    stores = stores_once.copy(tmp_path)
    yield stores
    stores.close()
