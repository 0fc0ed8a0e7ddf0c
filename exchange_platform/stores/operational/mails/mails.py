"""The mails that wait, are sent, skipped or dead, in the operational database. Not here: what they say, or
sending them (mail/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.operational.accounts.accounts import mark_undeliverable
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetter, bury_again
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.tables.mails import mail_counts, mails
from exchange_platform.stores.operational.upsert import ByKey, chunks, insert, upsert

MAIL = "mail"
"""The channel's name: the sink of its checkpoints, the shard of its dead letters."""

_ALL = "all"


class MailState(Enum):
    """What has become of a mail."""

    WAITING = "waiting"
    """It is to be sent, now or at its next try."""
    SENT = "sent"
    """The mail server took it."""
    SKIPPED = "skipped"
    """It was not to be sent after all: the owner chose so, or nothing was left to say."""
    DEAD = "dead"
    """It was refused for good, or too often: an operator decides."""


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail to be sent once it is due. One whose `mail_id` is known already is not queued again."""

    mail_id: str
    source: str
    kind: str
    account_id: str
    thread: str
    changed_at_us: int
    queued_at_us: int
    due_at_us: int


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """A mail that is due. `attempts` counts the tries so far; `queued_at_us` is when it began to wait."""

    mail_id: str
    kind: str
    account_id: str
    thread: str
    attempts: int
    changed_at_us: int
    queued_at_us: int
    due_at_us: int


@dataclass(frozen=True, slots=True)
class MailOutcome:
    """What became of a mail: sent, skipped or dead; or it waits on, until `due_at_us`.

    With `recipient_refused` its account is marked as undeliverable too, which stops mail to it.
    """

    mail: WaitingMail
    state: MailState
    reason: str | None = None
    due_at_us: int = 0
    stage: str = "send"
    recipient_refused: bool = False

    @property
    def waits(self) -> bool:
        """Whether the mail will be tried again."""
        return self.state is MailState.WAITING


@dataclass(frozen=True, slots=True)
class MailCount:
    """How many mails there are of a source, by their state. `waiting` are those that wait for whatever
    reason.
    """

    waiting: int
    sent: int
    skipped: int
    dead: int


_add_to_counts = upsert(mail_counts, add=["mails"])
_insert = insert(mails, ignore_known=True, leave_out=["sequence", "ended_at_us", "reason"])
_MARKED = ("state", "reason", "attempts", "ended_at_us")
_end = ByKey(mails, ["mail_id"], change=_MARKED)
_wait_on = ByKey(mails, ["mail_id"], change=(*_MARKED, "due_at_us"))


def queue_mails(connection: sa.Connection, new: Sequence[NewMail]) -> None:
    """Queue mails inside the caller's transaction; those that are known stay as they are."""
    for some in chunks(new, 100):
        _insert.execute(
            connection,
            [
                {
                    "mail_id": mail.mail_id,
                    "source": mail.source,
                    "kind": mail.kind,
                    "account_id": mail.account_id,
                    "thread": mail.thread,
                    "state": MailState.WAITING.value,
                    "due_at_us": mail.due_at_us,
                    "attempts": 0,
                    "changed_at_us": mail.changed_at_us,
                    "queued_at_us": mail.queued_at_us,
                }
                for mail in some
            ],
        )


