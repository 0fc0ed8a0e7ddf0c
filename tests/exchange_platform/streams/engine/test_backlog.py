"""Cutting and counting batches: no record is lost or doubled at a cut, and a checkpoint never passes half of
an aggregated record.
"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.streams.engine.backlog import Backlog, Size
from exchange_platform.streams.engine.cutting import split_whole
from exchange_platform.streams.engine.source import ShardBatch, StreamRecord
from exchange_platform.streams.engine.steps import FIRST_STEP, MAX_STEP, MIN_STEP, STEP_S, StepPace


def batch_of(groups: list[int], size: int = 10, first: int = 1) -> ShardBatch:
    """A batch of records, so many aggregated at each position."""
    records = [
        StreamRecord(str(first + place), part, "", b"x" * size, 0)
        for place, parts in enumerate(groups)
        for part in range(parts)
    ]
    return ShardBatch("shard-0", str(first - 1), str(first + len(groups) - 1), records)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.integers(1, 40), st.integers(1, 400))
def test_a_split_falls_between_whole_records_and_loses_none(
    groups: list[int], records: int, max_bytes: int
) -> None:
    batch = batch_of(groups)
    left, right = split_whole(batch, records, max_bytes)
    assert left.records + (right.records if right else []) == batch.records
    assert left.previous == batch.previous
    if right is None:
        assert left.position == batch.position
        return
    assert left.position == right.previous == left.records[-1].position
    assert right.position == batch.position
    assert left.records[-1].position != right.records[0].position
    fits = len(left.records) <= records and 10 * len(left.records) <= max_bytes
    assert fits or len({record.position for record in left.records}) == 1


@given(
    st.lists(st.lists(st.integers(1, 4), min_size=0, max_size=8), min_size=1, max_size=8),
    st.integers(1, 12),
    st.integers(1, 200),
)
def test_a_backlog_gives_everything_in_order_in_steps_that_fit(
    batches: list[list[int]], records: int, max_bytes: int
) -> None:
    backlog = Backlog()
    first = 1
    put: list[StreamRecord] = []
    for groups in batches:
        batch = batch_of(groups, first=first)
        first += len(groups)
        put += batch.records
        backlog.put([batch])
    taken: list[StreamRecord] = []
    while backlog.has_waiting:
        step = [record for batch in backlog.take(Size(records, max_bytes)) for record in batch.records]
        assert (len(step) <= records and 10 * len(step) <= max_bytes) or len(
            {record.position for record in step}
        ) == 1
        taken += step
    assert taken == put
    assert backlog.size == Size(len(put), 10 * len(put))
    done = backlog.settle()
    assert [record for batch in done for record in batch.records] == put
    assert all(left.position == right.previous for left, right in pairwise(done))
    assert backlog.size == Size()
    assert not backlog


def test_what_is_put_back_comes_first_again() -> None:
    backlog = Backlog()
    backlog.put([batch_of([1, 1, 1])])
    backlog.take(Size(2, 1_000))
    backlog.put_back()
    taken = backlog.take(Size(10, 1_000))
    assert [record.position for batch in taken for record in batch.records] == ["1", "2", "3"]


def test_the_newest_are_dropped_and_what_is_in_hand_stays() -> None:
    backlog = Backlog()
    backlog.put([batch_of([1] * 5, first=1 + 5 * number) for number in range(4)])
    backlog.take(Size(5, 1_000))
    dropped = backlog.drop_newest(Size(12, 1_000))
    assert [batch.previous for batch in dropped] == ["15", "10"]
    assert backlog.size == Size(10, 100)


@pytest.mark.parametrize("seconds_a_record", [0.00001, 0.001, 0.02, 0.5])
@pytest.mark.parametrize("own_s", [0.0, 0.05, 0.5])
def test_the_pace_settles_where_a_step_takes_some_seconds(seconds_a_record: float, own_s: float) -> None:
    pace = StepPace()
    for _ in range(40):
        pace.committed(pace.records, own_s + pace.records * seconds_a_record)
    took_s = own_s + pace.records * seconds_a_record
    assert took_s <= 1.1 * STEP_S or pace.records == MIN_STEP
    assert took_s >= STEP_S / 2 or pace.records == MAX_STEP


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_steps_do_not_shrink_for_a_cost_that_is_the_commits_own(noise: float) -> None:
    """A view of 500 users costs the same for 200 records as for 20,000; cut small, it would be written a
    hundred times as often.
    """
    rng = random.Random(1)
    pace = StepPace()
    for _ in range(40):
        pace.committed(pace.records, 3.0 * rng.uniform(1 - noise, 1 + noise) + pace.records * 0.00005)
    assert pace.records > MAX_STEP / 3


def test_a_small_commit_says_nothing_of_a_large_one() -> None:
    pace = StepPace()
    for _ in range(20):
        pace.committed(5, 0.001)
    assert pace.records == FIRST_STEP
