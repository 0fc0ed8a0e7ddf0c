"""Restatements are stored once an id."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from exchange_platform.settings import Settings
from exchange_platform.stores.operational.bets.restatements import Restatement, RestatementClass, Restatements
from exchange_platform.stores.operational.database import Database, restatements
from tests.support.prepared import prepare

ONE = Restatement(
    "1.2-0000000000001-00000001-00000",
    "1.2",
    7,
    Decimal("-0.5"),
    datetime(2022, 4, 19, 18, 24, 33, 1000, tzinfo=UTC),
    RestatementClass.VOID,
    Decimal("-12.50"),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    settings = Settings(data_dir=tmp_path)
    prepare(settings)
    database = Database(settings.operational_database_url)
    yield database
    database.dispose()


def test_a_restatement_added_again_stays_as_it_was(database: Database) -> None:
    store = Restatements(database)
    store.add([ONE])
    store.add([ONE, dataclasses.replace(ONE, volume_change=Decimal(0))])
    assert store.count() == 1
    with database.read() as connection:
        row = connection.execute(sa.select(restatements)).one()
    assert row._mapping == {
        "restatement_id": ONE.restatement_id,
        "market_id": "1.2",
        "selection_id": 7,
        "handicap": "-0.5",
        "class": "void",
        "volume_change": "-12.50",
        "restated_at_us": 1_650_392_673_001_000,
    }


def test_classes_are_counted(database: Database) -> None:
    store = Restatements(database)
    assert (store.count(), store.by_class()) == (0, {})
    store.add([])
    kinds = [*RestatementClass, RestatementClass.VOID]
    store.add([dataclasses.replace(ONE, restatement_id=f"r{n}", kind=k) for n, k in enumerate(kinds)])
    assert store.count() == 6
    assert store.by_class() == {
        "after result": 1,
        "currency re-rating": 1,
        "other": 1,
        "removed runner": 1,
        "void": 2,
    }


def test_thousands_are_added_at_once(database: Database) -> None:
    store = Restatements(database)
    store.add([dataclasses.replace(ONE, restatement_id=f"r{number}") for number in range(2500)])
    assert store.count() == 2500


def test_volume_with_noise_in_its_last_digits_fits_its_column(database: Database) -> None:
    noisy = dataclasses.replace(ONE, volume_change=Decimal("-123456789012345.123456789012345678901234567"))
    Restatements(database).add([noisy])
    with database.read() as connection:
        assert connection.execute(sa.select(restatements.c.volume_change)).scalar_one() == (
            "-123456789012345.123456789012345"
        )
