"""The run that notifies, on real parts: every change becomes its mail and its message, whatever the server or
the topic does.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from exchange_platform.domain.accounts import AccountState, MailChoice
from exchange_platform.domain.bets import Bet, BetResult, BetStatus
from exchange_platform.notifications.dead_letters import replay_undelivered
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client, topic_arn
from exchange_platform.stores.operational.accounts.accounts import Accounts
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetterCount, DeadLetters
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.mails.mails import MailCount, MailQueue
from exchange_platform.stores.operational.tables.mails import mails
from exchange_platform.streams.replay.dead_letters import Replayed, replay_dead_letters
from tests.exchange_platform.stores.bet_lives import later, matched, opened, settled, unsettled, voided
from tests.support.notification_parts import (
    Subscriber,
    change,
    mail_states,
    register,
    running_notifier,
)
from tests.support.platform_parts import wait_for
from tests.support.smtp_server import HANG_UP, SmtpServer, first_times


def a_bet(number: int, user_id: str, **changes: object) -> Bet:
    now = datetime.now(UTC)
    return opened(bet_id=f"b{number}", user_id=user_id, placed_at=now, updated_at=now, **changes)


def part_matched(bet: Bet, minor: int) -> Bet:
    total = bet.matched_minor + minor
    return later(
        bet,
        matched_minor=total,
        remaining_minor=bet.stake_minor - total,
        matched_winnings_minor=total * 2,
        status=BetStatus.OPEN if total < bet.stake_minor else BetStatus.MATCHED,
    )


def subjects(server: SmtpServer, recipient: str) -> list[str]:
    return [one.subject for one in list(server.received) if one.recipient.startswith(f"{recipient}@")]


def test_each_change_of_a_bet_is_mailed_once_in_order_and_within_two_seconds(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "ann")
    life = [a_bet(1, "ann")]
    life.append(matched(life[-1]))
    life.append(settled(life[-1], BetResult.WON))
    life.append(unsettled(life[-1]))
    life.append(settled(life[-1], BetResult.LOST))
    life.append(voided(life[-1]))
    with running_notifier(notifying):
        wait_for(lambda: _is_at_work(database), what="a claim")
        for number, bet in enumerate(life, 1):
            changed_s = time.time()
            change(database, bet)
            wait_for(lambda: len(smtp_server.received) == number, timeout_s=20)  # noqa: B023
            assert smtp_server.received[-1].at_s - changed_s < 2.0
    assert subjects(smtp_server, "ann") == [
        "Bet accepted: selection 1, event e1",
        "Bet matched: selection 1, event e1",
        "Bet settled: won: selection 1, event e1",
        "Settlement taken back: selection 1, event e1",
        "Bet settled again: lost: selection 1, event e1",
        "Bet void: selection 1, event e1",
    ]
    assert set(mail_states(database).values()) == {"sent"}
    assert len({one.message_id for one in smtp_server.received}) == 6


def test_fills_that_follow_each_other_become_one_mail_with_the_total(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "ann")
    bet = a_bet(1, "ann")
    with running_notifier(notifying):
        change(database, bet)
        wait_for(lambda: len(smtp_server.received) == 1)
        for _ in range(4):
            bet = part_matched(bet, 100)
            change(database, bet)
        wait_for(lambda: len(smtp_server.received) == 2)
        bet = part_matched(bet, 100)
        change(database, bet)
        change(database, part_matched(bet, 500))  # nothing is left to match: at once, with the fill before it
        wait_for(lambda: len(smtp_server.received) == 3)
    assert [one.subject.split(":")[0] for one in smtp_server.received] == [
        "Bet accepted",
        "Bet partly matched",
        "Bet matched",
    ]
    assert "£4.00 of £10.00 is matched by now" in smtp_server.received[1].text
    assert "All of your bet, £10.00, is matched" in smtp_server.received[2].text
    assert len(mail_states(database)) == 3


def test_a_change_that_is_no_fill_does_not_overtake_the_fills_before_it(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "ann")
    bet = a_bet(1, "ann")
    slow = notifying.model_copy(update={"fills_quiet_s": 60.0, "fills_at_most_s": 60.0})
    with running_notifier(slow):
        filled = part_matched(bet, 300)
        change(database, bet, filled)
        change(
            database,
            later(filled, status=BetStatus.MATCHED, remaining_minor=0, cancelled_minor=700),
        )
        wait_for(lambda: len(smtp_server.received) == 3, timeout_s=20)
    assert [one.subject.split(":")[0] for one in smtp_server.received] == [
        "Bet accepted",
        "Bet partly matched",
        "Bet cancelled",
    ]


def test_only_a_confirmed_account_is_mailed_and_only_what_its_owner_chose(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "pending", confirmed=False)
    register(database, "settler", choice=MailChoice.SETTLEMENTS)
    register(database, "silent", choice=MailChoice.NONE)
    with running_notifier(notifying):
        for number, user in enumerate(("pending", "settler", "silent", "trader")):
            first = a_bet(number, user)
            filled = matched(first)
            won = settled(filled, BetResult.WON)
            change(database, first, filled, won, unsettled(won), settled(unsettled(won), BetResult.LOST))
        wait_for(lambda: len(smtp_server.received) == 5, timeout_s=20)
        wait_for(lambda: _is_caught_up(database))
    assert [text.split(":")[0] for text in subjects(smtp_server, "settler")] == [
        "Bet settled",
        "Settlement taken back",
        "Bet settled again",
    ]
    assert [text.split(":")[0] for text in subjects(smtp_server, "silent")] == [
        "Settlement taken back",
        "Bet settled again",
    ]
    assert {one.recipient.split("@")[0] for one in smtp_server.received} == {"settler", "silent"}


def _waiting(database: Database) -> list[str]:
    return [mail_id for mail_id, state in mail_states(database).items() if state == "waiting"]


def test_a_digest_gathers_what_is_not_urgent(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "ann", choice=MailChoice.DIGEST)
    first, second = a_bet(1, "ann"), a_bet(2, "ann")
    won = settled(matched(first), BetResult.WON)
    with running_notifier(notifying):
        change(database, first, matched(first), won, second)
        change(database, later(second, status=BetStatus.VOIDED, voided_minor=1000, remaining_minor=0))
        wait_for(lambda: len(smtp_server.received) == 1, timeout_s=20)
        assert smtp_server.received[0].subject.startswith("Bet void")
        wait_for(lambda: len(_waiting(database)) == 1, what="the mail that was accepted is marked as sent")
        (digest,) = _waiting(database)
        _let_be_due(database, digest)
        wait_for(lambda: len(smtp_server.received) == 2, timeout_s=20)
    mail = smtp_server.received[1]
    assert mail.subject == "Your bets: 4 changes of 2 bets"
    assert "Your balance changed by: +£19.60" in mail.text


def test_an_address_that_refuses_makes_its_account_undeliverable_and_stops_its_mail(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "gone")
    register(database, "ann")
    smtp_server.on_recipient = lambda address: "550 5.1.1 no such user" if "gone" in address else None
    with running_notifier(notifying):
        bet = a_bet(1, "gone")
        change(database, bet, matched(bet), a_bet(2, "ann"))
        ends = {"bet.b1.1": "dead", "bet.b1.2": "skipped", "bet.b2.1": "sent"}
        wait_for(lambda: mail_states(database) == ends, what="each mail's end")
    account = Accounts(database).get("gone")
    assert account is not None
    assert account.state is AccountState.UNDELIVERABLE
    assert account.state_reason == "550 5.1.1 no such user"
    (letter,) = DeadLetters(database).list(source=NOTIFICATIONS)
    assert (letter.shard, letter.position, letter.stage) == ("mail", "bet.b1.1", "send")
    assert "no such user" in letter.reason


def test_greylisting_and_lost_connections_end_with_every_mail_once(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    users = [f"u{number}" for number in range(12)]
    for user in users:
        register(database, user)
    smtp_server.on_recipient = first_times(1, "451 4.7.1 greylisted, come back later")
    smtp_server.on_message = first_times(1, HANG_UP)
    with running_notifier(notifying):
        bets = [a_bet(number, user) for number, user in enumerate(users)]
        change(database, *bets)
        change(database, *(matched(bet) for bet in bets))
        wait_for(lambda: list(mail_states(database).values()).count("sent") == 24, timeout_s=40)
    for user in users:
        assert [text.split(":")[0] for text in subjects(smtp_server, user)] == ["Bet accepted", "Bet matched"]


def test_a_mail_that_no_server_wants_is_a_dead_letter_with_its_reason(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "ann")
    smtp_server.on_message = lambda _: "554 5.6.0 unacceptable content"
    impatient = notifying.model_copy(update={"mail_give_up_s": 0.5})
    with running_notifier(impatient):
        change(database, a_bet(1, "ann"))
        wait_for(lambda: mail_states(database) == {"bet.b1.1": "dead"})
        smtp_server.on_message = lambda _: "451 4.3.0 never ready"
        change(database, a_bet(2, "ann"))
        wait_for(lambda: mail_states(database).get("bet.b2.1") == "dead", timeout_s=20)
    refused, given_up = sorted(DeadLetters(database).list(), key=lambda letter: letter.position)
    assert refused.reason == "554 5.6.0 unacceptable content"
    assert given_up.reason.startswith("given up after ")
    account = Accounts(database).get("ann")
    assert account is not None
    assert account.takes_mail


def test_a_dead_mail_is_sent_when_it_is_replayed(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "ann")
    smtp_server.on_message = first_times(2, "554 5.6.0 unacceptable content")
    with running_notifier(notifying):
        change(database, a_bet(1, "ann"))
        wait_for(lambda: mail_states(database) == {"bet.b1.1": "dead"})
        (letter,) = DeadLetters(database).list(waiting_only=True)
        assert replay_dead_letters(notifying).still_dead == 0  # it is no record, and stays as it is
        assert replay_undelivered(notifying, [letter.dead_letter_id]) == Replayed(1, 0, 0)
        wait_for(lambda: DeadLetters(database).count() == DeadLetterCount(1, 0), what="it died again")
        assert replay_undelivered(notifying) == Replayed(1, 0, 0)
        wait_for(lambda: mail_states(database) == {"bet.b1.1": "sent"})
    assert DeadLetters(database).count() == DeadLetterCount(0, 1)
    assert MailQueue(database, NOTIFICATIONS).count() == MailCount(waiting=0, sent=1, skipped=0, dead=0)
    assert len(smtp_server.received) == 1
    assert replay_undelivered(notifying) == Replayed(0, 0, 0)


def test_while_the_mail_server_is_away_changes_are_published_and_mailed_when_it_is_back(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "ann")
    subscriber = Subscriber(notifying)
    smtp_server.stop()
    with running_notifier(notifying):
        change(database, *(a_bet(number, "ann") for number in range(5)))
        wait_for(lambda: len(subscriber.take()) == 5, timeout_s=20)
        wait_for(lambda: _troubles(database, "mail: 127.0.0.1"))
        assert list(mail_states(database).values()) == ["waiting"] * 5
        back = SmtpServer(port=smtp_server.port).start()
        try:
            wait_for(lambda: len(back.received) == 5, timeout_s=20)
        finally:
            back.stop()


def test_while_the_topic_is_away_mails_are_sent_and_changes_published_when_it_is_back(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "ann")
    sns = aws_client(notifying, "sns")
    arn = topic_arn(notifying, notifying.status_topic)
    sns.delete_topic(TopicArn=arn)
    with running_notifier(notifying):
        bets = [a_bet(number, "ann") for number in range(5)]
        change(database, *bets)
        wait_for(lambda: len(smtp_server.received) == 5, timeout_s=20)
        wait_for(lambda: _troubles(database, "topic: NotFound"))
        sns.create_topic(Name=notifying.status_topic)
        wait_for(lambda: _figures(database, "topic")["published"] == 5, timeout_s=20)
        assert not _troubles(database, "topic")
    sns.close()


@pytest.mark.long
def test_a_subscriber_gets_each_change_once_in_order_per_bet(notifying: Settings, database: Database) -> None:
    everything = Subscriber(notifying)
    settlements = Subscriber(notifying, attributes={"change": ["settled"], "user_id": ["u3"]})
    bets = [a_bet(number, f"u{number % 10}") for number in range(60)]
    lives = []
    for bet in bets:
        filled = matched(bet)
        lives.append([bet, filled, settled(filled, BetResult.WON)])
    with running_notifier(notifying):
        for step in range(3):
            change(database, *(life[step] for life in lives))
        wait_for(lambda: len(everything.take()) == 180, timeout_s=60)
        wait_for(lambda: _is_caught_up(database))
    everything.take()
    assert len(everything.messages) == 180
    for life in lives:
        mine = [one for one in everything.messages if one["bet_id"] == life[0].bet_id]
        assert [one["version"] for one in mine] == [1, 2, 3]
        assert [one["change"] for one in mine] == ["accepted", "matched", "settled"]
        assert msgspec.convert(mine[-1]["bet"], Bet, strict=False) == life[-1]
    assert {one["bet_id"] for one in settlements.take()} == {f"b{number}" for number in range(3, 60, 10)}


def test_a_hand_over_delivers_nothing_twice(
    notifying: Settings, database: Database, smtp_server: SmtpServer
) -> None:
    register(database, "ann")
    subscriber = Subscriber(notifying)
    smtp_server.answer_after_s = 0.05
    with running_notifier(notifying) as first:
        change(database, *(a_bet(number, "ann") for number in range(40)))
        wait_for(lambda: len(smtp_server.received) >= 5)
        with running_notifier(notifying) as second:
            wait_for(lambda: first.superseded, timeout_s=10)
            wait_for(lambda: len(smtp_server.received) == 40, timeout_s=40)
            wait_for(lambda: len(subscriber.take()) == 40, timeout_s=20)
            assert second.epoch == first.epoch + 1
            wait_for(lambda: _is_caught_up(database))
    assert len({one.message_id for one in smtp_server.received}) == len(smtp_server.received) == 40
    assert len(subscriber.take()) == 40


def test_the_rate_is_kept(notifying: Settings, database: Database, smtp_server: SmtpServer) -> None:
    register(database, "ann")
    change(database, *(a_bet(number, "ann") for number in range(20)))
    with running_notifier(
        notifying.model_copy(update={"mail_rate_per_s": 20.0})
    ):  # 16 a second are this run's
        wait_for(lambda: len(smtp_server.received) == 20, timeout_s=20)
    times = [one.at_s for one in smtp_server.received]
    assert times[-1] - times[0] > 0.8


def _let_be_due(database: Database, mail_id: str) -> None:
    with database.write() as connection:
        connection.execute(
            sa.update(mails).where(mails.c.mail_id == mail_id).values(due_at_us=SYSTEM_CLOCK.now_us())
        )


def _is_at_work(database: Database) -> bool:
    newest = ConsumerRows(database).newest(NOTIFICATIONS)
    return newest is not None and newest.at_tip


def _is_caught_up(database: Database) -> bool:
    asked_us = SYSTEM_CLOCK.now_us()
    wait_for(lambda: (_newest_caught_up_us(database) or 0) > asked_us, timeout_s=20)
    return True


def _newest_caught_up_us(database: Database) -> int | None:
    newest = ConsumerRows(database).newest(NOTIFICATIONS)
    return newest.caught_up_at_us if newest is not None else None


def _figures(database: Database, channel: str) -> dict[str, Any]:
    newest = ConsumerRows(database).newest(NOTIFICATIONS)
    assert newest is not None
    figures: dict[str, Any] = newest.statistics.channels[channel]
    return figures


def _troubles(database: Database, text: str) -> bool:
    newest = ConsumerRows(database).newest(NOTIFICATIONS)
    return newest is not None and any(text in one for one in newest.statistics.trouble)
