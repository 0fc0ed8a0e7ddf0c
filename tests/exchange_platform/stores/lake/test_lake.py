"""Commits to the lake: exactly once, fenced, all or nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from exchange_platform.stores.checkpoints import Advance, StoreUnavailable, Superseded
from exchange_platform.stores.lake import lake as lake_module
from exchange_platform.stores.lake.lake import Lake, LakeCommit
from tests.exchange_platform.stores.lake.lake_feed import (
    NOON,
    SECOND,
    SHARD,
    SOURCE,
    Feed,
    bet,
    execution,
    lake_in,
)
from tests.support.prepared import prepare_lake


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    prepare_lake(tmp_path)
    lake = lake_in(tmp_path)
    yield lake
    lake.close()


def ids(lake: Lake) -> list[str]:
    return [str(name) for name in lake.query("SELECT execution_id FROM executions ORDER BY 1")[0].to_pylist()]


def test_an_execution_comes_back_as_it_went_in(lake: Lake) -> None:
    went_in = execution(
        1, NOON + timedelta(microseconds=123_456), odds="1000", stake="0.005", handicap="-1.25"
    )
    Feed(lake).commit([went_in])
    (row,) = lake.query("SELECT * FROM executions").to_pylist()
    assert row == {
        "execution_id": went_in.execution_id,
        "event_id": "e1",
        "market_id": "1.1",
        "selection_id": 7,
        "handicap": went_in.handicap,
        "odds": went_in.odds,
        "stake": went_in.stake,
        "executed_at": went_in.executed_at,
        "back_bet_id": None,
        "lay_bet_id": None,
    }


def test_a_bet_version_comes_back_as_it_went_in(lake: Lake) -> None:
    went_in = bet(1)
    Feed(lake).commit(bets=[went_in])
    (row,) = lake.query("SELECT * FROM bet_history").to_pylist()
    for name, value in row.items():
        expected = getattr(went_in, name)
        assert value == getattr(expected, "value", expected), name


def test_an_instant_with_an_offset_is_the_same_instant_in_utc(lake: Lake) -> None:
    local = NOON.astimezone(timezone(timedelta(hours=-7)))
    Feed(lake).commit([execution(1, local)])
    assert lake.query("SELECT executed_at::VARCHAR FROM executions")[0].to_pylist() == [
        "2026-06-01 12:00:00+00"
    ]
    assert lake.open_windows() == {("1.1", NOON)}


def test_repeats_within_a_batch_and_between_batches_are_dropped(lake: Lake) -> None:
    feed = Feed(lake)
    first = [execution(1), execution(2), execution(1)]
    assert feed.commit(first, [bet(1), bet(1)]) == LakeCommit(2, 1, 2)
    assert feed.commit([execution(2), execution(3)], [bet(1), bet(1, 2), bet(2)]) == LakeCommit(1, 2, 2)
    assert feed.commit(first, [bet(1)]) == LakeCommit(0, 0, 4)
    assert ids(lake) == [execution(n).execution_id for n in (1, 2, 3)]
    assert lake.counts().bet_versions == 3


def test_the_first_of_two_executions_with_one_id_counts(lake: Lake) -> None:
    feed = Feed(lake)
    feed.commit([execution(1, odds="3"), execution(1, odds="4")])
    feed.commit([execution(1, odds="5")])
    assert lake.query("SELECT odds FROM executions")[0].to_pylist() == [3]


def test_a_repeat_is_found_however_long_ago_it_came(lake: Lake) -> None:
    feed = Feed(lake)
    feed.commit([execution(n) for n in range(2000)])
    for start in range(2000, 2100, 10):
        feed.commit([execution(n) for n in range(start, start + 10)])
    lake.maintain(keep_snapshots="0 seconds")
    assert feed.commit([execution(5), execution(2055), execution(9999)]) == LakeCommit(1, 0, 2)


def test_shuffled_and_doubled_commits_hold_each_record_once(lake: Lake) -> None:
    feed = Feed(lake)
    stream = [execution(n) for n in range(300)] * 2
    bets = [bet(n // 3, n % 3 + 1) for n in range(300)] * 2
    random.Random(7).shuffle(stream)
    random.Random(8).shuffle(bets)
    for start in range(0, 600, 50):
        feed.commit(stream[start : start + 50], bets[start : start + 50])
    assert ids(lake) == [execution(n).execution_id for n in range(300)]
    assert lake.counts().bet_versions == 300


def test_positions_survive_a_restart(lake: Lake, tmp_path: Path) -> None:
    feed = Feed(lake)
    feed.commit([execution(1)])
    lake.close()
    again = lake_in(tmp_path)
    assert again.positions(SOURCE) == {SHARD: feed.position}
    assert again.claim(SOURCE, 2, [SHARD, "shard-1"]) == {SHARD: feed.position, "shard-1": None}
    again.close()


def test_a_commit_without_data_or_with_repeats_only_advances_the_position(lake: Lake, tmp_path: Path) -> None:
    feed = Feed(lake)
    feed.commit([execution(1)])
    feed.commit([execution(1)])
    feed.commit()
    other = lake_in(tmp_path, read_only=True)
    assert other.positions(SOURCE) == {SHARD: "00000003"}
    other.close()


def test_positions_survive_the_dropping_of_their_snapshots(lake: Lake) -> None:
    feed = Feed(lake)
    feed.commit([execution(1)])
    feed.commit([execution(2)])
    lake.maintain(keep_snapshots="0 seconds")
    lake.maintain(keep_snapshots="0 seconds")
    assert lake.positions(SOURCE) == {SHARD: "00000002"}
    assert feed.commit([execution(2), execution(3)]) == LakeCommit(1, 0, 1)


def test_two_consumers_advance_their_own_shards_of_one_source(lake: Lake) -> None:
    lake.claim(SOURCE, 1, ["a"])
    lake.claim(SOURCE, 1, ["b"])
    lake.commit(SOURCE, 1, [Advance("a", None, "1")], [execution(1)], [])
    lake.commit(SOURCE, 1, [Advance("b", None, "5")], [execution(2)], [])
    lake.commit(SOURCE, 1, [Advance("a", "1", "2"), Advance("b", "5", "6")], [execution(3)], [])
    assert lake.positions(SOURCE) == {"a": "2", "b": "6"}


def test_sources_do_not_see_each_others_shards(lake: Lake) -> None:
    lake.claim("one", 1, ["a"])
    lake.claim("two", 7, ["a"])
    lake.commit("one", 1, [Advance("a", None, "1")], [execution(1)], [])
    assert lake.positions("one") == {"a": "1"}
    assert lake.positions("two") == {"a": None}


def test_a_superseded_consumer_writes_nothing(lake: Lake, tmp_path: Path) -> None:
    old = Feed(lake)
    old.commit([execution(1)])
    successor = Feed(lake_in(tmp_path), epoch=2)
    with pytest.raises(Superseded):
        old.commit([execution(2)], [bet(1)])
    successor.commit([execution(3)])
    with pytest.raises(Superseded):
        old.commit([execution(4)])
    with pytest.raises(Superseded):
        old.close_all()
    assert ids(lake) == [execution(1).execution_id, execution(3).execution_id]
    assert (lake.counts().bet_versions, lake.counts().closed_windows) == (0, 0)
    successor.lake.close()


def test_an_older_epoch_can_not_claim(lake: Lake) -> None:
    lake.claim(SOURCE, 5, [SHARD])
    with pytest.raises(Superseded):
        lake.claim(SOURCE, 4, ["shard-9", SHARD])
    assert lake.positions(SOURCE) == {SHARD: None}


def test_a_step_from_another_position_than_the_stored_one_is_refused(lake: Lake) -> None:
    feed = Feed(lake)
    feed.commit([execution(1)])
    with pytest.raises(Superseded):
        lake.commit(SOURCE, 1, [Advance(SHARD, "00000009", "00000010")], [execution(2)], [])
    assert lake.counts().executions == 1


def test_a_shard_that_was_never_claimed_is_refused(lake: Lake) -> None:
    Feed(lake)
    with pytest.raises(Superseded):
        lake.commit(SOURCE, 1, [Advance("shard-9", None, "1")], [execution(2)], [])


def test_a_commit_tried_again_after_its_answer_was_lost_changes_nothing(lake: Lake) -> None:
    feed = Feed(lake)
    feed.commit([execution(1)])
    step = [Advance(SHARD, "00000001", "00000002")]
    assert lake.commit(SOURCE, 1, step, [execution(2)], []) == LakeCommit(1, 0, 0)
    assert lake.commit(SOURCE, 1, step, [execution(2)], []) == LakeCommit(0, 0, 1)
    assert lake.positions(SOURCE) == {SHARD: "00000002"}


@pytest.mark.parametrize("fails", ["executions", "bets", "open windows"])
def test_a_failure_in_the_midst_of_a_commit_leaves_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    feed = Feed(lake)
    feed.commit([execution(1)])
    before = lake.counts()

    def broken(*_: object) -> object:
        raise RuntimeError("the power fails here")

    name = {"executions": "executions_batch", "bets": "add_bets", "open windows": "windows_touched"}[fails]
    with monkeypatch.context() as patched:
        patched.setattr(lake_module, name, broken)
        with pytest.raises(RuntimeError):
            feed.commit([execution(2, NOON + timedelta(hours=1))], [bet(1)])
    assert lake.counts() == before
    assert lake.positions(SOURCE) == {SHARD: "00000001"}
    feed.commit([execution(2, NOON + timedelta(hours=1))], [bet(1)])
    assert lake.open_windows(refresh=True) == {("1.1", NOON), ("1.1", NOON + timedelta(hours=1))}


def test_records_without_a_consumer_go_in_beside_one(lake: Lake, tmp_path: Path) -> None:
    feed = Feed(lake)
    feed.commit([execution(1)])
    replay = lake_in(tmp_path)
    assert replay.commit("dead-letters", 0, [], [execution(1), execution(2)], [bet(1)]) == LakeCommit(1, 1, 1)
    replay.close()
    assert feed.commit([execution(2)], [bet(1)]) == LakeCommit(0, 0, 2)
    assert lake.counts().executions == 2


def test_migrating_again_changes_nothing(lake: Lake) -> None:
    Feed(lake).commit([execution(1)])
    snapshots = "SELECT count(*) FROM ducklake_snapshots('lake')"
    before = lake.query(snapshots).to_pylist()
    lake.migrate()
    assert lake.query(snapshots).to_pylist() == before
    assert lake.counts().executions == 1


def test_a_lake_without_tables_says_how_to_make_them(tmp_path: Path) -> None:
    lake = lake_in(tmp_path)
    with pytest.raises(StoreUnavailable, match="exchange-platform migrate"):
        lake.counts()
    lake.close()
    reader = lake_in(tmp_path / "nowhere", read_only=True)
    with pytest.raises(StoreUnavailable, match="exchange-platform migrate"):
        reader.counts()


def test_a_lake_may_be_moved_with_its_data(lake: Lake, tmp_path: Path) -> None:
    Feed(lake).commit([execution(1)])
    lake.close()
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    again = lake_in(moved)
    Feed(again, epoch=2).commit([execution(2)])
    assert ids(again) == [execution(1).execution_id, execution(2).execution_id]
    again.close()
    moved.rename(tmp_path)


def test_a_catalog_of_other_data_is_refused_with_both_places(lake: Lake, tmp_path: Path) -> None:
    Feed(lake).commit([execution(1)])
    other = Lake(f"sqlite:{tmp_path / 'catalog.sqlite'}", str(tmp_path / "other" / "data"))
    with pytest.raises(StoreUnavailable, match=r"other/data.* does not match .*/data"):
        other.counts()


def test_bets_are_summed_by_the_second_of_placing_and_told_at_their_newest_versions(lake: Lake) -> None:
    placed = NOON + SECOND
    Feed(lake).commit(bets=[bet(1), bet(1, 3), bet(1, 2), bet(2), bet(3, at=placed)])
    one, three = bet(1, 3), bet(3, at=placed)
    first = int(placed.timestamp())
    expected = (
        2,
        4,
        one.matched_minor + three.matched_minor,
        one.remaining_minor + three.remaining_minor,
        one.profit_minor + three.profit_minor,
    )
    assert lake.bet_sums(None, None).keys() == {first, first + 1}
    assert lake.bet_sums(placed, placed + SECOND) == {first: expected}
    assert lake.bet_sums(placed + 2 * SECOND, None) == {}
    assert {bet_id: state.version for bet_id, state in lake.newest_bets([first]).items()} == {
        "b00000001": 3,
        "b00000003": 1,
    }


def test_the_hours_with_data_are_told(lake: Lake) -> None:
    Feed(lake).commit([execution(1), execution(4000)])
    assert lake.hours() == [NOON, NOON + timedelta(hours=1)]
