"""Accounts in the operational database: what is written to them, in the caller's transaction. Not here: who
may (confirmation/), or mail (mails/mails.py).

Every change of a state asserts the version it was decided on, so of two changes at once one is refused; the
unique column `holds_email_key` lets one account only hold an address, whoever confirms at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from exchange_platform.domain.accounts import TRANSITIONS, AccountState, Address, MailChoice
from exchange_platform.stores.operational.database import Database, bets, profiles
from exchange_platform.stores.operational.purge_rounds import ROWS_AT_ONCE, Budget, Purged, counted
from exchange_platform.stores.operational.tables.accounts import accounts
from exchange_platform.stores.operational.upsert import chunks

MAX_REASON = 200
_CLOCKS_APART_US = 2_000_000
_LIVE = ("PENDING", "OPEN", "MATCHED", "UNSETTLED")


class NoSuchAccount(LookupError):
    """There is no account of that id: refuse."""


class AddressTaken(Exception):
    """Another account holds the address: refuse. Roll the transaction back."""


class IllegalAccountTransition(Exception):
    """The account's state does not allow that: refuse. The message names both states."""


class AccountInUse(Exception):
    """The account has live bets or money: refuse to close it. The message says which."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `version` counts the changes of its state."""

    account_id: str
    email: str
    email_key: str
    display_name: str
    currency: str
    state: AccountState
    state_reason: str | None
    version: int
    mail_choice: MailChoice
    confirmations: int
    """How many confirmations were asked for: only the newest counts."""
    created_at_us: int
    confirmed_at_us: int | None
    changed_at_us: int
    holds_address: bool

    @property
    def takes_mail(self) -> bool:
        """Whether mail about bets may go out to it."""
        return self.state is AccountState.CONFIRMED


class Accounts:
    """The accounts, read; each call is a transaction of its own. Raises `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, account_id: str) -> Account | None:
        """The account, or None."""
        with self._database.read() as connection:
            return read(connection, account_id)

    def get_many(self, account_ids: Iterable[str]) -> dict[str, Account]:
        """Those of the accounts that there are, by id: whom mail goes to, under which name and choice."""
        found: dict[str, Account] = {}
        with self._database.read() as connection:
            for some in chunks(sorted(set(account_ids))):
                rows = connection.execute(sa.select(accounts).where(accounts.c.account_id.in_(some)))
                found.update((row.account_id, _account(row)) for row in rows)
        return found

    def address_holders(self, email_keys: Iterable[str]) -> dict[str, Account]:
        """Of these addresses those that an account holds, with that account."""
        held: dict[str, Account] = {}
        with self._database.read() as connection:
            for some in chunks(sorted(set(email_keys))):
                rows = connection.execute(sa.select(accounts).where(accounts.c.holds_email_key.in_(some)))
                held.update((row.holds_email_key, _account(row)) for row in rows)
        return held

    def registered_by(self, account_id: str) -> str | None:
        """The application that registered the account; None where that is not known, or there is no such
        account.
        """
        with self._database.read() as connection:
            return connection.execute(
                sa.select(accounts.c.registered_by).where(accounts.c.account_id == account_id)
            ).scalar()

    def counts(self) -> dict[AccountState, int]:
        """How many accounts are in each state."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(accounts.c.state, sa.func.count()).group_by(accounts.c.state)
            ).all()
        return {AccountState(state): count for state, count in rows}


def insert(
    connection: sa.Connection,
    account_id: str,
    address: Address,
    display_name: str,
    currency: str,
    mail_choice: MailChoice,
    now_us: int,
    registered_by: str | None = None,
) -> None:
    """Write a new account, `PENDING`, whose first confirmation is asked for."""
    connection.execute(
        sa.insert(accounts).values(
            account_id=account_id,
            email=address.text,
            email_key=address.key,
            holds_email_key=None,
            display_name=display_name,
            currency=currency,
            state=AccountState.PENDING.value,
            state_reason=None,
            version=1,
            mail_choice=mail_choice.value,
            confirmations=1,
            confirmation_at_us=now_us,
            created_at_us=now_us,
            confirmed_at_us=None,
            changed_at_us=now_us,
            registered_by=registered_by,
        )
    )


