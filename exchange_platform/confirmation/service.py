"""What can be done to an account from outside: register, ask for another mail, confirm, choose mail, close.
Not here: HTTP (api/), or sending (mails.py).

Nobody learns from it whether an address is known. A registration looks nothing up: it writes a new account
and the request for a mail, whatever the address, and which mail that will be is decided later, where it is
rendered. The limit on one address's mails withholds mail and is shown to nobody; the limits that are shown
count what the same caller did.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from enum import Enum

import sqlalchemy as sa

from exchange_platform.confirmation.mail_requests import request_mail
from exchange_platform.domain.accounts import AccountState, Address, MailChoice, parse_address, parse_name
from exchange_platform.domain.actors import THIS_PROCESS, Actor
from exchange_platform.domain.limits import RateLimit, parse_limits
from exchange_platform.domain.money import InvalidMoney, digits
from exchange_platform.mail.mail_domains import AnyDomain, MailDomains
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.dynamodb.confirmation_tokens import ConfirmationTokens, TokenState
from exchange_platform.stores.operational.accounts import accounts
from exchange_platform.stores.operational.accounts.accounts import (
    Account,
    AddressTaken,
    IllegalAccountTransition,
    NoSuchAccount,
)
from exchange_platform.stores.operational.accounts.limits import Rule, count, count_if_allowed
from exchange_platform.stores.operational.accounts.security_events import SecurityKind, write_event
from exchange_platform.stores.operational.database import Database

_ACCOUNT_ID_BYTES = 16
_CODE = re.compile(r"([0-9a-f]{32})\.([A-Za-z0-9_-]{43})")
MAX_CODE = 500


class Pressed(Enum):
    """What came of pressing the confirmation's button."""

    CONFIRMED = "confirmed"
    """The account is confirmed now."""
    USED = "used"
    """The code had confirmed the account before."""
    EXPIRED = "expired"
    """The code was the newest, and its time was over."""
    UNKNOWN = "unknown"
    """No such code: never sent, or voided by a newer one, or the account is gone. Which, nobody learns it."""
    TAKEN = "taken"
    """Another account of the same address was confirmed first."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What somebody wants to register; checked, and not stored yet."""

    address: Address
    display_name: str
    currency: str
    mail_choice: MailChoice = MailChoice.ALL

    @classmethod
    def checked(cls, email: str, display_name: str, currency: str, mail_choice: MailChoice) -> Registration:
        """Check each part. Raises `InvalidAddress`, `InvalidName`, `InvalidMoney`."""
        digits(currency)
        return cls(parse_address(email), parse_name(display_name), currency, mail_choice)


class AccountService:
    """Every call is a transaction of its own, durable on return. Thread-safe. Raises `StoreUnavailable`; then
    nothing was changed.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        tokens: ConfirmationTokens,
        *,
        domains: MailDomains | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._domains = domains or AnyDomain()
        self._clock = clock
        self._limits: dict[str, tuple[RateLimit, ...]] = {
            name: parse_limits(getattr(settings, f"limit_{name}"))
            for name in (
                "registrations",
                "registrations_client",
                "registrations_client_address",
                "mails_address",
                "resends",
                "confirmations_client",
            )
        }

    def register(self, wanted: Registration, client: str, *, actor: Actor = THIS_PROCESS) -> str:
        """Register; returns the account's id. Its state is `PENDING`, and a mail is on its way, whoever has
        the address.

        `client` is the caller's network address; `actor` is who asks, and is kept: an application may act for
        what it registered. Raises `InvalidAddress` (where domains are checked) and `TooMany`.
        """
        self._domains.require(wanted.address.domain)
        account_id = secrets.token_hex(_ACCOUNT_ID_BYTES)
        now_us = self._clock.now_us()
        key = wanted.address.key
        rules = [
            self._rule("registrations", ""),
            self._rule("registrations_client", client),
            self._rule("registrations_client_address", f"{client}\0{key}"),
            self._rule("resends", account_id),
        ]
        with self._database.write() as connection:
            count(connection, rules, now_us)
            accounts.insert(
                connection,
                account_id,
                wanted.address,
                wanted.display_name,
                wanted.currency,
                wanted.mail_choice,
                now_us,
                actor.application,
            )
            self._wish(connection, account_id, 1, key, now_us)
        return account_id

    def ask_again(self, account_id: str) -> None:
        """Have another confirmation mailed; when it leaves, the earlier ones are void.

        For an account that is pending, or whose address was undeliverable and is well again. Raises
        `NoSuchAccount`, `IllegalAccountTransition` for another one, and `TooMany`.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            account = accounts.lock(connection, account_id)
            if account.state not in (AccountState.PENDING, AccountState.UNDELIVERABLE):
                raise IllegalAccountTransition(
                    f"the account is {account.state.value}: only a PENDING or UNDELIVERABLE one can be confirmed"
                )
            count(connection, [self._rule("resends", account_id)], now_us)
            number = accounts.ask_confirmation(connection, account, now_us)
            self._wish(connection, account_id, number, account.email_key, now_us)

    def confirm(self, code: str, client: str) -> Pressed:
        """Confirm the account whose mailed code this is. Raises `TooMany`.

        Of several calls with one code, one is answered `CONFIRMED` and the others `USED`.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            count(connection, [self._rule("confirmations_client", client)], now_us)
        found = _CODE.fullmatch("".join(code[:MAX_CODE].split()))
        if found is None:
            return Pressed.UNKNOWN
        account_id, token = found.groups()
        shown = self._tokens.use(account_id, token, now_s=now_us // 1_000_000)
        if shown.state is TokenState.EXPIRED:
            return Pressed.EXPIRED
        if shown.state is TokenState.UNKNOWN:
            return Pressed.UNKNOWN
        try:
            with self._database.write() as connection:
                account = accounts.lock(connection, account_id)
                if account.version != shown.account_version:
                    was_it = account.state is AccountState.CONFIRMED and (
                        account.version == shown.account_version + 1
                    )
                    return Pressed.USED if was_it else Pressed.UNKNOWN
                accounts.confirm(connection, account, now_us)
        except (NoSuchAccount, IllegalAccountTransition):
            return Pressed.UNKNOWN
        except AddressTaken:
            return Pressed.TAKEN
        return Pressed.CONFIRMED

    def choose_mail(self, account_id: str, choice: MailChoice) -> Account:
        """Set which mails the owner wants. Raises `NoSuchAccount`, and `IllegalAccountTransition` for a
        closed account.
        """
        with self._database.write() as connection:
            return accounts.choose_mail(connection, account_id, choice)

    def close(self, account_id: str, *, actor: Actor = THIS_PROCESS) -> Account:
        """Close the account for good. Raises `NoSuchAccount` and `AccountInUse`."""
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            if accounts.close(connection, account_id, now_us):
                write_event(connection, SecurityKind.ACCOUNT_CLOSED, actor, account_id, "", now_us)
            return accounts.lock(connection, account_id)

    def _wish(
        self, connection: sa.Connection, account_id: str, number: int, email_key: str, now_us: int
    ) -> None:
        allowed = count_if_allowed(connection, self._rule("mails_address", email_key), now_us)
        request_mail(connection, account_id, number, now_us=now_us, withheld=not allowed)

    def _rule(self, name: str, subject: str) -> Rule:
        return Rule(name, subject, self._limits[name])


__all__ = ["AccountService", "InvalidMoney", "Pressed", "Registration"]
