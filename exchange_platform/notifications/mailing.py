"""The mails of bets' changes as a queue: collected from the outbox, rendered from the stores, marked. Not
here: sending (mail/channel.py).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import jinja2
import msgspec

from exchange_platform.mail.channel import Skip, Standing, Unrenderable
from exchange_platform.mail.message import OutgoingMail
from exchange_platform.mail.rendering import render
from exchange_platform.notifications.changes import BetChange, Telling, read, telling
from exchange_platform.notifications.collecting import Collector
from exchange_platform.notifications.digests import digest_words
from exchange_platform.notifications.planning import DIGEST, MailPace
from exchange_platform.notifications.unsubscribing import PreferenceLinks
from exchange_platform.notifications.wording import change_words
from exchange_platform.process.clock import Clock
from exchange_platform.stores.operational.accounts.accounts import Account, Accounts
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS
from exchange_platform.stores.operational.database import Database, from_us
from exchange_platform.stores.operational.mails.contents import BalanceEntries, BetNames, MailContents
from exchange_platform.stores.operational.mails.mails import MailOutcome, MailQueue, WaitingMail

log = logging.getLogger(__name__)


class ChangeMails:
    """A `Queue` of a mail channel: the mails of the outbox's changes."""

    def __init__(self, database: Database, links: PreferenceLinks, pace: MailPace, clock: Clock) -> None:
        self._clock = clock
        self._links = links
        self._collector = Collector(database, pace, clock)
        self._queue = MailQueue(database, NOTIFICATIONS)
        self._accounts = Accounts(database)
        self._contents = MailContents(database)

    def claim(self, epoch: int) -> None:
        """Claim the marks and the position in the outbox."""
        self._queue.claim(epoch, now_us=self._clock.now_us())
        self._collector.claim(epoch)

    def collect(self, limit: int, under_way: Collection[str]) -> Sequence[WaitingMail]:
        """Read on in the outbox, then take what is due."""
        self._collector.collect(under_way)
        return self._queue.due(limit, under_way, now_us=self._clock.now_us())

    def render(self, mails: Sequence[WaitingMail]) -> Sequence[OutgoingMail | Skip | Unrenderable]:
        """Each mail as it leaves now: to the account as it is now, with what its owner still wants."""
        accounts = self._accounts.get_many({mail.account_id for mail in mails})
        told: dict[str, list[BetChange] | str] = {}
        for mail_id, rows in self._contents.changes([mail.mail_id for mail in mails]).items():
            try:
                told[mail_id] = [read(row) for row in rows]
            except (msgspec.MsgspecError, ValueError) as error:
                told[mail_id] = f"a change can't be read: {error}"
        changes = [change for some in told.values() if isinstance(some, list) for change in some]
        entries = self._contents.balances({(change.bet.bet_id, change.bet.version) for change in changes})
        names = self._contents.names(change.bet for change in changes)
        return [
            self._render(mail, accounts.get(mail.account_id), told[mail.mail_id], entries, names)
            for mail in mails
        ]

    def mark(self, outcomes: Sequence[MailOutcome]) -> None:
        """Mark mails, and accounts whose address refused one."""
        self._queue.mark(outcomes, now_us=self._clock.now_us())

    def standing(self) -> Standing:
        """How many wait."""
        waiting, oldest_due_at_us = self._queue.standing(now_us=self._clock.now_us())
        return Standing(waiting + self._collector.behind(), oldest_due_at_us)

    def _render(
        self,
        mail: WaitingMail,
        account: Account | None,
        told: list[BetChange] | str,
        entries: Mapping[tuple[str, int], BalanceEntries],
        names: Mapping[str, BetNames],
    ) -> OutgoingMail | Skip | Unrenderable:
        if account is None:
            return Skip("the account is gone")
        if not account.takes_mail:
            return Skip(f"the account is {account.state.value}")
        if isinstance(told, str):
            return Unrenderable(told)
        wanted = [change for change in told if telling(change, account.mail_choice) is not Telling.NOT]
        if not wanted:
            return Skip(f"its owner wants no such mail: {account.mail_choice.value}")
        try:
            return change_mail(mail, account, told, entries, names, self._links.url(account.account_id))
        except (jinja2.TemplateError, ValueError, KeyError, AssertionError) as error:
            log.exception("mail %s", mail.mail_id)
            return Unrenderable(f"{type(error).__name__}: {error}")


def change_mail(
    mail: WaitingMail,
    account: Account,
    changes: Sequence[BetChange],
    entries: Mapping[tuple[str, int], BalanceEntries],
    names: Mapping[str, BetNames],
    preferences_url: str,
) -> OutgoingMail:
    """The mail that tells these changes."""
    if mail.kind == DIGEST:
        digest = digest_words(changes, names, entries, account.display_name)
        subject, bodies = (
            digest.subject,
            render("digest", subject=digest.subject, preferences_url=preferences_url, digest=digest),
        )
    else:
        bet = changes[-1].bet
        told = change_words(
            changes, names[bet.bet_id], entries[bet.bet_id, bet.version], account.display_name
        )
        subject, bodies = (
            told.subject,
            render("change", subject=told.subject, preferences_url=preferences_url, told=told),
        )
    return OutgoingMail(
        mail_id=mail.mail_id,
        to_address=account.email,
        to_name=account.display_name,
        subject=subject,
        text=bodies.text,
        html=bodies.html,
        written_at=from_us(mail.queued_at_us),
        unsubscribe_url=preferences_url,
    )