def read(connection: sa.Connection, account_id: str) -> Account | None:
    """The account, or None."""
    row = connection.execute(sa.select(accounts).where(accounts.c.account_id == account_id)).one_or_none()
    return _account(row) if row is not None else None


def lock(connection: sa.Connection, account_id: str) -> Account:
    """The account, which nobody else changes until this (writing) transaction ends. Raises
    `NoSuchAccount`.
    """
    row = connection.execute(
        sa.select(accounts).where(accounts.c.account_id == account_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise NoSuchAccount(account_id)
    return _account(row)


def ask_confirmation(connection: sa.Connection, account: Account, now_us: int) -> int:
    """Note that one more confirmation was asked for; returns its number. The account must be locked."""
    connection.execute(
        sa.update(accounts)
        .where(accounts.c.account_id == account.account_id)
        .values(confirmations=account.confirmations + 1, confirmation_at_us=now_us)
    )
    return account.confirmations + 1


def confirm(connection: sa.Connection, account: Account, now_us: int) -> None:
    """Confirm the account as it was read; from then on it holds its address.

    Raises `IllegalAccountTransition` (also when the account has changed since) and `AddressTaken`: roll the
    transaction back.
    """
    try:
        _change(
            connection,
            account,
            AccountState.CONFIRMED,
            None,
            now_us,
            confirmed_at_us=now_us,
            holds_email_key=account.email_key,
        )
    except IntegrityError as error:
        raise AddressTaken(account.account_id) from error


def close(connection: sa.Connection, account_id: str, now_us: int) -> bool:
    """Close the account for good and let go of its address; a closed account stays as it is. Says whether
    that changed anything.

    Raises `NoSuchAccount`, and `AccountInUse` while it has live bets or a balance.
    """
    account = lock(connection, account_id)
    if account.state is AccountState.CLOSED:
        return False
    live = connection.execute(
        sa.select(sa.func.count()).where(bets.c.user_id == account_id, bets.c.status.in_(_LIVE))
    ).scalar_one()
    if live:
        raise AccountInUse(
            f"the account has {live} live bets; it can be closed when they are settled or cancelled"
        )
    balance = connection.execute(
        sa.select(profiles.c.balance_minor, profiles.c.currency).where(profiles.c.user_id == account_id)
    ).one_or_none()
    if balance is not None and balance.balance_minor != 0:
        raise AccountInUse(
            f"the account has a balance of {balance.balance_minor} minor units {balance.currency}; it can be closed"
            " when that is 0"
        )
    _change(connection, account, AccountState.CLOSED, None, now_us, holds_email_key=None)
    return True


def choose_mail(connection: sa.Connection, account_id: str, choice: MailChoice) -> Account:
    """Set which mails the owner wants. Raises `NoSuchAccount`, and `IllegalAccountTransition` for a closed
    account.
    """
    account = lock(connection, account_id)
    if account.state is AccountState.CLOSED:
        raise IllegalAccountTransition("the account is closed: no mail goes out to it")
    connection.execute(
        sa.update(accounts).where(accounts.c.account_id == account_id).values(mail_choice=choice.value)
    )
    changed = read(connection, account_id)
    assert changed is not None
    return changed


def mark_undeliverable(
    connection: sa.Connection, account_id: str, reason: str, now_us: int, *, tried: bool = True
) -> bool:
    """The account's address refused a mail for good: no more mail goes out to it. Says whether that changed
    anything.

    For a sender's refusal (an SMTP 5xx), when it happens; `reason` is for operators and cut to 200
    characters. Without `tried` it is an earlier refusal that is taken to hold still.
    """
    if tried and (account := read(connection, account_id)) is not None:
        _refused_again(connection, account.email_key, now_us)
    return _mark(connection, accounts.c.account_id == account_id, reason, now_us) > 0


def mark_address_undeliverable(
    connection: sa.Connection, address: str, reason: str, *, observed_at_us: int, now_us: int
) -> int:
    """The same for every account of an address, reported later by someone else (SES); returns how many
    changed.

    What was observed before an account was confirmed says nothing against it: its owner has read a mail
    since.
    """
    concerned = (accounts.c.email_key == address.lower()) & (
        accounts.c.changed_at_us <= observed_at_us + _CLOCKS_APART_US
    )
    _refused_again(connection, address.lower(), min(observed_at_us, now_us))
    return _mark(connection, concerned, reason, now_us)


def purge_unconfirmed(database: Database, *, before_us: int, budget: Budget) -> Purged:
    """Delete accounts that were registered before, never confirmed, and asked for no confirmation since. Each
    transaction is short.
    """
    due = sa.select(accounts.c.account_id).where(
        accounts.c.state.in_([AccountState.PENDING.value, AccountState.UNDELIVERABLE.value]),
        accounts.c.created_at_us < before_us,
        accounts.c.confirmed_at_us.is_(None),
        accounts.c.confirmation_at_us < before_us,
    )

    def step() -> int | None:
        with database.write() as connection:
            old = connection.execute(due.limit(ROWS_AT_ONCE).with_for_update()).scalars().all()
            connection.execute(sa.delete(accounts).where(accounts.c.account_id.in_(old)))
        return len(old) or None

    deleted = budget.repeat(step)
    with database.read() as connection:
        left = counted(connection, due)
        oldest_us = connection.execute(due.with_only_columns(sa.func.min(accounts.c.confirmation_at_us)))
        return Purged(deleted, left, before_us - (oldest_us.scalar() or before_us))


def _refused_again(connection: sa.Connection, email_key: str, observed_at_us: int) -> None:
    """The account that holds the address was undeliverable, and still is: the pause before the next try
    begins again.
    """
    connection.execute(
        sa.update(accounts)
        .where(
            accounts.c.holds_email_key == email_key,
            accounts.c.state == AccountState.UNDELIVERABLE.value,
            accounts.c.changed_at_us < observed_at_us,
        )
        .values(changed_at_us=observed_at_us)
    )


def _mark(connection: sa.Connection, concerned: sa.ColumnElement[bool], reason: str, now_us: int) -> int:
    may = [state.value for state in AccountState if AccountState.UNDELIVERABLE in TRANSITIONS[state]]
    return connection.execute(
        sa.update(accounts)
        .where(concerned, accounts.c.state.in_(may))
        .values(
            state=AccountState.UNDELIVERABLE.value,
            state_reason=reason[:MAX_REASON],
            version=accounts.c.version + 1,
            changed_at_us=now_us,
        )
    ).rowcount


def _change(
    connection: sa.Connection,
    account: Account,
    state: AccountState,
    reason: str | None,
    now_us: int,
    **more: Any,
) -> None:
    if state not in TRANSITIONS[account.state]:
        raise IllegalAccountTransition(
            f"account {account.account_id} is {account.state.value} and can't become {state.value}"
        )
    changed = connection.execute(
        sa.update(accounts)
        .where(accounts.c.account_id == account.account_id, accounts.c.version == account.version)
        .values(
            state=state.value,
            state_reason=reason,
            version=account.version + 1,
            changed_at_us=now_us,
            **more,
        )
    ).rowcount
    if changed != 1:
        raise IllegalAccountTransition(
            f"account {account.account_id} is no longer {account.state.value} at version {account.version}"
        )


def _account(row: Any) -> Account:
    return Account(
        account_id=row.account_id,
        email=row.email,
        email_key=row.email_key,
        display_name=row.display_name,
        currency=row.currency,
        state=AccountState(row.state),
        state_reason=row.state_reason,
        version=row.version,
        mail_choice=MailChoice(row.mail_choice),
        confirmations=row.confirmations,
        created_at_us=row.created_at_us,
        confirmed_at_us=row.confirmed_at_us,
        changed_at_us=row.changed_at_us,
        holds_address=row.holds_email_key is not None,
    )
