"""The lake against the operational database: a lost row is caught, and records on their way are no alarm."""

from __future__ import annotations

from datetime import timedelta

import pytest

from exchange_platform.domain.bets import Bet
from exchange_platform.domain.records import Record
from exchange_platform.operations.checks import ALWAYS, CheckedSpan, lake_agrees, span_before, windows_agree
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.exchange_platform.operations.checks.stores import EPOCH, Stores
from tests.support.workload import START, matched_pairs

SECOND = timedelta(seconds=1)


class Waiting:
    """Counts the pauses, and lets something happen in them instead of time passing."""

    def __init__(self, *happenings: object) -> None:
        self.happenings = list(happenings)
        self.pauses = 0

    def __call__(self, _seconds: float) -> None:
        self.pauses += 1
        if self.happenings:
            self.happenings.pop(0)()  # type: ignore[operator]


def more(prefix: str) -> list[Record]:
    return list(matched_pairs(10, users=20, prefix=prefix, seed=5))


def test_stores_that_hold_the_same_agree_without_a_pause(stores: Stores) -> None:
    wait = Waiting()
    outcome = lake_agrees(stores.database, stores.lake, wait=wait)
    assert outcome.passed, outcome.description
    assert (outcome.figures["bets"], wait.pauses) == (120, 0)


def test_a_bet_that_got_lost_on_the_way_to_the_lake_is_caught(stores: Stores) -> None:
    records = more("new")
    stores.to_database(records)
    lost = next(record for record in records if isinstance(record, Bet))
    stores.to_lake(records, lost=[lost.bet_id])
    outcome = lake_agrees(stores.database, stores.lake, wait=Waiting())
    assert not outcome.passed
    assert outcome.compared
    assert outcome.wrong == (lost.placed_at.replace(microsecond=0).isoformat(),)
    assert f"bet {lost.bet_id} of {lost.user_id} at version 3 is not in the lake" in outcome.description


FIRST = "WHERE placed_at_us = (SELECT min(placed_at_us) FROM bets)"


@pytest.mark.parametrize(
    ("corruption", "said"),
    [
        (f"DELETE FROM bets {FIRST}", "it is not in bets"),
        (f"UPDATE bets SET version = version - 1 {FIRST}", "bets has version"),
        (f"UPDATE bets SET version = version + 1 {FIRST}", "the lake has version"),
        (f"UPDATE bets SET profit_minor = profit_minor + 1 {FIRST}", "differs"),
    ],
)
def test_a_bet_that_differs_is_caught(stores: Stores, corruption: str, said: str) -> None:
    first = START.replace(microsecond=0)
    stores.sql(corruption)
    for placed in (
        (ALWAYS,),
        (CheckedSpan(None, first + timedelta(minutes=1)),),
        (CheckedSpan(first, first + SECOND),),
    ):
        outcome = lake_agrees(stores.database, stores.lake, placed, wait=Waiting())
        assert not outcome.passed
        assert outcome.wrong == (first.isoformat(),)
        assert said in outcome.description
    assert lake_agrees(
        stores.database, stores.lake, [CheckedSpan(first + SECOND, None)], wait=Waiting()
    ).passed


def test_a_bet_that_only_this_platform_knows_of_is_no_difference(stores: Stores) -> None:
    stores.sql("UPDATE bets SET bet_id = 'new-' || bet_id, status = 'PENDING' WHERE status = 'MATCHED'")
    with stores.lake._connection.write() as connection:
        connection.execute("DELETE FROM bet_history WHERE bet_id LIKE 'live%'")
    outcome = lake_agrees(stores.database, stores.lake, wait=Waiting())
    assert outcome.passed, outcome.description
    assert outcome.figures["bets"] == 60


def test_spans_cover_every_bet_once(stores: Stores) -> None:
    until, counted = None, []
    while True:
        span = span_before(stores.database, until, 25)
        outcome = lake_agrees(stores.database, stores.lake, [span], wait=Waiting())
        assert outcome.passed, outcome.description
        counted.append(int(outcome.figures["bets"]))
        until = span.since
        if until is None:
            break
    assert sum(counted) == 120
    assert len(counted) > 1


def test_a_lake_that_is_a_little_behind_is_waited_for(stores: Stores) -> None:
    records = more("new")
    stores.to_database(records)
    outcome = lake_agrees(
        stores.database, stores.lake, wait=Waiting(lambda: None, lambda: stores.to_lake(records))
    )
    assert outcome.passed, outcome.description


def test_a_lake_that_stays_behind_is_not_compared(stores: Stores) -> None:
    stores.to_database(more("new"))
    outcome = lake_agrees(stores.database, stores.lake, wait=Waiting())
    assert not outcome.compared
    assert "behind the operational database" in outcome.description


def test_records_that_arrive_while_the_stores_are_compared_are_no_difference(stores: Stores) -> None:
    first, second = more("first"), more("second")
    stores.to_database(first)

    def both_go_on() -> None:
        stores.to_lake(first)
        stores.to_both(second)

    outcome = lake_agrees(stores.database, stores.lake, wait=Waiting(both_go_on))
    assert outcome.passed, outcome.description


def test_a_shard_of_a_stream_that_is_gone_is_not_waited_for(stores: Stores) -> None:
    stores.sql(
        "INSERT INTO checkpoints SELECT sink, source, 'shardId-000000000000@0', 0, '99999', 0 FROM checkpoints"
    )
    wait = Waiting()
    assert lake_agrees(stores.database, stores.lake, wait=wait).passed
    assert wait.pauses == 0


def _close_all(stores: Stores) -> None:
    stores.lake.close_windows(
        EXCHANGE_BETS, EPOCH, {market: None for market, _ in stores.lake.open_windows()}
    )


def _corrupt(stores: Stores, statement: str) -> None:
    with stores.lake._connection.write() as connection:
        connection.execute(statement)


def test_windows_that_are_open_or_rightly_closed_agree(stores: Stores) -> None:
    assert windows_agree(stores.lake).passed
    _close_all(stores)
    outcome = windows_agree(stores.lake)
    assert outcome.passed
    assert outcome.figures["open"] == 0


@pytest.mark.parametrize(
    "corruption",
    [
        "UPDATE odds_windows SET vwap = vwap + 1 WHERE selection_id = 1",
        "DELETE FROM odds_windows WHERE selection_id = 1",
        "DELETE FROM executions WHERE selection_id = 1",
    ],
)
def test_a_closed_window_that_is_not_what_its_executions_give_is_caught(
    stores: Stores, corruption: str
) -> None:
    _close_all(stores)
    _corrupt(stores, corruption)
    hour = START.replace(minute=0, second=0)
    for hours in (None, [hour]):
        outcome = windows_agree(stores.lake, hours)
        assert not outcome.passed
        assert outcome.wrong == (hour.isoformat(),)
    assert windows_agree(stores.lake, [hour - timedelta(hours=1)]).passed
