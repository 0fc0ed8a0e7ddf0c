"""Which mails a batch of changes makes: one a change, one for fills that follow each other, one a digest.
Pure; no I/O.

Not here: keeping the plan (collecting.py).

- A change that is no fill is mailed at once.
- Fills of a bet gather in one mail. It leaves once there was no fill for `quiet_s`, `at_most_s` after its
  first fill at the latest, at once with a fill that leaves nothing to match, and before any other change of
  the bet.
- Mails of one bet leave in the order of its changes. What an owner gets in a digest is reported there,
  whatever else was mailed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time

from exchange_platform.domain.accounts import MailChoice
from exchange_platform.notifications.changes import BetChange, Telling, telling
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS
from exchange_platform.stores.operational.mails.mails import NewMail

DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class MailPace:
    """How long fills gather, and when digests leave: every `digest_interval_us`, counted from `digest_at`
    (UTC).
    """

    fills_quiet_us: int
    fills_at_most_us: int
    digest_interval_us: int
    digest_at: time

    def next_digest_us(self, now_us: int) -> int:
        """The first instant after now at which digests leave."""
        anchor_us = (self.digest_at.hour * 60 + self.digest_at.minute) * 60_000_000
        passed = (now_us - anchor_us) // self.digest_interval_us
        return anchor_us + (passed + 1) * self.digest_interval_us


@dataclass(frozen=True, slots=True)
class Gathering:
    """A mail that still takes further changes: the fills of a bet, or an account's digest."""

    mail_id: str
    queued_at_us: int
    due_at_us: int


@dataclass(slots=True)
class MailPlan:
    """What to write: new mails, which mail tells each change (by its sequence), and when known mails are due
    now.
    """

    new: dict[str, NewMail] = field(default_factory=dict)
    tells: dict[int, str] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)


def plan(
    changes: Sequence[tuple[BetChange, MailChoice]],
    fills: Mapping[str, Gathering],
    digests: Mapping[str, Gathering],
    pace: MailPace,
    *,
    now_us: int,
) -> MailPlan:
    """Plan the mails of changes, which come in the outbox's order with their owners' choices.

    `fills` are the mails that gather fills, by bet; `digests` those that gather an account's changes, by
    account.
    """
    return _Planner(fills, digests, pace, now_us).plan(changes)


def bet_thread(bet_id: str) -> str:
    """The thread of a bet's mails."""
    return f"bet.{bet_id}"


def digest_thread(account_id: str) -> str:
    """The thread of an account's digests."""
    return f"digest.{account_id}"


class _Planner:
    def __init__(
        self, fills: Mapping[str, Gathering], digests: Mapping[str, Gathering], pace: MailPace, now_us: int
    ) -> None:
        self._fills = dict(fills)
        self._digests = dict(digests)
        self._pace = pace
        self._now_us = now_us
        self._plan = MailPlan()

    def plan(self, changes: Sequence[tuple[BetChange, MailChoice]]) -> MailPlan:
        for change, choice in changes:
            match telling(change, choice):
                case Telling.NOT:
                    continue
                case Telling.IN_DIGEST:
                    self._into_digest(change)
                case Telling.AT_ONCE if change.is_fill:
                    self._fill(change)
                case Telling.AT_ONCE:
                    self._at_once(change)
        return self._plan

    def _at_once(self, change: BetChange) -> None:
        gathered = self._fills.pop(change.bet.bet_id, None)
        if gathered is not None:
            self._set_due(gathered.mail_id, min(gathered.due_at_us, self._now_us))
        self._tell(change, self._queue(change, change.kind.value, self._now_us))

    def _fill(self, change: BetChange) -> None:
        bet_id = change.bet.bet_id
        gathered = self._fills.get(bet_id)
        queued_at_us = gathered.queued_at_us if gathered is not None else self._now_us
        latest_us = queued_at_us + self._pace.fills_at_most_us
        due_at_us = (
            self._now_us if change.completes else min(latest_us, self._now_us + self._pace.fills_quiet_us)
        )
        if gathered is None:
            mail_id = self._queue(change, change.kind.value, due_at_us)
        else:
            mail_id = gathered.mail_id
            self._set_due(mail_id, due_at_us)
        self._tell(change, mail_id)
        if change.completes:
            self._fills.pop(bet_id, None)
        else:
            self._fills[bet_id] = Gathering(mail_id, queued_at_us, due_at_us)

    def _into_digest(self, change: BetChange) -> None:
        account_id = change.bet.user_id
        gathered = self._digests.get(account_id)
        if gathered is None:
            due_at_us = self._pace.next_digest_us(self._now_us)
            mail_id = f"{digest_thread(account_id)}.{change.sequence}"
            self._plan.new[mail_id] = self._new(change, mail_id, DIGEST, digest_thread(account_id), due_at_us)
            gathered = self._digests[account_id] = Gathering(mail_id, self._now_us, due_at_us)
        self._tell(change, gathered.mail_id)

    def _queue(self, change: BetChange, kind: str, due_at_us: int) -> str:
        mail_id = f"{bet_thread(change.bet.bet_id)}.{change.bet.version}"
        self._plan.new[mail_id] = self._new(change, mail_id, kind, bet_thread(change.bet.bet_id), due_at_us)
        return mail_id

    def _new(self, change: BetChange, mail_id: str, kind: str, thread: str, due_at_us: int) -> NewMail:
        return NewMail(
            mail_id=mail_id,
            source=NOTIFICATIONS,
            kind=kind,
            account_id=change.bet.user_id,
            thread=thread,
            changed_at_us=change.changed_at_us,
            queued_at_us=self._now_us,
            due_at_us=due_at_us,
        )

    def _set_due(self, mail_id: str, due_at_us: int) -> None:
        new = self._plan.new.get(mail_id)
        if new is None:
            self._plan.due[mail_id] = due_at_us
        else:
            self._plan.new[mail_id] = NewMail(
                new.mail_id,
                new.source,
                new.kind,
                new.account_id,
                new.thread,
                new.changed_at_us,
                new.queued_at_us,
                due_at_us,
            )

    def _tell(self, change: BetChange, mail_id: str) -> None:
        self._plan.tells[change.sequence] = mail_id