class MailQueue:
    """One source's mails, for the run that sends them."""

    def __init__(self, database: Database, source: str) -> None:
        self._database = database
        self._source = source
        self._checkpoints = Checkpoints(database, MAIL)
        self._epoch = 0

    def claim(self, epoch: int, *, now_us: int) -> None:
        """Make the source's mails this epoch's alone to mark. Raises `Superseded`, `StoreUnavailable`."""
        self._checkpoints.claim(self._source, epoch, [_ALL], now_us=now_us)
        self._epoch = epoch

    def due(self, limit: int, under_way: Collection[str] = (), *, now_us: int) -> list[WaitingMail]:
        """Mails to send now, longest due first: of each thread its oldest that waits, and none that is under
        way (by `mail_id`).
        """
        earlier = mails.alias("earlier")
        statement = (
            sa.select(*(mails.c[name] for name in WaitingMail.__dataclass_fields__))
            .where(
                mails.c.source == self._source,
                mails.c.state == MailState.WAITING.value,
                mails.c.due_at_us <= now_us,
                ~sa.exists().where(
                    earlier.c.state == MailState.WAITING.value,
                    earlier.c.thread == mails.c.thread,
                    earlier.c.sequence < mails.c.sequence,
                ),
            )
            .order_by(mails.c.due_at_us, mails.c.sequence)
            .limit(limit + len(under_way))
        )
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return [WaitingMail(**row._mapping) for row in rows if row.mail_id not in under_way][:limit]

    def mark(self, outcomes: Sequence[MailOutcome], *, now_us: int) -> None:
        """Mark what became of mails, with dead letters and refused accounts, in one transaction.

        Raises `Superseded`, and marks nothing, once a newer epoch has claimed the source.
        """
        with self._database.write() as connection:
            self._checkpoints.advance(
                connection, self._source, self._epoch, [Advance(_ALL, None, None)], now_us=now_us
            )
            _end.execute(connection, [_marked(outcome, now_us) for outcome in outcomes if not outcome.waits])
            _wait_on.execute(connection, [_marked(outcome, now_us) for outcome in outcomes if outcome.waits])
            ended = Counter(outcome.state for outcome in outcomes if not outcome.waits)
            _count(connection, self._source, ended)
            for outcome in outcomes:
                if outcome.state is MailState.DEAD:
                    self._bury(connection, outcome, now_us)
                if outcome.recipient_refused:
                    account_id, tried = outcome.mail.account_id, outcome.state is not MailState.SKIPPED
                    mark_undeliverable(
                        connection, account_id, outcome.reason or "refused", now_us, tried=tried
                    )

    def standing(self, *, now_us: int) -> tuple[int, int | None]:
        """How many mails wait that are due, and when the oldest of them was due. Costs the same however many
        there are.
        """
        statement = sa.select(sa.func.count(), sa.func.min(mails.c.due_at_us)).where(
            mails.c.source == self._source,
            mails.c.state == MailState.WAITING.value,
            mails.c.due_at_us <= now_us,
        )
        with self._database.read() as connection:
            waiting, oldest = connection.execute(statement).one()
        return int(waiting), int(oldest) if oldest is not None else None

    def count(self) -> MailCount:
        """How many mails there are. Costs the same however many have ended."""
        waiting = sa.select(sa.func.count()).where(
            mails.c.source == self._source, mails.c.state == MailState.WAITING.value
        )
        ended = sa.select(mail_counts.c.state, mail_counts.c.mails).where(
            mail_counts.c.source == self._source
        )
        with self._database.read() as connection:
            counted = {str(row[0]): int(row[1]) for row in connection.execute(ended)}
            waiting_count = int(connection.execute(waiting).scalar_one())
        return MailCount(
            waiting=waiting_count,
            sent=counted.get(MailState.SENT.value, 0),
            skipped=counted.get(MailState.SKIPPED.value, 0),
            dead=counted.get(MailState.DEAD.value, 0),
        )

    def _bury(self, connection: sa.Connection, outcome: MailOutcome, now_us: int) -> None:
        mail = outcome.mail
        bury_again(
            connection,
            {
                "source": self._source,
                "shard": MAIL,
                "position": mail.mail_id,
                "part": 0,
                "stage": outcome.stage,
                "reason": outcome.reason or "",
                "data": msgspec.json.encode(mail),
                "partition_key": mail.account_id,
                "arrived_at_us": mail.queued_at_us,
                "dead_at_us": now_us,
            },
        )


def _marked(outcome: MailOutcome, now_us: int) -> dict[str, Any]:
    return {
        "mail_id": outcome.mail.mail_id,
        "state": outcome.state.value,
        "reason": outcome.reason,
        "attempts": outcome.mail.attempts + (outcome.state is not MailState.SKIPPED),
        "ended_at_us": None if outcome.waits else now_us,
        "due_at_us": outcome.due_at_us,
    }


def requeue(connection: sa.Connection, letters: Sequence[DeadLetter], *, now_us: int) -> list[DeadLetter]:
    """Let dead mails be sent after all, from now on; returns those that were dead still."""
    alive: list[DeadLetter] = []
    for letter in letters:
        changed = connection.execute(
            sa.update(mails)
            .where(mails.c.mail_id == letter.position, mails.c.state == MailState.DEAD.value)
            .values(
                state=MailState.WAITING.value,
                attempts=0,
                due_at_us=now_us,
                queued_at_us=now_us,
                ended_at_us=None,
                reason=None,
            )
        ).rowcount
        if changed:
            alive.append(letter)
            _count(connection, letter.source, {MailState.DEAD: -1})
    return alive


def _count(connection: sa.Connection, source: str, ended: Mapping[MailState, int]) -> None:
    _add_to_counts.execute(
        connection,
        [{"source": source, "state": state.value, "mails": number} for state, number in ended.items()],
    )
