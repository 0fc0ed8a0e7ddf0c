"""Accounts' money: deposits, withdrawals, what is available, and the limits that owners set. Not here: what
bets do to it (bets/bets.py).

A transfer is one transaction: itself by the caller's id, its ledger entry and the house's, the profile.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.domain import bet_rules
from exchange_platform.domain.accounts import AccountState
from exchange_platform.domain.actors import THIS_PROCESS, Actor
from exchange_platform.domain.bet_ids import DrawId, draw_id
from exchange_platform.domain.betting_limits import (
    AMOUNTS,
    LONGEST_BREAK_US,
    NO_LIMITS,
    BettingLimit,
    LimitKind,
    Limits,
    change_of,
)
from exchange_platform.domain.money import major
from exchange_platform.domain.refusals import (
    Conflict,
    Forbidden,
    InsufficientFunds,
    Invalid,
    RefusalCode,
    Unknown,
)
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.stores.operational.accounts.limit_changes import read_limits, write_limit_change
from exchange_platform.stores.operational.accounts.security_events import SecurityKind, write_event
from exchange_platform.stores.operational.bets.ledger import CASH, Books, Reference
from exchange_platform.stores.operational.bets.profile_sums import ProfileSums
from exchange_platform.stores.operational.bets.submissions import note_changed_profiles
from exchange_platform.stores.operational.database import Database, from_us, profiles
from exchange_platform.stores.operational.tables.accounts import accounts
from exchange_platform.stores.operational.tables.wallets import wallet_transfers
from exchange_platform.stores.operational.wallets.deposit_limits import check_deposit_limits

MAX_TRANSFER_MINOR = 10**11
MAX_PER_PAGE = 200
_MAX_CALLER = 100


class TransferKind(StrEnum):
    """Which way the money went."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came in or went out, in minor units of `currency`; `balance_minor` is as of after it."""

    transfer_id: str
    account_id: str
    request_id: str
    kind: TransferKind
    amount_minor: int
    currency: str
    authorised_by: str
    balance_minor: int
    transferred_at_us: int
    application: str | None = None
    """Who asked, as its token says (None: an older release); `authorised_by` is what it said itself."""


class TransferPage(msgspec.Struct, frozen=True):
    """Some of an account's transfers, newest first. `after` asks for the next; None: there are none."""

    transfers: list[Transfer]
    after: str | None


class Wallet(msgspec.Struct, frozen=True, kw_only=True):
    """An account's money now, in minor units of `currency`.

    balance = deposited - withdrawn + profit - commission; available = balance - exposure: what may be bet or
    withdrawn. It is below 0 only where a result was taken back after its winnings were spent.
    """

    account_id: str
    currency: str
    balance_minor: int = 0
    exposure_minor: int = 0
    deposited_minor: int = 0
    withdrawn_minor: int = 0
    profit_minor: int = 0
    commission_minor: int = 0

    @property
    def available_minor(self) -> int:
        """What may be bet or withdrawn."""
        return self.balance_minor - self.exposure_minor


_TRANSFERS = sa.select(*(wallet_transfers.c[name] for name in Transfer.__struct_fields__))
_WALLET = (
    "currency",
    "balance_minor",
    "exposure_minor",
    "deposited_minor",
    "withdrawn_minor",
    "profit_minor",
    "commission_minor",
)


