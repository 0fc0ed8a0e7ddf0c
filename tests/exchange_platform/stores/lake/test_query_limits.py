"""An analyst's query ends in bounded time, memory and disk, with a message that says why; the next one is
answered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from exchange_platform.cli import run
from exchange_platform.settings import Settings
from exchange_platform.stores.lake.lake import Lake, QueryError
from exchange_platform.stores.lake.query_limits import QueryLimits
from tests.support.prepared import prepare


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(data_dir=tmp_path_factory.mktemp("platform"))
    prepare(settings)
    return settings


@pytest.fixture(scope="module")
def lake(platform: Settings) -> Iterator[Lake]:
    with closing(
        Lake(
            platform.lake_catalog_string,
            platform.lake_data_location,
            read_only=True,
            query_limits=QueryLimits(max_s=1.0, memory_mb=100, spill_mb=20),
        )
    ) as lake:
        yield lake


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (
            "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE hash(a.range + b.range) = 1",
            "took longer than the 1 s",
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
            "took longer than|needs more than",
        ),
        (
            "SELECT list(x ORDER BY hash(x)) FROM range(40000000) t(x)",
            "needs more than the 100 MB|took longer than",
        ),
        ("FROM range(100000000000)", "the answer has more than 100 MB|took longer than"),
        (
            "SELECT repeat('x', 10000) FROM range(10000000)",
            "the answer has more than 100 MB|took longer than",
        ),
    ],
)
def test_a_query_without_an_end_ends_and_the_next_is_answered(lake: Lake, query: str, why: str) -> None:
    """It held the process, and filled memory and disk, for as long as it liked."""
    began = time.monotonic()
    with pytest.raises(QueryError, match=why):
        lake.query(query)
    assert time.monotonic() - began < 20
    assert lake.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]


def test_the_command_line_keeps_to_the_settings(
    platform: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXCHANGE_PLATFORM_LAKE_QUERY_MAX_S", "0.5")
    endless = (
        "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE hash(a.range + b.range) = 1"
    )
    assert run(["sql", endless, "--data-dir", str(Path(platform.data_dir))]) != 0
    assert "took longer than the 0.5 s" in " ".join(capsys.readouterr().err.split())


def test_an_answer_without_rows_has_its_columns(lake: Lake) -> None:
    assert lake.query("SELECT market_id, odds FROM executions").column_names == ["market_id", "odds"]
