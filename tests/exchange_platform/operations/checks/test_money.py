"""Money and stakes: each kind of corruption is caught, and named, by the check that is for it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange_platform.domain.records import BetUpdate
from exchange_platform.operations.checks import EVERYONE, Users, bets_conserved, money_conserved, some_users
from tests.exchange_platform.operations.checks.stores import Stores
from tests.support.workload import matched_pairs

USER = "user-00007"
SCOPES = (EVERYONE, Users("user-00006", USER), Users("z", "z", (USER,)))


def test_good_data_passes_and_is_counted(filled: Stores) -> None:
    money, bets = money_conserved(filled.database), bets_conserved(filled.database)
    assert money.passed, money.description
    assert bets.passed, bets.description
    assert money.figures["profiles"] == 20
    assert bets.figures["bets"] == 120


def test_an_empty_database_passes(filled: Stores) -> None:
    for table in ("bets", "profiles", "ledger", "positions", "market_exposures"):
        filled.sql(f"DELETE FROM {table}")
    assert money_conserved(filled.database).passed
    assert bets_conserved(filled.database).passed


@pytest.mark.parametrize(
    "corruption",
    [
        "UPDATE profiles SET balance_minor = balance_minor + 1 WHERE user_id = :user",
        "UPDATE profiles SET exposure_minor = exposure_minor + 1 WHERE user_id = :user",
        "UPDATE profiles SET profit_minor = profit_minor + 1 WHERE user_id = :user",
        "UPDATE profiles SET commission_minor = commission_minor + 1 WHERE user_id = :user",
        "DELETE FROM profiles WHERE user_id = :user",
        "UPDATE ledger SET amount_minor = amount_minor + 1 WHERE user_id = :user AND account = 'balance'",
        "UPDATE ledger SET amount_minor = amount_minor - 1 WHERE user_id = :user AND account = 'exposure'",
        "DELETE FROM ledger WHERE user_id = :user",
        "UPDATE market_exposures SET exposure_minor = exposure_minor + 1 WHERE user_id = :user",
        "DELETE FROM market_exposures WHERE user_id = :user",
        "UPDATE positions SET if_loses_minor = if_loses_minor - 100000 WHERE user_id = :user",
    ],
)
def test_money_that_is_not_conserved_is_caught(filled: Stores, corruption: str) -> None:
    filled.sql(corruption, user=USER)
    for users in SCOPES:
        outcome = money_conserved(filled.database, users)
        assert not outcome.passed
        assert outcome.wrong == (USER,)
        assert USER in outcome.description


@pytest.mark.parametrize(
    "corruption",
    [
        "UPDATE bets SET matched_minor = matched_minor + 1 WHERE user_id = :user",
        "UPDATE bets SET stake_minor = stake_minor + 1 WHERE user_id = :user AND status <> 'SETTLED'",
        "UPDATE bets SET status = 'VOIDED' WHERE user_id = :user AND status = 'MATCHED'",
        "UPDATE bets SET matched_winnings_minor = matched_winnings_minor + 1 WHERE user_id = :user AND status = 'MATCHED'",
        "DELETE FROM bets WHERE user_id = :user AND status = 'SETTLED'",
        "UPDATE profiles SET bets = bets + 1 WHERE user_id = :user",
        "UPDATE profiles SET open_bets = open_bets - 1 WHERE user_id = :user",
        "UPDATE profiles SET staked_minor = staked_minor + 1 WHERE user_id = :user",
        "UPDATE profiles SET profit_minor = profit_minor + 1 WHERE user_id = :user",
        "UPDATE positions SET if_wins_minor = if_wins_minor + 1 WHERE user_id = :user",
        "DELETE FROM positions WHERE user_id = :user",
    ],
)
def test_bets_that_do_not_add_up_are_caught(filled: Stores, corruption: str) -> None:
    filled.sql(corruption, user=USER)
    for users in SCOPES:
        outcome = bets_conserved(filled.database, users)
        assert not outcome.passed
        assert outcome.wrong == (USER,)


def test_users_outside_the_share_are_left_out(filled: Stores) -> None:
    filled.sql("UPDATE profiles SET balance_minor = 0, bets = 0 WHERE user_id = :user", user=USER)
    others = Users(USER, None)
    assert money_conserved(filled.database, others).passed
    assert bets_conserved(filled.database, others).passed


def test_shares_of_users_cover_everyone_once(filled: Stores) -> None:
    after, shares = None, []
    while True:
        shares.append(some_users(filled.database, after, 60))
        after = shares[-1].upto
        if after is None:
            break
    counted = [int(money_conserved(filled.database, share).figures["profiles"]) for share in shares]
    assert sum(counted) == 20
    assert len(counted) > 3


def test_a_share_is_as_large_as_its_updates_are_many(filled: Stores) -> None:
    filled.sql("UPDATE profiles SET version = 1000 WHERE user_id = :user", user=USER)
    assert some_users(filled.database, "user-00005", 500).upto == USER
    assert some_users(filled.database, "user-00006", 500).upto == USER  # alone: it has more than a share
    assert some_users(filled.database, USER, 10_000).upto is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odds=st.decimals("1.01", "1000", places=3), remaining=st.integers(1, 10**9))
def test_a_resting_lays_liability_is_rounded_as_the_domain_rounds_it(
    filled: Stores, odds: object, remaining: int
) -> None:
    lay = next(record for record in matched_pairs(1, prefix=f"{odds}-{remaining}-"))
    assert isinstance(lay, BetUpdate)
    resting = type(lay)(
        **{name: getattr(lay, name) for name in lay.__struct_fields__}
        | {"odds": odds, "stake_minor": remaining, "remaining_minor": remaining}
    )
    filled.to_database([resting])
    outcome = bets_conserved(filled.database)
    assert outcome.passed, outcome.description