class Wallets:
    """Reads and changes accounts' money. Thread-safe. What was refused raises a `Refused` and changed
    nothing; raises `StoreUnavailable`.

    `actor` is who asks, where it is not this process; it is kept with what was done, and in the log.
    """

    def __init__(self, database: Database, *, clock: Clock = SYSTEM_CLOCK, draw: DrawId = draw_id) -> None:
        """The database must be durable where callers rely on what is acknowledged."""
        self._database = database
        self._clock = clock
        self._draw = draw

    def deposit(
        self,
        account_id: str,
        request_id: str,
        amount_minor: int,
        currency: str,
        *,
        authorised_by: str,
        actor: Actor = THIS_PROCESS,
    ) -> Transfer:
        """Let money in, durably; within the deposit limits that the account's owner set. The account must be
        confirmed.

        The same `request_id` of the same account with the same content returns the first transfer, for ever.
        `authorised_by` names who says that the money is there, and is kept.
        """
        return self._transfer(
            TransferKind.DEPOSIT, account_id, request_id, amount_minor, currency, authorised_by, actor
        )

    def withdraw(
        self,
        account_id: str,
        request_id: str,
        amount_minor: int,
        currency: str,
        *,
        authorised_by: str,
        actor: Actor = THIS_PROCESS,
    ) -> Transfer:
        """Let money out, durably, of what is available, in any state. `request_id` as for a deposit."""
        return self._transfer(
            TransferKind.WITHDRAWAL, account_id, request_id, amount_minor, currency, authorised_by, actor
        )

    def wallet(self, account_id: str) -> Wallet:
        """The account's money. Raises `Unknown` for no account."""
        bet_rules.check_id(RefusalCode.INVALID_ACCOUNT_ID, "account_id", account_id)
        with self._database.read() as connection:
            account = _account(connection, account_id)
            row = connection.execute(
                sa.select(*(profiles.c[name] for name in _WALLET)).where(profiles.c.user_id == account_id)
            ).first()
        if row is None:
            return Wallet(account_id=account_id, currency=account.currency)
        return Wallet(account_id=account_id, **row._mapping)

    def transfers(self, account_id: str, *, after: str | None = None, limit: int = 50) -> TransferPage:
        """The account's transfers, newest first. `after` is a page's own. Raises `Unknown` for no account."""
        bet_rules.check_id(RefusalCode.INVALID_ACCOUNT_ID, "account_id", account_id)
        if not isinstance(limit, int) or not 1 <= limit <= MAX_PER_PAGE:
            raise Invalid(RefusalCode.INVALID_PAGE, "limit", limit, f"1 to {MAX_PER_PAGE} are allowed")
        wanted = _TRANSFERS.where(wallet_transfers.c.account_id == account_id)
        if after is not None:
            bet_rules.check_id(RefusalCode.INVALID_PAGE, "after", after)
            wanted = wanted.where(wallet_transfers.c.transfer_id < after)  # ids sort by time
        with self._database.read() as connection:
            _account(connection, account_id)
            rows = connection.execute(
                wanted.order_by(wallet_transfers.c.transfer_id.desc()).limit(limit + 1)
            ).all()
        found = [_transfer(row) for row in rows[:limit]]
        return TransferPage(found, found[-1].transfer_id if len(rows) > limit else None)

    def limits(self, account_id: str) -> Limits:
        """The limits that hold now, and those to come. Raises `Unknown` for no account."""
        bet_rules.check_id(RefusalCode.INVALID_ACCOUNT_ID, "account_id", account_id)
        with self._database.read() as connection:
            _account(connection, account_id)
            return read_limits(connection, [account_id], self._clock.now_us()).get(account_id, NO_LIMITS)

    def set_limit(
        self,
        account_id: str,
        kind: LimitKind,
        amount_minor: int | None,
        *,
        actor: Actor = THIS_PROCESS,
    ) -> Limits:
        """Set a deposit or stake limit, or take it away with None; returns the limits as they hold then.

        A lower limit holds at once, a higher one or none after 24 hours; each change replaces the one of its
        kind that still waits.
        """
        if kind not in AMOUNTS:
            raise Invalid(
                RefusalCode.INVALID_LIMIT,
                "kind",
                kind,
                f"{', '.join(one.value for one in AMOUNTS)} are allowed",
            )
        if amount_minor is not None:
            bet_rules.check_amount(
                RefusalCode.INVALID_LIMIT, "amount_minor", amount_minor, MAX_TRANSFER_MINOR
            )
        return self._change_limit(account_id, LimitKind(kind), amount_minor, actor)

    def take_break(self, account_id: str, until_us: int, *, actor: Actor = THIS_PROCESS) -> Limits:
        """Take a break from betting until an instant (microseconds since 1970 UTC), at once; it can be made
        longer, not shorter.

        Bets that stand stay, and can be cancelled; money can be withdrawn.
        """
        now_us = self._clock.now_us()
        if not isinstance(until_us, int) or not now_us < until_us <= now_us + LONGEST_BREAK_US:
            raise Invalid(
                RefusalCode.INVALID_LIMIT,
                "until",
                until_us,
                "an instant to come, within five years, is asked for",
            )
        return self._change_limit(account_id, LimitKind.BREAK, until_us, actor)

    def _change_limit(self, account_id: str, kind: LimitKind, value: int | None, actor: Actor) -> Limits:
        bet_rules.check_id(RefusalCode.INVALID_ACCOUNT_ID, "account_id", account_id)
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            account = _account(connection, account_id, held=True)
            held = ProfileSums(connection, {account_id: account.currency})  # one change after the other
            before = read_limits(connection, [account_id], now_us).get(account_id, NO_LIMITS)
            current = before.limits.get(kind, BettingLimit(kind))
            if kind is LimitKind.BREAK:
                until_us = before.break_until_us(now_us)
                if until_us is not None and value is not None and value < until_us:
                    raise Forbidden(
                        RefusalCode.BREAK_NOT_LONGER,
                        "until",
                        value,
                        f"the break lasts until {from_us(until_us):%Y-%m-%d %H:%M:%S} UTC and can only be made longer",
                    )
            change = change_of(current, value, now_us)
            if value != current.value or current.changes_at_us is not None:
                write_limit_change(connection, account_id, change, actor.application)
                detail = f"{kind.value}: {current.value} to {value}, from {change.effective_at_us} us on"
                write_event(connection, SecurityKind.LIMIT_CHANGED, actor, account_id, detail, now_us)
            held.write(connection)
            return read_limits(connection, [account_id], now_us).get(account_id, NO_LIMITS)

    def _transfer(
        self,
        kind: TransferKind,
        account_id: str,
        request_id: str,
        amount_minor: int,
        currency: str,
        authorised_by: str,
        actor: Actor,
    ) -> Transfer:
        bet_rules.check_id(RefusalCode.INVALID_ACCOUNT_ID, "account_id", account_id)
        bet_rules.check_id(RefusalCode.INVALID_SUBMISSION_ID, "request_id", request_id)
        bet_rules.check_amount(RefusalCode.INVALID_AMOUNT, "amount_minor", amount_minor, MAX_TRANSFER_MINOR)
        if not isinstance(authorised_by, str) or not 1 <= len(authorised_by.strip()) <= _MAX_CALLER:
            raise Invalid(
                RefusalCode.INVALID_CALLER,
                "authorised_by",
                authorised_by,
                f"1 to {_MAX_CALLER} characters that name the caller are asked for",
            )
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            account = _account(connection, account_id, held=True)
            sums = ProfileSums(connection, {account_id: account.currency})
            known = connection.execute(
                _TRANSFERS.where(
                    wallet_transfers.c.account_id == account_id, wallet_transfers.c.request_id == request_id
                )
            ).first()
            if known is not None:
                return _same(_transfer(known), kind, amount_minor, currency, actor)
            self._check(connection, kind, account, amount_minor, currency, sums, now_us)
            signed = amount_minor if kind is TransferKind.DEPOSIT else -amount_minor
            sums.currency(account_id, account.currency)
            sums.add_money(account_id, signed, 0)
            added = sums.added(account_id)
            added["deposited_minor" if kind is TransferKind.DEPOSIT else "withdrawn_minor"] += amount_minor
            added["version"] += 1
            added["updated_at_us"] = now_us
            transfer = Transfer(
                transfer_id=self._draw("t", now_us),
                account_id=account_id,
                request_id=request_id,
                kind=kind,
                amount_minor=amount_minor,
                currency=currency,
                authorised_by=authorised_by.strip(),
                balance_minor=sums.held[account_id].balance_minor,
                transferred_at_us=now_us,
                application=actor.application,
            )
            connection.execute(sa.insert(wallet_transfers).values(**_row(transfer)))
            sums.write(connection)
            books = Books()
            books.post_balance(
                signed,
                kind.value,
                CASH,
                Reference(transfer.transfer_id, 0, account_id, "", currency, now_us, actor.application),
            )
            books.write(connection)
            detail = f"{transfer.transfer_id}: {amount_minor} minor units {currency}"
            write_event(connection, SecurityKind(kind.value), actor, account_id, detail, now_us)
            note_changed_profiles(connection, {account_id: transfer.transfer_id})
        return transfer

    def _check(
        self,
        connection: sa.Connection,
        kind: TransferKind,
        account: Any,
        amount_minor: int,
        currency: str,
        sums: ProfileSums,
        now_us: int,
    ) -> None:
        if currency != account.currency:
            raise Forbidden(
                RefusalCode.WRONG_CURRENCY,
                "currency",
                currency,
                f"the account's currency is {account.currency}",
            )
        if kind is TransferKind.WITHDRAWAL:
            available = sums.held[account.account_id].available_minor
            if amount_minor > available:
                raise InsufficientFunds(
                    RefusalCode.INSUFFICIENT_FUNDS,
                    "amount_minor",
                    amount_minor,
                    f"available is {max(0, available)} ({major(max(0, available), currency)} {currency})",
                )
            return
        if account.state != AccountState.CONFIRMED.value:
            closed = account.state == AccountState.CLOSED.value
            raise Forbidden(
                RefusalCode.ACCOUNT_CLOSED if closed else RefusalCode.ACCOUNT_NOT_CONFIRMED,
                "account_id",
                account.account_id,
                f"the account is {account.state}; one whose address is confirmed takes deposits",
            )
        check_deposit_limits(connection, account.account_id, amount_minor, currency, now_us)


