"""From the outbox to mails: from where it was, once, and whatever is in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from exchange_platform.notifications.collecting import Collector
from exchange_platform.notifications.planning import MailPace
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.checkpoints import Advance, Superseded
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS, POSITION, TOPIC
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.stores.operational.consumers.dead_letters import DeadLetters
from exchange_platform.stores.operational.database import Database, outbox
from exchange_platform.stores.operational.mails.figures import notification_figures
from exchange_platform.stores.operational.mails.mails import MAIL
from exchange_platform.stores.operational.purge_rounds import Budget
from exchange_platform.stores.operational.purging import purge_changes, purge_mails
from exchange_platform.stores.operational.tables.mails import mails
from tests.exchange_platform.stores.bet_lives import matched, opened
from tests.exchange_platform.stores.bet_tables import new_database
from tests.support.notification_parts import change, mail_states, register

PACE = MailPace(0, 0, 60_000_000, time(0))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_database(tmp_path) as database:
        register(database, "ann")
        yield database


def collector(database: Database, epoch: int) -> Collector:
    found = Collector(database, PACE, SYSTEM_CLOCK)
    found.claim(epoch)
    return found


def collect_all(found: Collector) -> None:
    while found.behind():
        found.collect(())
    found.keep_position()


def test_a_successor_reads_on_from_where_its_predecessor_was(database: Database) -> None:
    first = collector(database, 1)
    bet = opened(user_id="ann")
    change(database, bet, opened(bet_id="b2", user_id="a-trader"))
    collect_all(first)
    second = collector(database, 2)
    assert second.behind() == 0
    change(database, matched(bet))
    with pytest.raises(Superseded):
        first.collect(())
    collect_all(second)
    assert sorted(mail_states(database)) == ["bet.b1.1", "bet.b1.2"]


def test_changes_that_nobody_is_mailed_of_are_passed_over_in_bulk(database: Database) -> None:
    change(
        database, *(opened(bet_id=f"b{number}", user_id=f"trader-{number % 50}") for number in range(2_500))
    )
    found = collector(database, 1)
    found.collect(())
    assert found.behind() == 0
    assert mail_states(database) == {}
    found.keep_position()
    assert Checkpoints(database, MAIL).positions(NOTIFICATIONS) == {POSITION: "2500"}


def test_what_makes_mails_is_kept_before_more_is_read(database: Database) -> None:
    change(database, opened(bet_id="b-first", user_id="ann"))
    change(database, *(opened(bet_id=f"b{number}", user_id="a-trader") for number in range(1_500)))
    found = collector(database, 1)
    found.collect(())
    assert mail_states(database) == {"bet.b-first.1": "waiting"}
    assert found.behind() == 501
    collect_all(found)


def test_a_change_that_can_not_be_read_is_a_dead_letter_and_holds_nothing_up(database: Database) -> None:
    bet = opened(user_id="ann")
    change(database, bet, matched(bet))
    with database.write() as connection:
        connection.execute(sa.update(outbox).where(outbox.c.bet_version == 1).values(bet='{"bet_id": 7}'))
    collect_all(collector(database, 1))
    assert mail_states(database) == {"bet.b1.2": "waiting"}
    (letter,) = DeadLetters(database).list()
    assert (letter.shard, letter.position, letter.stage) == ("mail", "bet.b1.1", "collect")


def _purged(database: Database, before_us: int) -> tuple[int, int]:
    """How many changes and mails."""
    changes = purge_changes(database, before_us=before_us, budget=Budget(SYSTEM_CLOCK, 60))
    mailed = purge_mails(database, before_us=before_us, budget=Budget(SYSTEM_CLOCK, 60))
    return changes.deleted, mailed.deleted


def test_what_was_delivered_long_ago_is_deleted_but_not_what_a_mail_still_tells(database: Database) -> None:
    change(database, opened(bet_id="b1", user_id="ann"), opened(bet_id="b2", user_id="a-trader"))
    collect_all(collector(database, 1))
    in_a_year_us = SYSTEM_CLOCK.now_us() + 365 * 86_400_000_000
    assert _purged(database, in_a_year_us) == (0, 0)  # the topic has not had them
    topic = Checkpoints(database, TOPIC)
    topic.claim(NOTIFICATIONS, 1, [POSITION], now_us=0)
    with database.write() as connection:
        topic.advance(connection, NOTIFICATIONS, 1, [Advance(POSITION, None, "2")], now_us=0)
    assert _purged(database, in_a_year_us) == (1, 0)
    with database.write() as connection:
        connection.execute(sa.update(mails).values(state="sent", ended_at_us=SYSTEM_CLOCK.now_us()))
    assert _purged(database, in_a_year_us) == (1, 1)
    figures = notification_figures(database, now_us=in_a_year_us)
    assert (figures.waiting, figures.unread, figures.unpublished, figures.oldest_waiting_s) == (0, 0, 0, 0.0)
