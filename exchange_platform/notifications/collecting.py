"""From the outbox to mails: reads on from where it was, plans, and keeps the plan with its new position in
one transaction.

Changes of users without a confirmed account, and those that an owner wants no mail of, are passed over. Not
here: the plan (planning.py).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.domain.changes import ChangeKind
from exchange_platform.notifications.changes import BetChange, read
from exchange_platform.notifications.planning import (
    DIGEST,
    Gathering,
    MailPace,
    MailPlan,
    bet_thread,
    digest_thread,
    plan,
)
from exchange_platform.process.clock import Clock, elapsed_s
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.operational.accounts.accounts import Account, Accounts
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS, POSITION, ChangeRow, Outbox
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.consumers.dead_letters import bury_again
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.mails.mails import MAIL, MailState, queue_mails
from exchange_platform.stores.operational.tables.mails import mail_changes, mails
from exchange_platform.stores.operational.upsert import ByKey, chunks, insert

log = logging.getLogger(__name__)

_PAGE = 1000
_MAX_PAGES = 10
_KEEP_EVERY_S = 1.0
_insert_tells = insert(mail_changes, ignore_known=True)
_put_off = ByKey(mails, ["mail_id"], change=["due_at_us"], only=f"state = '{MailState.WAITING.value}'")


class Collector:
    """Moves what owners are mailed of from the outbox into the table of mails. For one thread."""

    def __init__(self, database: Database, pace: MailPace, clock: Clock) -> None:
        self._database = database
        self._pace = pace
        self._clock = clock
        self._outbox = Outbox(database)
        self._accounts = Accounts(database)
        self._checkpoints = Checkpoints(database, MAIL)
        self._epoch = 0
        self._kept: str | None = None
        self._read_to = 0
        self._kept_at_us = 0
        self._unreadable: list[tuple[ChangeRow, str]] = []

    def claim(self, epoch: int) -> None:
        """Take the position over. Raises `Superseded`, `StoreUnavailable`."""
        held = self._checkpoints.claim(NOTIFICATIONS, epoch, [POSITION], now_us=self._clock.now_us())
        self._epoch = epoch
        self._kept = held[POSITION]
        self._read_to = int(self._kept or 0)

    def collect(self, under_way: Collection[str]) -> None:
        """Read on to the next changes that make mails, the outbox's end, or some thousands of changes. Those
        without mail cost a write a second at most.

        A mail under way takes no further changes. Raises `Superseded`, `StoreUnavailable`; nothing was kept
        of what it read then.
        """
        for _ in range(_MAX_PAGES):
            rows = self._outbox.owners_after(self._read_to, _PAGE)
            if not rows:
                break
            owners = self._accounts.get_many({user_id for _, user_id in rows})
            told = [sequence for sequence, user_id in rows if _takes_mail(owners.get(user_id))]
            if told:
                self._keep(self._planned(told, owners, under_way), rows[-1][0])
            self._read_to = rows[-1][0]
            if told or len(rows) < _PAGE:
                break  # what was found is sent before more is looked for
        if elapsed_s(self._kept_at_us, self._clock.now_us()) >= _KEEP_EVERY_S:
            self.keep_position()

    def keep_position(self) -> None:
        """Keep how far the outbox was read. Raises `Superseded`, `StoreUnavailable`."""
        if self._read_to != int(self._kept or 0):
            self._keep(MailPlan(), self._read_to)

    def behind(self) -> int:
        """How many changes there are that were not read yet."""
        return self._outbox.newest() - self._read_to

    def _planned(
        self, sequences: Sequence[int], owners: dict[str, Account], under_way: Collection[str]
    ) -> MailPlan:
        changes: list[BetChange] = []
        for row in self._outbox.rows(sequences):
            try:
                changes.append(read(row))
            except (msgspec.MsgspecError, ValueError) as error:  # written by another version of this code
                log.error("change %d of bet %s can't be read: %s", row.sequence, row.bet_id, error)
                self._unreadable.append((row, f"{type(error).__name__}: {error}"))
        chosen = [(change, owners[change.bet.user_id].mail_choice) for change in changes]
        fills = self._gathering(
            ChangeKind.MATCHED,
            {bet_thread(change.bet.bet_id): change.bet.bet_id for change in changes},
            under_way,
        )
        digests = self._gathering(
            DIGEST, {digest_thread(change.bet.user_id): change.bet.user_id for change in changes}, under_way
        )
        return plan(chosen, fills, digests, self._pace, now_us=self._clock.now_us())

    def _gathering(
        self, kind: str, threads: dict[str, str], under_way: Collection[str]
    ) -> dict[str, Gathering]:
        """The mails that still take changes, by what their thread stands for: never tried, and not
        under way.
        """
        found: dict[str, Gathering] = {}
        with self._database.read() as connection:
            for some in chunks(list(threads)):
                for row in connection.execute(
                    sa.select(mails.c.mail_id, mails.c.thread, mails.c.queued_at_us, mails.c.due_at_us)
                    .where(
                        mails.c.state == MailState.WAITING.value,
                        mails.c.thread.in_(some),
                        mails.c.kind == kind,
                        mails.c.attempts == 0,
                    )
                    .order_by(mails.c.sequence)
                ):
                    if row.mail_id not in under_way:
                        found[threads[row.thread]] = Gathering(row.mail_id, row.queued_at_us, row.due_at_us)
        return found

    def _keep(self, planned: MailPlan, read_to: int) -> None:
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            self._checkpoints.advance(
                connection,
                NOTIFICATIONS,
                self._epoch,
                [Advance(POSITION, self._kept, str(read_to))],
                now_us=now_us,
            )
            queue_mails(connection, list(planned.new.values()))
            _insert_tells.execute(
                connection,
                [
                    {"outbox_sequence": sequence, "mail_id": mail_id}
                    for sequence, mail_id in planned.tells.items()
                ],
            )
            _put_off.execute(
                connection,
                [{"mail_id": mail_id, "due_at_us": due_at_us} for mail_id, due_at_us in planned.due.items()],
            )
            for row, reason in self._unreadable:
                bury_again(connection, _dead_letter(row, reason, now_us))
        self._unreadable = []
        self._kept = str(read_to)
        self._kept_at_us = now_us


def _dead_letter(row: ChangeRow, reason: str, now_us: int) -> dict[str, Any]:
    return {
        "source": NOTIFICATIONS,
        "shard": MAIL,
        "position": f"{bet_thread(row.bet_id)}.{row.bet_version}",
        "part": 0,
        "stage": "collect",
        "reason": reason,
        "data": row.bet.encode(),
        "partition_key": row.user_id,
        "arrived_at_us": row.changed_at_us,
        "dead_at_us": now_us,
    }


def _takes_mail(account: Account | None) -> bool:
    return account is not None and account.takes_mail
