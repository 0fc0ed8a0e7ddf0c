"""Orders that are stuck, reservations without a bet, and books that do not balance are each caught
and named.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.domain.bets import BetStatus
from exchange_platform.operations.checks import (
    EVERYONE,
    Users,
    bets_conserved,
    books_balanced,
    money_conserved,
    orders_answered,
    orders_published,
    reservations_backed,
)
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.betting import SetClock, add_account
from tests.exchange_platform.operations.checks.stores import Stores
from tests.exchange_platform.stores.bet_lives import later, opened
from tests.exchange_platform.stores.bet_tables import applied, new_database
from tests.exchange_platform.submission.test_order_publishing import leave

USER = "user-00007"
SCOPES = (EVERYONE, Users("user-00006", USER), Users("z", "z", (USER,)))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_database(tmp_path) as database:
        yield database


def test_an_order_that_a_relay_should_have_published_is_stuck(database: Database) -> None:
    assert orders_published(database, SetClock()).passed
    leave(database, "o1", age_s=1)
    assert orders_published(database, SetClock()).passed
    leave(database, "o2", age_s=8)
    outcome = orders_published(database, SetClock())
    assert not outcome.passed
    assert outcome.description == "2 orders are not published, the oldest for 8 s"


def test_a_bet_that_is_pending_for_too_long_is_unknown(database: Database, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, pending_limit_s=30)
    clock = SetClock()
    bet = opened(status=BetStatus.PENDING)
    applied(database, [bet])
    clock.pass_s(30)
    outcome = orders_answered(database, settings, clock)
    assert outcome.passed
    assert outcome.description == "1 bets are PENDING, the oldest for 30.0 s"
    clock.pass_s(12)
    outcome = orders_answered(database, settings, clock)
    assert not outcome.passed
    assert "1 bets are PENDING for more than 30 s, the oldest for 42 s: b1" in outcome.description
    assert outcome.figures["unknown_bets"] == 1
    applied(database, [later(bet, status=BetStatus.OPEN)])
    assert orders_answered(database, settings, clock).passed


@pytest.mark.parametrize(("set_back_s", "passed"), [(30, True), (3600, False)])
def test_orders_and_bets_that_lie_ahead_after_the_clock_was_set_back_are_late_of_unknown_age(
    database: Database, tmp_path: Path, set_back_s: int, passed: bool
) -> None:
    clock = SetClock()
    applied(database, [opened(status=BetStatus.PENDING)])
    leave(database, "o1", age_s=0)
    clock.pass_s(-set_back_s)
    for outcome in (
        orders_answered(database, Settings(data_dir=tmp_path), clock),
        orders_published(database, clock),
    ):
        assert outcome.passed == passed
        assert ("a time unknown, as the clock was set back" in outcome.description) != passed
        assert all(isinstance(value, int) or value < 1e9 for value in outcome.figures.values())  # type: ignore[operator]


def test_good_data_passes(filled: Stores) -> None:
    for outcome in (reservations_backed(filled.database), books_balanced(filled.database)):
        assert outcome.passed, outcome.description


@pytest.mark.parametrize(
    ("corruption", "said"),
    [
        ("UPDATE bets SET status = 'CANCELLED' WHERE user_id = :user", "without a live bet"),
        ("DELETE FROM bets WHERE user_id = :user AND bet_id LIKE 'live%'", "without a live bet"),
        (
            "INSERT INTO pending_bets (bet_id, user_id, market_id, since_us) VALUES ('none', :user, 'm', 1)",
            "none is listed as pending",
        ),
        (
            "INSERT INTO pending_bets (bet_id, user_id, market_id, since_us)"
            " SELECT bet_id, user_id, market_id, 1 FROM bets WHERE user_id = :user LIMIT 1",
            "is listed as pending and is not",
        ),
        ("UPDATE bets SET status = 'PENDING' WHERE user_id = :user", "is PENDING and not listed"),
    ],
)
def test_money_that_is_set_aside_for_no_live_bet_is_caught(
    filled: Stores, corruption: str, said: str
) -> None:
    filled.sql(corruption, user=USER)
    for users in SCOPES:
        outcome = reservations_backed(filled.database, users)
        assert not outcome.passed
        assert said in outcome.description
        assert outcome.wrong == (USER,)
    assert reservations_backed(filled.database, Users("user-00010", None)).passed


@pytest.mark.parametrize(
    ("corruption", "said"),
    [
        ("UPDATE profiles SET balance_minor = balance_minor + 3 WHERE user_id = :user", "add up to 3"),
        ("DELETE FROM profiles WHERE user_id = :user", "all balances in GBP add up to"),
        ("UPDATE house_balances SET amount_minor = amount_minor - 1 WHERE market_id = '1.0001' AND account = 'commission'", "-1"),
        (
            "DELETE FROM house_balances WHERE account = 'commission' AND amount_minor != 0",
            "all balances in GBP add up to",
        ),
    ],
)  # fmt: skip
def test_books_that_do_not_balance_are_caught(filled: Stores, corruption: str, said: str) -> None:
    filled.sql(corruption, user=USER)
    outcome = books_balanced(filled.database)
    assert not outcome.passed
    assert said in outcome.description


def test_a_market_that_is_done_with_owes_nobody(filled: Stores) -> None:
    filled.sql("DELETE FROM market_exposures")
    filled.sql(
        "INSERT INTO house_balances (account, market_id, currency, amount_minor) VALUES"
        " ('clearing', 'm-one-sided', 'GBP', -50), ('cash', '', 'GBP', 50)"
    )
    outcome = books_balanced(filled.database)
    assert not outcome.passed
    assert "market m-one-sided is done with and owes 50" in outcome.description


def test_deposits_are_in_the_books(database: Database) -> None:
    add_account(database, funds_minor=500)
    add_account(database, "a2", funds_minor=700, currency="EUR")
    for outcome in (money_conserved(database), bets_conserved(database), books_balanced(database)):
        assert outcome.passed, outcome.description
    assert books_balanced(database).figures["currencies"] == 2