def _account(connection: sa.Connection, account_id: str, *, held: bool = False) -> Any:
    """The account; when `held`, its state stays as it is until the transaction ends."""
    wanted = sa.select(accounts.c.account_id, accounts.c.state, accounts.c.currency).where(
        accounts.c.account_id == account_id
    )
    row = connection.execute(wanted.with_for_update(read=True) if held else wanted).first()
    if row is None:
        raise Unknown(RefusalCode.UNKNOWN_ACCOUNT, "account_id", account_id, "there is no such account")
    return row


def _same(known: Transfer, kind: TransferKind, amount_minor: int, currency: str, actor: Actor) -> Transfer:
    others = not actor.in_process and known.application not in (None, actor.application)
    if others or (known.kind, known.amount_minor, known.currency) != (kind, amount_minor, currency):
        raise Conflict(
            RefusalCode.SUBMISSION_CONFLICT,
            "request_id",
            known.request_id,
            "the account used this id before, for another transfer; each new one needs a new id",
        )
    return known


def _row(transfer: Transfer) -> dict[str, Any]:
    return {**msgspec.structs.asdict(transfer), "kind": transfer.kind.value}


def _transfer(row: Any) -> Transfer:
    return Transfer(**{**row._mapping, "kind": TransferKind(row.kind)})
