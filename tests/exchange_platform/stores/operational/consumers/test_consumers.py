"""Epochs and checkpoints: of two consumers only the newer writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.checkpoints import Advance, Superseded
from exchange_platform.stores.operational.consumers.consumers import Checkpoints, ConsumerRows
from exchange_platform.stores.operational.consumers.signs import (
    ShardSigns,
    SinkSigns,
    Statistics,
    VitalSigns,
    WindowSigns,
)
from exchange_platform.stores.operational.database import Database, restatements
from exchange_platform.stores.operational.purge_rounds import Budget, Purged
from tests.support.consumer_rows import beat
from tests.support.prepared import prepare_database

SOURCE, SHARD, OTHER = "exchange-bets", "shard-0", "shard-1"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'operational.db'}")
    prepare_database(database)
    yield database
    database.dispose()


@pytest.fixture
def rows(database: Database) -> ConsumerRows:
    return ConsumerRows(database)


@pytest.fixture
def checkpoints(database: Database) -> Checkpoints:
    return Checkpoints(database, "operational_database")


def begin(rows: ConsumerRows, source: str = SOURCE, *, now_us: int = 1_000) -> int:
    return rows.begin(source, f"run-{now_us}", now_us=now_us, ends_at_us=now_us + 500)


def write_something(connection: sa.Connection, name: str) -> None:
    """Data of the same transaction as the checkpoint."""
    connection.execute(
        sa.insert(restatements).values(
            {
                "restatement_id": name,
                "market_id": "m",
                "selection_id": 1,
                "handicap": "0",
                "class": "rerated",
                "volume_change": "0",
                "restated_at_us": 0,
            }
        )
    )


def advance(database: Database, checkpoints: Checkpoints, epoch: int, *steps: Advance, name: str) -> None:
    with database.write() as connection:
        write_something(connection, name)
        checkpoints.advance(connection, SOURCE, epoch, steps, now_us=5)


def written(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(restatements.c.restatement_id)).scalars())


# Consumers.


def test_each_consumer_of_a_source_has_a_higher_epoch(rows: ConsumerRows) -> None:
    assert [begin(rows) for _ in range(3)] == [1, 2, 3]
    assert begin(rows, "another-source") == 1
    newest = rows.newest(SOURCE)
    assert newest is not None
    assert (newest.epoch, newest.state, newest.started_at_us, newest.ends_at_us) == (
        3,
        "running",
        1_000,
        1_500,
    )
    assert [consumer.epoch for consumer in rows.recent(SOURCE, 2)] == [3, 2]


def test_consumers_that_begin_at_once_get_epochs_of_their_own(rows: ConsumerRows) -> None:
    epochs: list[int] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        epochs.append(begin(rows))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(epochs) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_an_epoch_is_never_given_twice_even_when_old_consumers_are_forgotten(rows: ConsumerRows) -> None:
    for now_us in (10, 20, 30):
        begin(rows, now_us=now_us)
    assert rows.purge(before_us=1_000, budget=Budget(SYSTEM_CLOCK, 60)).deleted == 2
    assert [consumer.epoch for consumer in rows.recent(SOURCE)] == [3]
    assert begin(rows) == 4


def test_a_source_without_consumers_has_no_newest(rows: ConsumerRows) -> None:
    assert rows.newest(SOURCE) is None
    assert rows.purge(before_us=1, budget=Budget(SYSTEM_CLOCK, 60)) == Purged(0)


def test_what_another_release_said_that_this_one_cannot_read_is_left_out(rows: ConsumerRows) -> None:
    epoch = begin(rows)
    beat(rows, SOURCE, epoch, statistics={"shards": {"a": "of another form"}, "trouble": ["lake: away"]})
    (newest,) = rows.recent(SOURCE)
    assert newest.statistics == Statistics()
    assert rows.caught_up_by_shard(SOURCE) == {}


def test_signs_are_read_as_they_were_said(rows: ConsumerRows) -> None:
    epoch = begin(rows)
    signs = VitalSigns(
        heartbeat_at_us=5,
        ends_at_us=9,
        at_tip=True,
        caught_up_at_us=4,
        records=3,
        rate=1.5,
        lag_ms=12.0,
        statistics=Statistics(
            shards={"a": ShardSigns("41", 2.0, 3, True)},
            sinks={"lake": SinkSigns(records=3, last_error="away", degraded_since_us=7)},
            windows=WindowSigns(2, 1),
            trouble=["lake: away"],
        ),
    )
    rows.heartbeat(SOURCE, epoch, signs)
    (newest,) = rows.recent(SOURCE)
    assert newest.state == "running"
    told = {name: getattr(newest, name) for name in VitalSigns.__struct_fields__}
    assert told == msgspec.structs.asdict(signs)
    rows.heartbeat(SOURCE, epoch, signs, state="ended")
    assert rows.recent(SOURCE)[0].state == "ended"


def test_a_heartbeat_changes_its_own_consumer_only(rows: ConsumerRows) -> None:
    old, new = begin(rows), begin(rows)
    beat(
        rows,
        SOURCE,
        old,
        heartbeat_at_us=77,
        state="superseded",
        statistics={"shards": {"a": {"records": 1}}},
    )
    newest, oldest = rows.recent(SOURCE)
    assert (newest.epoch, newest.heartbeat_at_us, newest.state, newest.statistics) == (
        new,
        1_000,
        "running",
        Statistics(),
    )
    assert (oldest.heartbeat_at_us, oldest.state, oldest.statistics) == (
        77,
        "superseded",
        Statistics(shards={"a": ShardSigns(records=1)}),
    )


# Checkpoints.


def test_a_shard_that_was_never_claimed_begins_at_the_beginning(checkpoints: Checkpoints) -> None:
    assert checkpoints.holder(SOURCE) == 0
    assert checkpoints.claim(SOURCE, 1, [SHARD, OTHER], now_us=1) == {SHARD: None, OTHER: None}
    assert checkpoints.holder(SOURCE) == 1


def test_a_claim_finds_the_position_that_was_reached(database: Database, checkpoints: Checkpoints) -> None:
    checkpoints.claim(SOURCE, 1, [SHARD, OTHER], now_us=1)
    advance(database, checkpoints, 1, Advance(SHARD, None, "10"), name="a")
    advance(database, checkpoints, 1, Advance(SHARD, "10", "20"), name="b")
    assert checkpoints.claim(SOURCE, 2, [SHARD, OTHER], now_us=2) == {SHARD: "20", OTHER: None}
    assert checkpoints.positions(SOURCE) == {SHARD: "20", OTHER: None}


def test_a_newer_claim_fences_out_the_older_consumer_whose_data_is_rolled_back(
    database: Database, checkpoints: Checkpoints
) -> None:
    checkpoints.claim(SOURCE, 1, [SHARD], now_us=1)
    advance(database, checkpoints, 1, Advance(SHARD, None, "10"), name="before")
    checkpoints.claim(SOURCE, 2, [SHARD], now_us=2)
    with pytest.raises(
        Superseded, match="expected epoch 1 at 10 in operational_database, found epoch 2 at 10"
    ):
        advance(database, checkpoints, 1, Advance(SHARD, "10", "20"), name="fenced out")
    assert written(database) == ["before"]
    assert checkpoints.positions(SOURCE) == {SHARD: "10"}
    advance(database, checkpoints, 2, Advance(SHARD, "10", "20"), name="successor")
    assert written(database) == ["before", "successor"]


def test_a_claim_by_an_older_epoch_is_refused_and_claims_nothing(checkpoints: Checkpoints) -> None:
    checkpoints.claim(SOURCE, 1, [SHARD], now_us=1)
    checkpoints.claim(SOURCE, 3, [OTHER], now_us=1)
    with pytest.raises(Superseded, match="epoch 3 holds it, this consumer's is 2"):
        checkpoints.claim(SOURCE, 2, [SHARD, OTHER, "shard-2"], now_us=2)
    assert checkpoints.positions(SOURCE) == {SHARD: None, OTHER: None}
    # Epoch 1 still has its shard: the refused claim took nothing.
    assert checkpoints.claim(SOURCE, 1, [SHARD], now_us=3) == {SHARD: None}
    assert checkpoints.holder(SOURCE) == 3


@pytest.mark.parametrize("expected", [None, "9", "11"])
def test_an_advance_from_a_position_that_is_not_stored_is_refused(
    database: Database, checkpoints: Checkpoints, expected: str | None
) -> None:
    checkpoints.claim(SOURCE, 1, [SHARD], now_us=1)
    advance(database, checkpoints, 1, Advance(SHARD, None, "10"), name="good")
    with pytest.raises(Superseded):
        advance(database, checkpoints, 1, Advance(SHARD, expected, "20"), name="bad")
    assert written(database) == ["good"]
    assert checkpoints.positions(SOURCE) == {SHARD: "10"}


def test_an_advance_of_a_shard_that_was_not_claimed_is_refused(
    database: Database, checkpoints: Checkpoints
) -> None:
    with pytest.raises(Superseded):
        advance(database, checkpoints, 1, Advance(SHARD, None, "10"), name="unclaimed")
    assert written(database) == []


def test_several_shards_advance_together_or_not_at_all(database: Database, checkpoints: Checkpoints) -> None:
    checkpoints.claim(SOURCE, 1, [SHARD, OTHER], now_us=1)
    checkpoints.claim(SOURCE, 2, [OTHER], now_us=1)
    with pytest.raises(Superseded):
        advance(database, checkpoints, 1, Advance(SHARD, None, "5"), Advance(OTHER, None, "6"), name="both")
    assert checkpoints.positions(SOURCE) == {SHARD: None, OTHER: None}
    assert written(database) == []


def test_sinks_and_sources_keep_checkpoints_of_their_own(
    database: Database, checkpoints: Checkpoints
) -> None:
    view = Checkpoints(database, "profile_view")
    checkpoints.claim(SOURCE, 1, [SHARD], now_us=1)
    view.claim(SOURCE, 1, [SHARD], now_us=1)
    checkpoints.claim("another-source", 7, [SHARD], now_us=1)
    advance(database, checkpoints, 1, Advance(SHARD, None, "10"), name="a")
    assert view.positions(SOURCE) == checkpoints.positions("another-source") == {SHARD: None}
    assert (checkpoints.holder(SOURCE), checkpoints.holder("another-source")) == (1, 7)
