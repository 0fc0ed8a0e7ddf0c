"""Rounds of checks: everything gets its turn, and what was wrong is looked at until it is right."""

from __future__ import annotations

from datetime import timedelta

from exchange_platform.domain.records import Execution
from exchange_platform.operations.checks import (
    ALWAYS,
    CheckOutcome,
    CheckScope,
    Rounds,
    bets_conserved,
    lake_agrees,
    money_conserved,
)
from tests.exchange_platform.operations.checks.stores import Stores
from tests.support.workload import START, matched_pairs

PASSED = CheckOutcome(True, "")


def _hours_of_data(stores: Stores, hours: int) -> None:
    for number in range(1, hours):
        stores.to_lake(
            [
                record
                for record in matched_pairs(
                    1, start=START + timedelta(hours=number), prefix=f"{number}-", settle=False
                )
                if isinstance(record, Execution)
            ]
        )


def _after(rounds: Rounds, scope: CheckScope, users: CheckOutcome = PASSED) -> Rounds:
    """The rounds after one in which everything else passed, kept as text meanwhile."""
    return Rounds.from_text(rounds.after(scope, [users, PASSED], PASSED, PASSED).to_text())


def test_what_is_little_is_looked_at_whole(stores: Stores) -> None:
    scope = Rounds().scope(stores.database, stores.lake)
    assert scope.users.everyone
    assert scope.placed == (ALWAYS,)
    assert scope.hours is None


def test_every_user_gets_a_turn(stores: Stores) -> None:
    rounds, counted = Rounds(), []
    while True:
        scope = rounds.scope(stores.database, stores.lake, updates=70)
        outcome = money_conserved(stores.database, scope.users)
        counted.append(int(outcome.figures["profiles"]))
        rounds = _after(rounds, scope, outcome)
        if rounds.after_user is None:
            break
    assert sum(counted) == 20
    assert len(counted) > 2
    assert rounds.scope(stores.database, stores.lake, updates=70).users.after is None  # and starts over


def _spread_bets(stores: Stores) -> None:
    """120 more bets, two a second."""
    stores.to_both(
        list(matched_pairs(60, start=START + timedelta(hours=1), step=timedelta(seconds=1), prefix="later-"))
    )


def test_all_bets_get_a_turn_beside_the_newest(stores: Stores) -> None:
    _spread_bets(stores)
    rounds, older = Rounds(), []
    while True:
        scope = rounds.scope(stores.database, stores.lake, bets=20)
        newest = scope.placed[0]
        assert newest.until is None
        older.append(scope.older)
        rounds = _after(rounds, scope)
        if rounds.before_bets is None:
            break
    assert older[0].until == newest.since
    assert [span.until for span in older[1:]] == [span.since for span in older[:-1]]
    assert older[-1].since is None
    assert len(older) > 1


def test_a_second_whose_bets_are_wrong_is_looked_at_again(stores: Stores) -> None:
    _spread_bets(stores)
    stores.sql("DELETE FROM bets WHERE placed_at_us = (SELECT min(placed_at_us) FROM bets)")
    rounds = Rounds()
    wrong = lake_agrees(stores.database, stores.lake, wait=lambda _: None)
    scope = rounds.scope(stores.database, stores.lake, bets=20)
    rounds = rounds.after(scope, [PASSED], wrong, PASSED)
    again = rounds.scope(stores.database, stores.lake, bets=20)
    outcome = lake_agrees(stores.database, stores.lake, again.placed, wait=lambda _: None)
    assert outcome.wrong == wrong.wrong


def test_every_hour_gets_a_turn_beside_the_newest_two(stores: Stores) -> None:
    _hours_of_data(stores, 6)
    every = stores.lake.hours()
    rounds, older = Rounds(), []
    for _ in range(5):
        scope = rounds.scope(stores.database, stores.lake)
        assert scope.hours is not None
        assert set(every[-2:]) < set(scope.hours)
        (hour,) = set(scope.hours) - set(every[-2:])
        older.append(hour)
        rounds = _after(rounds, scope)
    assert older == [every[3], every[2], every[1], every[0], every[3]]


def test_a_user_who_is_wrong_is_looked_at_until_mended(stores: Stores) -> None:
    stores.sql("UPDATE profiles SET bets = bets + 1 WHERE user_id = 'user-00001'")
    rounds, passed = Rounds(), []
    for number in range(5):
        if number == 3:
            stores.sql("UPDATE profiles SET bets = bets - 1 WHERE user_id = 'user-00001'")
        scope = rounds.scope(stores.database, stores.lake, updates=70)
        outcome = bets_conserved(stores.database, scope.users)
        passed.append(outcome.passed)
        rounds = _after(rounds, scope, outcome)
    assert passed == [False, False, False, True, True]
    assert rounds.wrong_users == ()


def test_an_hour_that_is_wrong_is_looked_at_again(stores: Stores) -> None:
    _hours_of_data(stores, 5)
    first = stores.lake.hours()[0]
    wrong = CheckOutcome(False, "", wrong=(first.isoformat(),))
    rounds = Rounds().after(Rounds().scope(stores.database, stores.lake), [PASSED], PASSED, wrong)
    scope = rounds.scope(stores.database, stores.lake)
    assert scope.hours is not None
    assert first in scope.hours
    kept = rounds.after(scope, [PASSED], PASSED, None)
    assert kept.wrong_hours == (first,)


def test_nonsense_in_place_of_rounds_begins_anew() -> None:
    assert Rounds.from_text("nonsense") == Rounds.from_text(None) == Rounds()
