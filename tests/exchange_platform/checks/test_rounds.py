"""Rounds of checks: everything gets its turn, and what was wrong is looked at until it is right."""

from __future__ import annotations

from datetime import timedelta

from exchange_platform.checks import CheckOutcome, Rounds, bets_conserved, money_conserved
from exchange_platform.records import Execution
from tests.exchange_platform.checks.stores import Stores
from tests.workload import START, matched_pairs

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


def test_few_users_and_hours_are_looked_at_whole(stores: Stores) -> None:
    scope = Rounds().scope(stores.database, stores.lake)
    assert scope.users.everyone
    assert scope.hours is None


def test_every_user_gets_a_turn(stores: Stores) -> None:
    rounds, counted = Rounds(), []
    for _ in range(6):
        scope = rounds.scope(stores.database, stores.lake, users=7)
        outcome = money_conserved(stores.database, scope.users)
        counted.append(outcome.figures["profiles"])
        rounds = Rounds.from_text(rounds.after(scope, [outcome], PASSED).to_text())
    assert counted == [7, 7, 6, 7, 7, 6]


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
        rounds = Rounds.from_text(rounds.after(scope, [PASSED], PASSED).to_text())
    assert older == [every[3], every[2], every[1], every[0], every[3]]


def test_a_user_who_is_wrong_is_looked_at_until_mended(stores: Stores) -> None:
    stores.sql("UPDATE profiles SET bets = bets + 1 WHERE user_id = 'user-00001'")
    rounds, passed = Rounds(), []
    for number in range(5):
        if number == 3:
            stores.sql("UPDATE profiles SET bets = bets - 1 WHERE user_id = 'user-00001'")
        scope = rounds.scope(stores.database, stores.lake, users=7)
        outcome = bets_conserved(stores.database, scope.users)
        passed.append(outcome.passed)
        rounds = rounds.after(scope, [outcome, PASSED], PASSED)
    assert passed == [False, False, False, True, True]
    assert rounds.wrong_users == ()


def test_an_hour_that_is_wrong_is_looked_at_again(stores: Stores) -> None:
    _hours_of_data(stores, 5)
    first = stores.lake.hours()[0]
    wrong = CheckOutcome(False, "", wrong=(first.isoformat(),))
    rounds = Rounds().after(Rounds().scope(stores.database, stores.lake), [PASSED], wrong)
    scope = rounds.scope(stores.database, stores.lake)
    assert scope.hours is not None
    assert first in scope.hours
    kept = rounds.after(scope, [PASSED], None)
    assert kept.wrong_hours == (first,)


def test_nonsense_in_place_of_rounds_begins_anew() -> None:
    assert Rounds.from_text("nonsense") == Rounds.from_text(None) == Rounds()
