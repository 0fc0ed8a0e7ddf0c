"""Columns in memory: what DuckDB reads from them is what went in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_platform.domain.windows import window_start
from exchange_platform.stores.lake.rows import Batch, instants, numbers, texts, windows_batch, windows_touched
from tests.exchange_platform.stores.lake.lake_feed import NOON, execution

CONNECTION = duckdb.connect()
CONNECTION.execute("SET TimeZone = 'UTC'")

ROWS = st.lists(
    st.tuples(
        st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.integers(-(2**63), 2**63 - 1),
        st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(ROWS)
def test_texts_numbers_and_instants_are_read_as_they_were(
    rows: list[tuple[str | None, int, datetime]],
) -> None:
    text, number, instant = zip(*rows, strict=True)
    batch = Batch({"a": texts(text), "b": numbers(number), "c": instants(instant)}, len(rows))
    for _ in range(2):  # a batch may be read again
        found = CONNECTION.execute("SELECT a, b, c FROM batch").fetchall()
        assert [(a, b, c.astimezone(UTC)) for a, b, c in found] == rows
    assert batch is not None


def test_windows_are_those_of_the_executions() -> None:
    executions = [execution(number, NOON + number * timedelta(seconds=100)) for number in range(9)]
    touched = windows_touched(executions)
    assert touched == {(one.market_id, window_start(one.executed_at)) for one in executions}
    windows = sorted(touched)
    batch = windows_batch(windows)
    found = CONNECTION.execute("SELECT market_id, window_start, number * 300 FROM batch").fetchall()
    assert [(market, start.astimezone(UTC)) for market, start, _ in found] == windows
    assert [start.timestamp() == seconds for _, start, seconds in found] == [True] * len(windows)
    assert batch is not None
