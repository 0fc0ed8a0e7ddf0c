"""Which mails changes make, whatever happens in which order: every change once, in the bet's order, fills
together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from exchange_platform.domain.accounts import MailChoice
from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.changes import ChangeKind
from exchange_platform.notifications.changes import BetChange, Telling, telling
from exchange_platform.notifications.planning import DIGEST, Gathering, MailPace, plan
from exchange_platform.stores.operational.mails.mails import NewMail
from tests.exchange_platform.stores.bet_lives import matched, opened

PACE = MailPace(3_000_000, 10_000_000, 86_400_000_000, time(7))
NOW_US = 1_795_500_000_000_000
FILL = ChangeKind.MATCHED


def a_change(sequence: int, kind: ChangeKind, *, bet_id: str = "b1", completes: bool = False) -> BetChange:
    bet = opened(bet_id=bet_id, user_id=f"owner-of-{bet_id}")
    bet = msgspec.structs.replace(matched(bet) if completes else bet, version=sequence)
    return BetChange(sequence, kind, bet, BetStatus.OPEN, NOW_US)


@dataclass
class Kept:
    """The mails as the database keeps them: planned batch by batch, leaving when they are due."""

    mails: dict[str, NewMail] = field(default_factory=dict)
    tells: dict[int, str] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    def take(self, changes: list[tuple[BetChange, MailChoice]], now_us: int) -> None:
        self.leave(now_us)
        fills = {
            mail.thread.removeprefix("bet."): Gathering(mail.mail_id, mail.queued_at_us, mail.due_at_us)
            for mail in self.mails.values()
            if mail.kind == FILL and mail.mail_id not in self.left
        }
        digests = {
            mail.account_id: Gathering(mail.mail_id, mail.queued_at_us, mail.due_at_us)
            for mail in self.mails.values()
            if mail.kind == DIGEST and mail.mail_id not in self.left
        }
        planned = plan(changes, fills, digests, PACE, now_us=now_us)
        assert not planned.new.keys() & self.mails.keys()
        self.mails |= planned.new
        for mail_id, due_at_us in planned.due.items():
            assert mail_id not in self.left
            self.mails[mail_id] = _due(self.mails[mail_id], due_at_us)
        assert not planned.tells.keys() & self.tells.keys()
        self.tells |= planned.tells

    def leave(self, now_us: int) -> None:
        """Mails that are due leave; of each thread in the order in which they were queued."""
        blocked: set[str] = set()
        for mail in self.mails.values():
            if mail.mail_id in self.left:
                continue
            if mail.due_at_us <= now_us and mail.thread not in blocked:
                self.left[mail.mail_id] = now_us
            else:
                blocked.add(mail.thread)


def _due(mail: NewMail, due_at_us: int) -> NewMail:
    return NewMail(
        mail.mail_id,
        mail.source,
        mail.kind,
        mail.account_id,
        mail.thread,
        mail.changed_at_us,
        mail.queued_at_us,
        due_at_us,
    )


_steps = st.lists(
    st.tuples(
        st.integers(0, 4),  # which bet
        st.sampled_from(list(ChangeKind)),
        st.booleans(),  # nothing is left to match
        st.sampled_from(list(MailChoice)),
        st.integers(0, 12_000_000),  # so long after the one before it, in microseconds
    ),
    max_size=40,
)


@given(steps=_steps)
def test_each_wanted_change_is_told_once_in_its_bet_s_order_and_in_time(
    steps: list[tuple[int, ChangeKind, bool, MailChoice, int]],
) -> None:
    kept = Kept()
    now_us = NOW_US
    wanted: dict[int, tuple[BetChange, Telling, int]] = {}
    for sequence, (bet, kind, completes, choice, pause_us) in enumerate(steps, 1):
        now_us += pause_us
        change = a_change(sequence, kind, bet_id=f"b{bet}", completes=completes)
        kept.take([(change, choice)], now_us)
        how = telling(change, choice)
        if how is not Telling.NOT:
            wanted[sequence] = (change, how, now_us)
    end_us = now_us + 2 * PACE.digest_interval_us
    for moment_us in range(now_us, now_us + 14_000_000, 100_000):
        kept.leave(moment_us)
    kept.leave(end_us)

    assert kept.tells.keys() == wanted.keys()
    assert kept.left.keys() == kept.mails.keys() == set(kept.tells.values())
    by_bet: dict[str, list[int]] = {}
    for sequence, mail_id in kept.tells.items():
        change, how, changed_at_us = wanted[sequence]
        mail = kept.mails[mail_id]
        assert mail.account_id == change.bet.user_id
        if how is Telling.IN_DIGEST:
            assert mail.kind == DIGEST
            assert mail.due_at_us - changed_at_us <= PACE.digest_interval_us
            continue
        by_bet.setdefault(change.bet.bet_id, []).append(list(kept.mails).index(mail_id))
        assert (mail.kind == FILL) is change.is_fill
        latest_us = 0 if not change.is_fill or change.completes else PACE.fills_at_most_us
        assert mail.due_at_us <= changed_at_us + latest_us
    assert all(places == sorted(places) for places in by_bet.values())


def test_fills_wait_for_each_other_but_not_for_long() -> None:
    kept = Kept()
    for number in range(5):
        kept.take([(a_change(number + 1, FILL), MailChoice.ALL)], NOW_US + number * 2_000_000)
    assert set(kept.tells.values()) == {"bet.b1.1"}
    assert kept.mails["bet.b1.1"].due_at_us == NOW_US + 10_000_000


def test_a_fill_that_leaves_nothing_to_match_takes_the_others_along_at_once() -> None:
    kept = Kept()
    kept.take([(a_change(1, FILL), MailChoice.ALL)], NOW_US)
    kept.take([(a_change(2, FILL, completes=True), MailChoice.ALL)], NOW_US + 1)
    assert kept.mails["bet.b1.1"].due_at_us == NOW_US + 1
    kept.take([(a_change(3, ChangeKind.SETTLED), MailChoice.ALL)], NOW_US + 2)
    assert list(kept.mails) == ["bet.b1.1", "bet.b1.3"]


def test_digests_leave_at_their_time_of_day() -> None:
    def at(hour: int, minute: int = 0) -> int:
        return int(datetime(2026, 11, 24, hour, minute, tzinfo=UTC).timestamp()) * 1_000_000

    assert PACE.next_digest_us(at(6, 59)) == at(7)
    assert PACE.next_digest_us(at(7)) == at(7) + 86_400_000_000
    hourly = MailPace(0, 0, 3_600_000_000, time(0, 30))
    assert hourly.next_digest_us(at(6, 10)) == at(6, 30)
    assert hourly.next_digest_us(at(6, 30)) == at(7, 30)
