"""The confirmations on their way out: which mail each becomes, and its token, drawn as it leaves. Not here:
sending and trying again (mail/).

A token is in clear in this process while its mail is sent, in the mail, and nowhere else: what waits in the
database is the request for a mail. A mail that has to be tried again carries another token; those of one
request are all good until one is used, as the same mail may arrive twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import jinja2

from exchange_platform.confirmation.feedback import COMPLAINED
from exchange_platform.confirmation.mail_requests import CONFIRMATIONS, WITHHELD, number_of
from exchange_platform.domain.accounts import AccountState
from exchange_platform.mail.channel import Skip, Standing, Unrenderable
from exchange_platform.mail.message import OutgoingMail
from exchange_platform.mail.rendering import render
from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.dynamodb.confirmation_tokens import ConfirmationTokens, draw_token
from exchange_platform.stores.operational.accounts.accounts import Account, Accounts
from exchange_platform.stores.operational.database import Database, from_us
from exchange_platform.stores.operational.mails.mails import MailOutcome, MailQueue, WaitingMail

Rendered = OutgoingMail | Skip | Unrenderable
TRIED_AGAIN_AFTER_S = 86_400
"""An address of an account that refused a mail is not tried for so long when it is registered again."""


class ConfirmationMails:
    """The `Queue` of the channel that mails confirmations."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        tokens: ConfirmationTokens,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._page = f"{settings.public_base_url}/confirm"
        self._lifetime_s = int(settings.token_lifetime_s)
        self._queue = MailQueue(database, CONFIRMATIONS)
        self._accounts = Accounts(database)
        self._tokens = tokens
        self._clock = clock

    def claim(self, epoch: int) -> None:
        """Make the marks this epoch's alone."""
        self._queue.claim(epoch, now_us=self._clock.now_us())

    def collect(self, limit: int, under_way: Collection[str]) -> Sequence[WaitingMail]:
        """The mails that are due."""
        return self._queue.due(limit, under_way, now_us=self._clock.now_us())

    def render(self, mails: Sequence[WaitingMail]) -> Sequence[Rendered]:
        """Each mail with a token of its own, whose hash is stored by then; or why it is not to be sent."""
        known = self._accounts.get_many(mail.account_id for mail in mails)
        holders = self._accounts.address_holders(account.email_key for account in known.values())
        return [self._render(mail, known.get(mail.account_id), holders) for mail in mails]

    def mark(self, outcomes: Sequence[MailOutcome]) -> None:
        """Mark what became of mails."""
        self._queue.mark(outcomes, now_us=self._clock.now_us())

    def standing(self) -> Standing:
        """How many wait."""
        return Standing(*self._queue.standing(now_us=self._clock.now_us()))

    def _render(self, mail: WaitingMail, account: Account | None, holders: Mapping[str, Account]) -> Rendered:
        if account is None:
            return Skip("its account is gone")
        if reason := _why_not(mail, account):
            return Skip(reason)
        try:
            holder = holders.get(account.email_key, account)
            if holder.account_id != account.account_id:
                return self._to_holder(mail, holder)
            token = draw_token()
            code = f"{account.account_id}.{token}"
            outgoing = _outgoing(
                mail,
                account.email,
                "confirmation",
                "Confirm your address",
                url=f"{self._page}#{code}",
                page=self._page,
                code=code,
                lifetime=in_words(self._lifetime_s),
            )
            if account.state is AccountState.UNDELIVERABLE or number_of(mail) > 1:
                outgoing = replace(outgoing, lifts_suppression=True)
        except jinja2.TemplateError as error:
            return Unrenderable(f"{type(error).__name__}: {error}")
        stored = self._tokens.store(
            account.account_id,
            token,
            number=number_of(mail),
            account_version=account.version,
            expires_at_s=self._clock.now_us() // 1_000_000 + self._lifetime_s,
        )
        return outgoing if stored else Skip("a newer one has left already")

    def _to_holder(self, mail: WaitingMail, holder: Account) -> Rendered:
        """What the owner of an address is sent when it was registered again.

        Where that address refuses mail, it is tried once after a pause; until then the new account is what it
        would be after a try, so that its state does not show whether the address was known. Whoever
        complained gets nothing.
        """
        if not holder.takes_mail:
            reason = holder.state_reason or "refused"
            if reason.startswith(COMPLAINED):
                return Skip(f"the account of its address is {holder.state.value}: {reason}")
            if (
                number_of(mail) == 1
                and self._clock.now_us() < holder.changed_at_us + TRIED_AGAIN_AFTER_S * 1_000_000
            ):
                return Skip(reason, as_refused=True)
        return _outgoing(mail, holder.email, "already_registered", "You have an account already")


def _why_not(mail: WaitingMail, account: Account) -> str | None:
    """Why the mail is not to be sent after all."""
    if mail.kind == WITHHELD:
        return "withheld: its address has had as many as the limit allows"
    if account.confirmations != number_of(mail):
        return "a newer one was asked for"
    if account.state in (AccountState.CONFIRMED, AccountState.CLOSED):
        return f"its account is {account.state.value}"
    if account.state is AccountState.UNDELIVERABLE and mail.changed_at_us <= account.changed_at_us:
        return f"its account is UNDELIVERABLE since it was asked for: {account.state_reason}"
    return None


def _outgoing(mail: WaitingMail, address: str, template: str, subject: str, **values: str) -> OutgoingMail:
    """Nobody's name is on it: whoever registers somebody else's address must not be able to write to that
    person.
    """
    bodies = render(template, subject=subject, preferences_url=None, **values)
    return OutgoingMail(
        mail_id=mail.mail_id,
        to_address=address,
        to_name="",
        subject=subject,
        text=bodies.text,
        html=bodies.html,
        written_at=from_us(mail.queued_at_us),
    )


def in_words(seconds: int) -> str:
    """A duration as people say it: whole days, hours or minutes, rounded down."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count = seconds // length
        if count >= 2 or (count == 1 and unit == "minute"):
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds} seconds"
