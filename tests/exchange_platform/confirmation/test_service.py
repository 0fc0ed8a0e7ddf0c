"""Registering, asking again, confirming, closing: what holds whoever does it how often at the same time. On
SQLite and MariaDB.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest
import sqlalchemy as sa

from exchange_platform.confirmation.service import AccountService, Pressed, Registration
from exchange_platform.domain.accounts import AccountState, InvalidAddress, MailChoice
from exchange_platform.domain.money import InvalidMoney
from exchange_platform.mail.channel import Skip
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.operational.accounts.accounts import (
    AccountInUse,
    IllegalAccountTransition,
    NoSuchAccount,
    mark_address_undeliverable,
    mark_undeliverable,
    purge_unconfirmed,
)
from exchange_platform.stores.operational.accounts.limits import TooMany, purge_idle
from exchange_platform.stores.operational.database import bets, profiles
from exchange_platform.stores.operational.purge_rounds import Budget
from exchange_platform.stores.operational.tables.accounts import rate_limits
from tests.support.account_parts import CLIENT, DAY, HOUR, MINUTE, SECOND, AccountParts

T = TypeVar("T")


def test_an_account_is_pending_until_the_mailed_code_is_pressed(parts: AccountParts) -> None:
    account_id = parts.register("Ann@Example.com", "Ann <b>")
    assert parts.account(account_id).state is AccountState.PENDING
    (code,) = parts.codes()
    parts.clock.now += HOUR
    assert parts.service.confirm(code, CLIENT) is Pressed.CONFIRMED
    account = parts.account(account_id)
    assert account.state is AccountState.CONFIRMED
    assert (account.email, account.display_name) == ("Ann@example.com", "Ann <b>")
    assert account.confirmed_at_us == parts.clock.now
    assert account.holds_address


def test_a_code_is_good_once(parts: AccountParts) -> None:
    account_id = parts.register()
    (code,) = parts.codes()
    assert parts.service.confirm(code, CLIENT) is Pressed.CONFIRMED
    before = parts.account(account_id)
    parts.clock.now += SECOND
    assert parts.service.confirm(code, CLIENT) is Pressed.USED
    assert parts.account(account_id) == before


def test_a_code_that_broke_into_lines_is_read_all_the_same(parts: AccountParts) -> None:
    parts.register()
    (code,) = parts.codes()
    assert parts.service.confirm(f" {code[:40]}\r\n{code[40:]}\n", CLIENT) is Pressed.CONFIRMED


def test_of_many_who_press_at_once_one_confirms(parts: AccountParts) -> None:
    for _ in range(5):
        parts.clock.now += HOUR
        parts.register(f"{parts.clock.now}@example.com")
        (code,) = parts.codes()
        pressed = _at_once(8, lambda code=code: parts.service.confirm(code, CLIENT))  # type: ignore[misc]
        assert sorted(one.value for one in pressed) == ["confirmed"] + ["used"] * 7


def test_of_several_accounts_of_an_address_one_is_confirmed_however_they_race(parts: AccountParts) -> None:
    ids = [parts.register("ann@example.com", client=f"192.0.2.{number}") for number in range(4)]
    codes = parts.codes()
    assert len(codes) == 4
    waiting = iter(codes)
    lock = threading.Lock()

    def press() -> Pressed:
        with lock:
            code = next(waiting)
        return parts.service.confirm(code, CLIENT)

    assert sorted(one.value for one in _at_once(4, press)) == ["confirmed", "taken", "taken", "taken"]
    states = [parts.account(account_id).state for account_id in ids]
    assert sorted(states) == [AccountState.CONFIRMED] + [AccountState.PENDING] * 3


def test_a_known_address_is_registered_as_any_other_and_its_owner_is_told(parts: AccountParts) -> None:
    first = parts.register("ann@example.com")
    parts.service.confirm(parts.codes()[0], CLIENT)
    parts.clock.now += MINUTE
    second = parts.register("ANN@example.com", "Mallory")
    assert parts.account(second).state is AccountState.PENDING
    (mail,) = parts.mail()
    assert not isinstance(mail, Skip)
    assert mail.subject == "You have an account already"  # type: ignore[union-attr]
    assert "confirm" not in mail.text.lower()  # type: ignore[union-attr]
    assert "Mallory" not in f"{mail}"
    parts.clock.now += MINUTE
    parts.service.ask_again(second)
    assert parts.codes() == []
    assert parts.account(second).state is AccountState.PENDING
    assert parts.account(first).state is AccountState.CONFIRMED


def test_an_expired_code_confirms_nothing_though_its_hash_is_still_there(parts: AccountParts) -> None:
    account_id = parts.register()
    (code,) = parts.codes()
    parts.clock.now += int(parts.settings.token_lifetime_s) * SECOND - SECOND
    other = parts.register("bob@example.com")
    (later,) = parts.codes()
    parts.clock.now += SECOND
    assert parts.service.confirm(code, CLIENT) is Pressed.EXPIRED
    assert parts.account(account_id).state is AccountState.PENDING
    assert parts.service.confirm(later, CLIENT) is Pressed.CONFIRMED
    assert parts.account(other).state is AccountState.CONFIRMED


def test_a_newer_mail_voids_the_older_code(parts: AccountParts) -> None:
    account_id = parts.register()
    (older,) = parts.codes()
    parts.clock.now += MINUTE
    parts.service.ask_again(account_id)
    (newer,) = parts.codes()
    assert parts.service.confirm(older, CLIENT) is Pressed.UNKNOWN
    assert parts.account(account_id).state is AccountState.PENDING
    assert parts.service.confirm(newer, CLIENT) is Pressed.CONFIRMED


def test_a_mail_that_has_not_left_when_a_newer_one_is_asked_for_is_not_sent(parts: AccountParts) -> None:
    account_id = parts.register()
    parts.clock.now += MINUTE
    parts.service.ask_again(account_id)
    first, second = parts.mail()
    assert first == Skip("a newer one was asked for")
    assert not isinstance(second, Skip)


def test_whoever_died_between_the_token_and_the_account_presses_again(parts: AccountParts) -> None:
    account_id = parts.register()
    (code,) = parts.codes()
    parts.tokens.use(account_id, code.partition(".")[2], now_s=parts.clock.now // SECOND)  # and no more
    assert parts.service.confirm(code, CLIENT) is Pressed.CONFIRMED


def test_asking_again_is_limited_and_the_wait_is_told_exactly(parts: AccountParts) -> None:
    account_id = parts.register()
    parts.clock.now += 10 * SECOND
    with pytest.raises(TooMany) as refused:
        parts.service.ask_again(account_id)
    assert refused.value.retry_after_s == 50
    for _ in range(4):
        parts.clock.now += MINUTE
        parts.service.ask_again(account_id)
    parts.clock.now += HOUR
    with pytest.raises(TooMany) as refused:
        parts.service.ask_again(account_id)
    parts.clock.now += refused.value.retry_after_s * SECOND
    parts.service.ask_again(account_id)


def test_an_inbox_gets_only_so_many_mails_and_no_caller_learns_of_it(parts: AccountParts) -> None:
    for number in range(20):
        parts.clock.now += MINUTE
        account_id = parts.register("ann@example.com", client=f"192.0.2.{number}")
        assert parts.account(account_id).state is AccountState.PENDING
    assert len(parts.codes()) == 12
    parts.register("bob@example.com", client="192.0.2.50")
    assert len(parts.codes()) == 1


def test_registering_is_limited_by_client_by_address_and_for_everybody(parts: AccountParts) -> None:
    service = _with(
        parts,
        limit_registrations="8/minute",
        limit_registrations_client="5/minute",
        limit_registrations_client_address="2/minute",
    )

    def registered(address: str, client: str) -> bool:
        try:
            service.register(Registration.checked(address, "Ann", "GBP", MailChoice.ALL), client)
        except TooMany as error:
            waits.append(error.retry_after_s)
            return False
        return True

    waits: list[int] = []
    assert [registered("a@example.com", "192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [registered(f"b{n}@example.com", "192.0.2.1") for n in range(4)] == [True, True, True, False]
    assert [registered(f"c{n}@example.com", f"192.0.2.{n + 2}") for n in range(4)] == [
        True,
        True,
        True,
        False,
    ]
    assert sum(parts.accounts.counts().values()) == 8
    assert waits == [60, 60, 60]
    parts.clock.now += MINUTE
    assert registered("a@example.com", "192.0.2.1")


def test_limits_hold_for_many_at_once(parts: AccountParts) -> None:
    service = _with(parts, limit_registrations_client="7/hour")

    def register() -> bool:
        try:
            service.register(
                Registration.checked(f"{threading.get_ident()}@example.com", "Ann", "GBP", MailChoice.ALL),
                CLIENT,
            )
        except TooMany:
            return False
        return True

    assert sum(_at_once(16, register)) == 7
    assert sum(parts.accounts.counts().values()) == 7


def test_pressing_is_limited_by_client(parts: AccountParts) -> None:
    service = _with(parts, limit_confirmations_client="3/minute")
    for _ in range(3):
        assert service.confirm("guess", CLIENT) is Pressed.UNKNOWN
    with pytest.raises(TooMany):
        service.confirm("guess", CLIENT)
    assert service.confirm("guess", "192.0.2.2") is Pressed.UNKNOWN


def test_a_refused_mail_stops_mail_until_the_owner_confirms_anew(parts: AccountParts) -> None:
    account_id = parts.register()
    (old,) = parts.codes()
    parts.service.confirm(old, CLIENT)
    parts.clock.now += HOUR
    with parts.database.write() as connection:
        assert mark_undeliverable(connection, account_id, "550 no such user" * 50, parts.clock.now)
        assert not mark_undeliverable(connection, account_id, "again", parts.clock.now)
    account = parts.account(account_id)
    assert account.state is AccountState.UNDELIVERABLE
    assert not account.takes_mail
    assert (account.state_reason or "").startswith("550 no such user")
    assert account.holds_address
    assert parts.service.confirm(old, CLIENT) is Pressed.UNKNOWN
    parts.clock.now += HOUR
    parts.service.ask_again(account_id)
    (new,) = parts.codes()
    assert parts.service.confirm(new, CLIENT) is Pressed.CONFIRMED
    assert parts.account(account_id).state_reason is None


def test_a_wish_from_before_the_refusal_is_not_mailed(parts: AccountParts) -> None:
    account_id = parts.register()
    parts.clock.now += SECOND
    with parts.database.write() as connection:
        mark_undeliverable(connection, account_id, "550", parts.clock.now)
    (skipped,) = parts.mail()
    assert isinstance(skipped, Skip)


def test_a_late_bounce_says_nothing_against_a_newer_confirmation(parts: AccountParts) -> None:
    account_id = parts.register("Ann@example.com")
    bounced_at_us = parts.clock.now + MINUTE
    parts.clock.now += HOUR
    parts.service.confirm(parts.codes()[0], CLIENT)

    def marked(observed_at_us: int) -> int:
        with parts.database.write() as connection:
            return mark_address_undeliverable(
                connection, "ANN@example.com", "x", observed_at_us=observed_at_us, now_us=parts.clock.now
            )

    assert marked(bounced_at_us) == 0
    assert parts.account(account_id).state is AccountState.CONFIRMED
    assert marked(parts.clock.now + MINUTE) == 1
    assert parts.account(account_id).state is AccountState.UNDELIVERABLE


def test_a_closed_account_lets_go_of_its_address_and_stays_closed(parts: AccountParts) -> None:
    first = parts.register()
    (code,) = parts.codes()
    parts.service.confirm(code, CLIENT)
    parts.service.close(first)
    parts.service.close(first)
    assert parts.account(first).state is AccountState.CLOSED
    with pytest.raises(IllegalAccountTransition):
        parts.service.ask_again(first)
    with pytest.raises(IllegalAccountTransition):
        parts.service.choose_mail(first, MailChoice.NONE)
    assert parts.service.confirm(code, CLIENT) is Pressed.UNKNOWN
    parts.clock.now += MINUTE
    second = parts.register()
    assert parts.service.confirm(parts.codes()[0], CLIENT) is Pressed.CONFIRMED
    assert parts.account(second).state is AccountState.CONFIRMED


def test_an_account_with_live_bets_or_money_is_not_closed(parts: AccountParts) -> None:
    account_id = parts.register()
    with parts.database.write() as connection:
        connection.execute(sa.insert(bets).values(_bet(account_id)))
    with pytest.raises(AccountInUse, match="1 live bets"):
        parts.service.close(account_id)
    with parts.database.write() as connection:
        connection.execute(sa.update(bets).values(status="SETTLED"))
        connection.execute(
            sa.insert(profiles).values(
                user_id=account_id, currency="GBP", version=1, balance_minor=250, updated_at_us=0
            )
        )
    with pytest.raises(AccountInUse, match="250 minor units GBP"):
        parts.service.close(account_id)
    with parts.database.write() as connection:
        connection.execute(sa.update(profiles).values(balance_minor=0))
    parts.service.close(account_id)
    assert parts.account(account_id).state is AccountState.CLOSED


def test_choosing_mail_changes_the_choice_alone(parts: AccountParts) -> None:
    account_id = parts.register()
    before = parts.account(account_id)
    after = parts.service.choose_mail(account_id, MailChoice.DIGEST)
    assert after == replace(before, mail_choice=MailChoice.DIGEST)


def test_an_unknown_account_is_refused(parts: AccountParts) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: parts.service.ask_again("nobody"),
        lambda: parts.service.close("nobody"),
        lambda: parts.service.choose_mail("nobody", MailChoice.ALL),
    ]
    for attempt in attempts:
        with pytest.raises(NoSuchAccount):
            attempt()


def test_only_accounts_that_nobody_confirmed_for_days_are_purged(parts: AccountParts) -> None:
    confirmed = parts.register("a@example.com")
    parts.service.confirm(parts.codes()[0], CLIENT)
    old = parts.register("b@example.com")
    asked = parts.register("c@example.com")
    bounced = parts.register("d@example.com")
    with parts.database.write() as connection:
        mark_undeliverable(connection, bounced, "550", parts.clock.now)
        mark_undeliverable(connection, confirmed, "550", parts.clock.now)
    parts.clock.now += 5 * DAY
    parts.service.ask_again(asked)
    young = parts.register("e@example.com")
    before_us = parts.clock.now - 3 * DAY
    assert (
        purge_unconfirmed(parts.database, before_us=before_us, budget=Budget(SYSTEM_CLOCK, 60)).deleted == 2
    )
    left = parts.accounts.get_many([confirmed, old, asked, bounced, young])
    assert set(left) == {confirmed, asked, young}
    codes = parts.codes()
    assert [code.partition(".")[0] for code in codes] == [asked, young]


def test_limits_that_say_nothing_any_more_are_forgotten(parts: AccountParts) -> None:
    parts.register()
    parts.clock.now += 2 * DAY
    parts.register("bob@example.com", client="192.0.2.9")
    before = _limits(parts)
    assert purge_idle(parts.database, parts.clock.now, Budget(SYSTEM_CLOCK, 60)).deleted > 0
    assert 0 < _limits(parts) < before


def test_a_domain_that_takes_no_mail_is_refused_where_that_is_checked(parts: AccountParts) -> None:
    class NoMail:
        def require(self, domain: str) -> None:
            raise InvalidAddress(f"{domain} takes no mail")

    service = AccountService(
        parts.settings, parts.database, parts.tokens, domains=NoMail(), clock=parts.clock
    )
    with pytest.raises(InvalidAddress, match=r"example\.com takes no mail"):
        service.register(Registration.checked("ann@example.com", "Ann", "GBP", MailChoice.ALL), CLIENT)
    assert parts.accounts.counts() == {}


def test_a_currency_that_no_account_can_have_is_refused() -> None:
    with pytest.raises(InvalidMoney, match="XXX"):
        Registration.checked("ann@example.com", "Ann", "XXX", MailChoice.ALL)


def test_no_token_is_at_rest_in_clear(parts: AccountParts) -> None:
    account_id = parts.register()
    (code,) = parts.codes()
    token = code.partition(".")[2]
    item = parts.dynamodb.get_item(
        TableName=parts.settings.tokens_table, Key={"account_id": {"S": account_id}}
    )
    assert token not in str(item)
    with parts.database.read() as connection:
        for table in sa.inspect(parts.database.engine).get_table_names():
            rows = connection.execute(sa.text(f"SELECT * FROM {table}")).all()
            assert token not in str(rows)


def _with(parts: AccountParts, **limits: str) -> AccountService:
    settings = parts.settings.model_copy(update=limits)
    return AccountService(settings, parts.database, parts.tokens, clock=parts.clock)


def _limits(parts: AccountParts) -> int:
    with parts.database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(rate_limits)).scalar_one()


def _at_once(count: int, call: Callable[[], T]) -> list[T]:
    """What the calls return that so many threads make at the same time."""
    results: list[T] = []
    together = threading.Barrier(count)

    def run() -> None:
        together.wait()
        results.append(call())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count
    return results


def _bet(account_id: str) -> dict[str, object]:
    """A row of `bets`: an open bet of the account."""
    texts = {"bet_id": "b1", "user_id": account_id, "event_id": "e", "market_id": "m", "handicap": "0"}
    words = {"side": "back", "odds": "2", "currency": "GBP", "status": "OPEN"}
    numbers = ("version", "selection_id", "stake_minor", "number_of_winners", "number_of_selections")
    instants = ("placed_at_us", "updated_at_us")
    return {**texts, **words, **dict.fromkeys((*numbers, *instants), 1)}
