"""Deposits, withdrawals, what is available, and the owner's own limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from exchange_platform.domain.betting_limits import DAY_US, BettingLimit, LimitKind
from exchange_platform.domain.refusals import (
    Conflict,
    Forbidden,
    InsufficientFunds,
    Invalid,
    RefusalCode,
    Refused,
    Unknown,
)
from exchange_platform.operations import checks
from exchange_platform.stores.operational.bets.profiles import Profiles
from exchange_platform.stores.operational.database import Database, ledger
from exchange_platform.stores.operational.tables.wallets import house_balances, wallet_transfers
from exchange_platform.stores.operational.wallets.wallets import TransferKind, Wallets
from tests.exchange_platform.betting import NOW_US, SetClock, add_account
from tests.exchange_platform.stores.bet_lives import opened
from tests.exchange_platform.stores.bet_tables import all_rows, applied, new_database

C = RefusalCode


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_database(tmp_path) as database:
        add_account(database)
        yield database


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def wallets(database: Database, clock: SetClock) -> Wallets:
    return Wallets(database, clock=clock)


def deposit(wallets: Wallets, request_id: str, amount_minor: int, account_id: str = "a1") -> int:
    return wallets.deposit(account_id, request_id, amount_minor, "GBP", authorised_by="a test").balance_minor


def withdraw(wallets: Wallets, request_id: str, amount_minor: int) -> int:
    return wallets.withdraw("a1", request_id, amount_minor, "GBP", authorised_by="a test").balance_minor


def test_money_comes_in_and_goes_out_with_a_ledger_entry_and_the_houses_side(
    database: Database, wallets: Wallets
) -> None:
    assert deposit(wallets, "d1", 5000) == 5000
    assert withdraw(wallets, "w1", 1200) == 3800
    wallet = wallets.wallet("a1")
    assert (wallet.balance_minor, wallet.deposited_minor, wallet.withdrawn_minor) == (3800, 5000, 1200)
    assert wallet.available_minor == 3800
    with database.read() as connection:
        entries = connection.execute(
            sa.select(ledger.c.cause, ledger.c.amount_minor, ledger.c.account).order_by(ledger.c.reference)
        ).all()
        house = connection.execute(sa.select(house_balances.c.account, house_balances.c.amount_minor)).all()
    assert sorted(tuple(row) for row in entries) == [
        ("deposit", 5000, "balance"),
        ("withdrawal", -1200, "balance"),
    ]
    assert [tuple(row) for row in house] == [("cash", -3800)]
    assert checks.money_conserved(database).passed
    assert checks.books_balanced(database).passed


def test_a_transfer_is_made_once_whatever_is_repeated(wallets: Wallets) -> None:
    first = wallets.deposit("a1", "d1", 5000, "GBP", authorised_by="a test")
    assert wallets.deposit("a1", "d1", 5000, "GBP", authorised_by="somebody else") == first
    acts: tuple[Callable[[], object], ...] = (
        lambda: deposit(wallets, "d1", 5001),
        lambda: withdraw(wallets, "d1", 5000),
    )
    for act in acts:
        with pytest.raises(Conflict) as refused:
            act()
        assert refused.value.code is C.SUBMISSION_CONFLICT
    assert wallets.wallet("a1").balance_minor == 5000


def test_only_what_is_available_goes_out(database: Database, wallets: Wallets) -> None:
    deposit(wallets, "d1", 5000)
    applied(database, [opened(user_id="a1")])
    with pytest.raises(InsufficientFunds) as refused:
        withdraw(wallets, "w1", 4001)
    assert "available is 4000 (40.00 GBP)" in str(refused.value)
    assert withdraw(wallets, "w2", 4000) == 1000
    assert wallets.wallet("a1").available_minor == 0


@pytest.mark.parametrize(
    ("changes", "kind", "code"),
    [
        ({"amount_minor": 0}, Invalid, C.INVALID_AMOUNT),
        ({"amount_minor": -5}, Invalid, C.INVALID_AMOUNT),
        ({"amount_minor": 10**11 + 1}, Invalid, C.INVALID_AMOUNT),
        ({"amount_minor": 1.5}, Invalid, C.INVALID_AMOUNT),
        ({"amount_minor": "100"}, Invalid, C.INVALID_AMOUNT),
        ({"currency": "EUR"}, Forbidden, C.WRONG_CURRENCY),
        ({"currency": "pound"}, Forbidden, C.WRONG_CURRENCY),
        ({"account_id": "nobody"}, Unknown, C.UNKNOWN_ACCOUNT),
        ({"account_id": "a 1"}, Invalid, C.INVALID_ACCOUNT_ID),
        ({"account_id": "pending"}, Forbidden, C.ACCOUNT_NOT_CONFIRMED),
        ({"account_id": "closed"}, Forbidden, C.ACCOUNT_CLOSED),
        ({"request_id": ""}, Invalid, C.INVALID_SUBMISSION_ID),
        ({"authorised_by": "  "}, Invalid, C.INVALID_CALLER),
        ({"authorised_by": "x" * 101}, Invalid, C.INVALID_CALLER),
    ],
    ids=str,
)
def test_a_deposit_that_can_not_be_changes_nothing(
    database: Database, wallets: Wallets, changes: dict[str, Any], kind: type[Refused], code: RefusalCode
) -> None:
    add_account(database, "pending", state="PENDING")
    add_account(database, "closed", state="CLOSED")
    with database.read() as connection:
        before = all_rows(connection)
    values: dict[str, Any] = {
        "account_id": "a1",
        "request_id": "d1",
        "amount_minor": 100,
        "currency": "GBP",
        "authorised_by": "a test",
    }
    with pytest.raises(kind) as refused:
        wallets.deposit(**(values | changes))
    assert refused.value.code is code
    with database.read() as connection:
        assert all_rows(connection) == before
        assert connection.execute(sa.select(wallet_transfers)).all() == []


def test_a_closed_accounts_money_can_be_paid_out(database: Database, wallets: Wallets) -> None:
    add_account(database, "gone", funds_minor=700, state="CLOSED")
    assert wallets.withdraw("gone", "w", 700, "GBP", authorised_by="a test").balance_minor == 0


def test_transfers_are_read_in_pages_newest_first(wallets: Wallets, clock: SetClock) -> None:
    for number in range(5):
        deposit(wallets, f"d{number}", 100 + number)
        clock.pass_s(1)
    first = wallets.transfers("a1", limit=3)
    rest = wallets.transfers("a1", limit=3, after=first.after)
    assert [one.request_id for one in [*first.transfers, *rest.transfers]] == ["d4", "d3", "d2", "d1", "d0"]
    assert rest.after is None
    assert first.transfers[0].kind is TransferKind.DEPOSIT
    with pytest.raises(Invalid):
        wallets.transfers("a1", limit=0)
    with pytest.raises(Unknown):
        wallets.transfers("nobody")


def test_an_account_without_a_profile_has_an_empty_wallet(wallets: Wallets) -> None:
    assert wallets.wallet("a1").available_minor == 0
    with pytest.raises(Unknown):
        wallets.wallet("nobody")


def test_a_deposit_is_due_to_the_profile_view_until_it_is_taken(database: Database, wallets: Wallets) -> None:
    profiles = Profiles(database)
    first = wallets.deposit("a1", "d1", 100, "GBP", authorised_by="a test")
    due = profiles.due()
    assert due == {"a1": first.transfer_id}
    second = wallets.deposit("a1", "d2", 100, "GBP", authorised_by="a test")
    profiles.taken(due)  # what was read before the second deposit
    assert profiles.due() == {"a1": second.transfer_id}
    profiles.taken(profiles.due())
    assert profiles.due() == {}
    (profile,) = profiles.read(["a1"])
    assert (profile.balance_minor, profile.deposited_minor, profile.version, profile.last_bet_at_us) == (
        200,
        200,
        2,
        None,
    )


# Limits.


def over(act: Callable[[], object]) -> str:
    with pytest.raises(Forbidden) as refused:
        act()
    assert refused.value.code is C.DEPOSIT_OVER_LIMIT
    return str(refused.value)


def test_deposits_within_a_rolling_day_keep_to_the_limit(wallets: Wallets, clock: SetClock) -> None:
    wallets.set_limit("a1", LimitKind.DEPOSIT_24H, 1000)
    deposit(wallets, "d1", 600)
    clock.pass_s(3600)
    assert "deposit_24h is 1000; 400 (4.00 GBP)" in over(lambda: deposit(wallets, "d2", 401))
    deposit(wallets, "d3", 400)
    over(lambda: deposit(wallets, "d4", 1))
    clock.pass_s(23 * 3600)  # the first is a day old now
    deposit(wallets, "d5", 600)
    over(lambda: deposit(wallets, "d6", 1))


def test_the_lowest_limit_applies(wallets: Wallets, clock: SetClock) -> None:
    wallets.set_limit("a1", LimitKind.DEPOSIT_24H, 1000)
    wallets.set_limit("a1", LimitKind.DEPOSIT_7D, 1500)
    wallets.set_limit("a1", LimitKind.DEPOSIT_30D, 1600)
    deposit(wallets, "d1", 1000)
    clock.pass_s(2 * 86_400)
    assert "deposit_7d" in over(lambda: deposit(wallets, "d2", 501))
    deposit(wallets, "d3", 500)
    clock.pass_s(7 * 86_400)
    assert "deposit_30d" in over(lambda: deposit(wallets, "d4", 101))
    deposit(wallets, "d5", 100)


def test_lowering_holds_at_once_and_raising_after_a_day(wallets: Wallets, clock: SetClock) -> None:
    wallets.set_limit("a1", LimitKind.DEPOSIT_24H, 1000)
    raised = wallets.set_limit("a1", LimitKind.DEPOSIT_24H, 5000)
    assert raised.limits[LimitKind.DEPOSIT_24H] == BettingLimit(
        LimitKind.DEPOSIT_24H, 1000, 5000, NOW_US + DAY_US
    )
    over(lambda: deposit(wallets, "d1", 1001))
    clock.pass_s(86_400 - 1)
    over(lambda: deposit(wallets, "d1", 1001))
    clock.pass_s(1)
    deposit(wallets, "d1", 1001)
    lowered = wallets.set_limit("a1", LimitKind.DEPOSIT_24H, 1)
    assert lowered.value(LimitKind.DEPOSIT_24H) == 1


def test_a_limit_is_taken_away_after_a_day(wallets: Wallets, clock: SetClock) -> None:
    wallets.set_limit("a1", LimitKind.STAKE, 1000)
    wallets.set_limit("a1", LimitKind.STAKE, None)
    assert wallets.limits("a1").value(LimitKind.STAKE) == 1000
    clock.pass_s(86_400)
    assert wallets.limits("a1").value(LimitKind.STAKE) is None


def test_a_break_can_be_made_longer_and_not_shorter(wallets: Wallets, clock: SetClock) -> None:
    until_us = NOW_US + DAY_US
    assert wallets.take_break("a1", until_us).break_until_us(NOW_US) == until_us
    with pytest.raises(Forbidden) as refused:
        wallets.take_break("a1", until_us - 1)
    assert refused.value.code is C.BREAK_NOT_LONGER
    assert wallets.take_break("a1", until_us + 5).break_until_us(NOW_US) == until_us + 5
    clock.pass_s(86_401)
    assert wallets.limits("a1").break_until_us(clock.us) is None
    wallets.take_break("a1", clock.us + 1)


@pytest.mark.parametrize(
    "act",
    [
        lambda wallets: wallets.set_limit("a1", LimitKind.BREAK, 5),
        lambda wallets: wallets.set_limit("a1", "deposit", 5),
        lambda wallets: wallets.set_limit("a1", LimitKind.STAKE, 0),
        lambda wallets: wallets.set_limit("a1", LimitKind.STAKE, 10**12),
        lambda wallets: wallets.set_limit("a1", LimitKind.STAKE, 1.5),
        lambda wallets: wallets.take_break("a1", NOW_US),
        lambda wallets: wallets.take_break("a1", NOW_US + 6 * 366 * DAY_US),
        lambda wallets: wallets.take_break("a1", "tomorrow"),
    ],
)
def test_a_limit_that_can_not_be_is_refused(wallets: Wallets, act: Callable[[Wallets], object]) -> None:
    with pytest.raises(Invalid) as refused:
        act(wallets)
    assert refused.value.code is C.INVALID_LIMIT


def test_nobody_sets_limits_of_an_account_that_there_is_not(wallets: Wallets) -> None:
    acts: tuple[Callable[[], object], ...] = (
        lambda: wallets.set_limit("nobody", LimitKind.STAKE, 5),
        lambda: wallets.take_break("nobody", NOW_US + 5),
        lambda: wallets.limits("nobody"),
    )
    for act in acts:
        with pytest.raises(Unknown):
            act()
