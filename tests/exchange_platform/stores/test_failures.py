"""Which errors blame a record."""

from __future__ import annotations

from decimal import InvalidOperation
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError, NoCredentialsError

from exchange_platform.stores.checkpoints import Contended, StoreUnavailable, Superseded
from exchange_platform.stores.event_index.index import DocumentsRefused
from exchange_platform.stores.failures import Kind, described, kind_of, remedy, same_reason
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.stores.lake.lake_feed import execution, lake_in


def aws(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutItem")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sa.exc.IntegrityError("x", None, Exception("duplicate")), Kind.DATA),
        (sa.exc.DataError("x", None, Exception("too long")), Kind.DATA),
        (sa.exc.ProgrammingError("x", None, Exception("no such table")), Kind.OTHER),
        (sa.exc.StatementError("x", "y", None, ValueError("surrogates")), Kind.DATA),
        (sa.exc.StatementError("x", "y", None, TypeError("a defect")), Kind.OTHER),
        (duckdb.ConversionException("x"), Kind.DATA),
        (duckdb.ConstraintException("x"), Kind.DATA),
        (duckdb.OutOfRangeException("x"), Kind.DATA),
        (duckdb.BinderException("11 columns"), Kind.OTHER),
        (duckdb.CatalogException("no table"), Kind.OTHER),
        (duckdb.OutOfMemoryException("x"), Kind.TOO_LARGE),
        (duckdb.InternalException("x"), Kind.OTHER),
        (aws("AccessDeniedException"), Kind.OTHER),
        (aws("ValidationException"), Kind.DATA),
        (NoCredentialsError(), Kind.OTHER),
        (DocumentsRefused("x"), Kind.DATA),
        (OverflowError("too large to convert to SQLite INTEGER"), Kind.DATA),
        (InvalidOperation(), Kind.DATA),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), Kind.DATA),
        (StoreUnavailable("away"), Kind.STORE),
        (Contended("deadlock"), Kind.STORE),
        (Superseded("newer"), Kind.FINAL),
        (MemoryError(), Kind.FINAL),
        (TypeError("x"), Kind.OTHER),
        (KeyError("x"), Kind.OTHER),
        (AttributeError("x"), Kind.OTHER),
        (RuntimeError("x"), Kind.OTHER),
        (FileNotFoundError("x"), Kind.OTHER),
    ],
    ids=repr,
)
def test_only_errors_about_a_record_blame_one(error: BaseException, kind: Kind) -> None:
    assert kind_of(error) is kind


def test_a_lake_that_lacks_a_column_blames_no_record(tmp_path: Path) -> None:
    lake = lake_in(tmp_path)
    lake.migrate()
    lake.claim("exchange-bets", 1, ["shard-0"])
    with lake._connection.write() as connection:
        connection.execute("ALTER TABLE executions DROP COLUMN lay_bet_id")
    with pytest.raises(duckdb.Error) as refused:
        commit(lake)
    assert kind_of(refused.value) is Kind.OTHER
    assert "migrate" in remedy(refused.value)
    with lake._connection.write() as connection:
        connection.execute("ALTER TABLE executions ADD COLUMN lay_bet_id VARCHAR")
    commit(lake)
    assert lake.counts().executions == 1
    lake.close()


def commit(lake: Lake) -> None:
    lake.commit("exchange-bets", 1, [], [execution(1)], [])


def test_a_value_that_does_not_fit_into_the_database_blames_its_record(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with pytest.raises(OverflowError) as refused, database.write() as connection:
        connection.execute(sa.text("SELECT :x"), {"x": 2**70})
    assert kind_of(refused.value) is Kind.DATA
    database.dispose()


def test_one_cause_is_one_reason_whatever_the_values() -> None:
    assert same_reason("Could not convert string 'a1' to 17") == same_reason(
        "Could not convert string 'b' to 4"
    )
    assert same_reason("NOT NULL constraint failed: x") != same_reason("UNIQUE constraint failed: x")


def test_a_password_in_an_error_is_not_shown() -> None:
    assert "secret" not in described(duckdb.BinderException("postgres:host=x password=secret dbname=y"))
