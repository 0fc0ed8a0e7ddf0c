"""Purges delete to the end, within their time, in short transactions, and report what they leave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from exchange_platform.domain.accounts import AccountState
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.checkpoints import Contended
from exchange_platform.stores.operational.accounts.accounts import purge_unconfirmed
from exchange_platform.stores.operational.accounts.limits import purge_idle
from exchange_platform.stores.operational.bets.order_outbox import purge_published
from exchange_platform.stores.operational.bets.outbox import NOTIFICATIONS, POSITION, TOPIC
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database, checkpoints, consumers, outbox
from exchange_platform.stores.operational.mails.mails import MAIL
from exchange_platform.stores.operational.purge_rounds import Budget, Purged, PurgeRounds
from exchange_platform.stores.operational.purging import purge_changes, purge_mails
from exchange_platform.stores.operational.tables.accounts import accounts, rate_limits
from exchange_platform.stores.operational.tables.mails import mail_changes, mails
from exchange_platform.stores.operational.tables.wallets import order_outbox, pending_bets
from tests.support.prepared import prepare_database
from tests.support.stepping_clock import NOW_US, SteppingClock

MANY = 7_300
"""More than the purges of the release before took of accounts or orders in a night, and no multiple of what
one transaction deletes.
"""


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.servers)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    on_server = request.param == "mysql"
    place = request.getfixturevalue("mysql_url") if on_server else f"sqlite:///{tmp_path / 'operational.db'}"
    database = Database(place)
    prepare_database(database)
    yield database
    database.dispose()


@pytest.fixture
def budget() -> Budget:
    return Budget(SYSTEM_CLOCK, 60)


def short() -> Budget:
    """Enough for two steps."""
    return Budget(SteppingClock(), 4.5)


def add(database: Database, table: sa.Table, rows: list[dict[str, object]]) -> None:
    with database.write() as connection:
        connection.execute(sa.insert(table), rows)


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def add_changes(database: Database, ages_us: list[int], *, delivered: int | None = None) -> None:
    """Changes of these ages, in the order of their sequences, delivered by both channels up to there (None:
    all).
    """
    add(
        database,
        outbox,
        [
            {
                "sequence": number,
                "bet_id": f"b{number}",
                "bet_version": 1,
                "user_id": "ann",
                "change": "matched",
                "status_before": None,
                "status_after": "MATCHED",
                "bet": "{}",
                "changed_at_us": NOW_US - age_us,
            }
            for number, age_us in enumerate(ages_us, start=1)
        ],
    )
    position = str(len(ages_us) if delivered is None else delivered)
    at = {"source": NOTIFICATIONS, "shard": POSITION, "epoch": 1, "position": position, "updated_at_us": 0}
    add(database, checkpoints, [{"sink": MAIL, **at}, {"sink": TOPIC, **at}])


def add_mails(database: Database, states: list[str], *, age_us: int = 1_000) -> None:
    """Mails in these states, each of the change of its number."""
    add(
        database,
        mails,
        [
            {
                "mail_id": f"m{number}",
                "source": "confirmations" if number % 3 == 0 else NOTIFICATIONS,
                "kind": "matched",
                "account_id": "ann",
                "thread": f"b{number}",
                "state": state,
                "due_at_us": NOW_US - age_us - 10,
                "attempts": 1,
                "changed_at_us": NOW_US - age_us,
                "queued_at_us": NOW_US - age_us,
                "ended_at_us": None if state == "waiting" else NOW_US - age_us,
                "reason": None,
            }
            for number, state in enumerate(states, start=1)
        ],
    )
    changes = range(1, len(states) + 1)
    add(database, mail_changes, [{"outbox_sequence": one, "mail_id": f"m{one}"} for one in changes])


def add_orders(database: Database, many: int) -> None:
    orders = [
        {
            "order_id": f"o{number}",
            "bet_id": f"b{number}",
            "market_id": "1.1",
            "data": b"{}",
            "ordered_at_us": NOW_US - many,
            "published_at_us": NOW_US - number,
        }
        for number in range(1, many + 1)
    ]
    add(database, order_outbox, orders)


def add_accounts(database: Database, many: int) -> None:
    rows = [
        {
            "account_id": f"a{number}",
            "email": f"a{number}@exchange.example",
            "email_key": f"a{number}@exchange.example",
            "display_name": "Ann",
            "currency": "GBP",
            "state": AccountState.PENDING.value,
            "version": 1,
            "mail_choice": "all",
            "confirmations": 1,
            "confirmation_at_us": NOW_US - number,
            "created_at_us": NOW_US - number,
            "changed_at_us": NOW_US - number,
        }
        for number in range(1, many + 1)
    ]
    add(database, accounts, rows)


def add_limits(database: Database, many: int) -> None:
    numbers = range(1, many + 1)
    add(
        database,
        rate_limits,
        [{"subject": f"{number:064}", "hits": b"", "idle_at_us": NOW_US - number} for number in numbers],
    )


def add_consumers(database: Database, many: int) -> None:
    rows = [
        {
            "source": f"source-{number % 3}",
            "epoch": number,
            "run_id": f"r{number}",
            "state": "ended",
            "started_at_us": NOW_US - 10 * number,
            "ends_at_us": 0,
            "heartbeat_at_us": NOW_US - number,
            "at_tip": True,
            "records": 0,
            "rate": 0.0,
            "lag_ms": 0.0,
            "statistics": "{}",
        }
        for number in range(1, many + 1)
    ]
    add(database, consumers, rows)


def test_all_old_changes_go_in_one_round_and_no_young_one(database: Database, budget: Budget) -> None:
    add_changes(database, [1_000] * MANY + [10] * 700)
    assert purge_changes(database, before_us=NOW_US - 100, budget=budget) == Purged(MANY)
    assert count(database, outbox) == 700


def test_changes_that_are_not_delivered_stay(database: Database, budget: Budget) -> None:
    add_changes(database, [1_000] * 2_000, delivered=600)
    assert purge_changes(database, before_us=NOW_US, budget=budget) == Purged(600)
    assert count(database, outbox) == 1_400


def test_changes_that_a_waiting_or_dead_mail_reports_stay_and_hold_no_later_change_back(
    database: Database, budget: Budget
) -> None:
    add_changes(database, [1_000] * 3_000)
    add_mails(database, ["waiting"] * 700 + ["dead"] * 500 + ["sent"] * 100)
    assert purge_changes(database, before_us=NOW_US, budget=budget) == Purged(1_800)
    assert count(database, outbox) == 1_200
    assert count(database, mail_changes) == 1_200


def test_a_round_of_changes_ends_with_its_time_and_reports_what_it_leaves(database: Database) -> None:
    add_changes(database, list(range(20_000, 20_000 - MANY, -1)) + [10] * 900)
    first = purge_changes(database, before_us=NOW_US - 5_000, budget=short())
    assert first.deleted == 1_000
    assert first.left == MANY - 1_000
    assert first.behind_us == 20_000 - 1_000 - 5_000
    assert purge_changes(database, before_us=NOW_US - 5_000, budget=Budget(SYSTEM_CLOCK, 60)) == Purged(
        MANY - 1_000
    )


def test_young_changes_are_not_read_to_find_that_none_is_old(database: Database, budget: Budget) -> None:
    add_changes(database, [1_000] * 10 + [10] * MANY)
    read: list[str] = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def _read(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT notification_outbox"):
            read.append(statement)

    assert purge_changes(database, before_us=NOW_US - 100, budget=budget) == Purged(10)
    assert len(read) == 2


def test_mails_of_every_source_go_once_they_ended(database: Database, budget: Budget) -> None:
    states = [("sent", "skipped", "waiting", "dead")[number % 4] for number in range(MANY)]
    add_mails(database, states)
    assert purge_mails(database, before_us=NOW_US, budget=budget) == Purged(MANY // 2)
    assert count(database, mails) == MANY - MANY // 2
    assert count(database, mail_changes) == MANY - MANY // 2


def test_a_round_of_mails_ends_with_its_time_and_reports_what_it_leaves(database: Database) -> None:
    add_mails(database, ["sent"] * MANY, age_us=900)
    assert purge_mails(database, before_us=NOW_US - 100, budget=short()) == Purged(1_000, MANY - 1_000, 800)


def test_all_published_orders_go_in_one_round(database: Database, budget: Budget) -> None:
    add_orders(database, MANY)
    add(database, pending_bets, [{"bet_id": "b5", "user_id": "ann", "market_id": "1.1", "since_us": 0}])
    assert purge_published(database, before_us=NOW_US, budget=budget) == Purged(MANY - 1)
    assert count(database, order_outbox) == 1


def test_a_round_of_orders_ends_with_its_time_and_reports_what_it_leaves(database: Database) -> None:
    add_orders(database, MANY)
    assert purge_published(database, before_us=NOW_US - 300, budget=short()) == Purged(
        1_000, MANY - 300 - 1_000, MANY - 300 - 1_000
    )


def test_all_unconfirmed_accounts_go_in_one_round(database: Database, budget: Budget) -> None:
    add_accounts(database, MANY)
    assert purge_unconfirmed(database, before_us=NOW_US - 300, budget=budget) == Purged(MANY - 300)
    assert count(database, accounts) == 300


def test_limits_that_say_nothing_go_in_short_transactions(database: Database) -> None:
    add_limits(database, MANY)
    assert purge_idle(database, NOW_US - 300, short()) == Purged(1_000, MANY - 1_300, MANY - 1_300)
    assert purge_idle(database, NOW_US - 300, Budget(SYSTEM_CLOCK, 60)) == Purged(MANY - 1_300)
    assert count(database, rate_limits) == 300


def test_old_consumers_of_every_source_go_but_the_newest(database: Database, budget: Budget) -> None:
    add_consumers(database, 2_000)
    assert ConsumerRows(database).purge(before_us=NOW_US - 100, budget=budget) == Purged(1_897 + 0)
    assert {consumer.epoch for consumer in ConsumerRows(database).recent("source-0")} >= {1_998}


def test_a_purge_pauses_for_as_long_as_it_worked(database: Database) -> None:
    add_orders(database, 2_000)
    clock = SteppingClock()
    purge_published(database, before_us=NOW_US, budget=Budget(clock, 1_000))
    assert len(clock.waited) == 4
    assert all(pause_s >= 1.0 for pause_s in clock.waited)


def test_a_writer_gets_its_turn_while_a_purge_goes_on(database: Database) -> None:
    add_orders(database, 20_000)
    purge = threading.Thread(
        target=purge_published,
        args=(database,),
        kwargs={"before_us": NOW_US, "budget": Budget(SYSTEM_CLOCK, 60)},
    )
    writer = Database(database.engine.url.render_as_string(hide_password=False))
    purge.start()
    written = 0
    while purge.is_alive():
        add(writer, rate_limits, [{"subject": f"{written:064}", "hits": b"", "idle_at_us": 0}])
        written += 1
    purge.join()
    writer.dispose()
    assert written > 3
    assert count(database, order_outbox) == 0


def test_a_deadlock_with_a_writer_is_tried_again() -> None:
    clock = SteppingClock()
    outcomes: list[int | Exception | None] = [3, Contended("deadlock"), 4, None]

    def step() -> int | None:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert Budget(clock, 1_000).repeat(step) == 7
    assert outcomes == []


def test_a_purge_without_time_still_takes_one_step(database: Database) -> None:
    add_orders(database, 2_000)
    assert purge_published(database, before_us=NOW_US, budget=Budget(SteppingClock(), 0)).deleted == 500


def test_a_round_and_its_error_are_kept(database: Database) -> None:
    rounds = PurgeRounds(database, SteppingClock())
    rounds.run("orders", lambda: Purged(5, 7, 9))

    def fails() -> Purged:
        raise ValueError("no such table: orders")

    with pytest.raises(ValueError, match="no such table"):
        rounds.run("mails", fails)
    failed, done = rounds.read()
    assert (done.purge, done.deleted, done.left, done.behind_us, done.last_error) == ("orders", 5, 7, 9, None)
    assert (failed.purge, failed.finished_at_us, failed.last_error) == (
        "mails",
        None,
        "ValueError: no such table: orders",
    )
    with pytest.raises(ValueError, match="no such table"):
        rounds.run("orders", fails)
    assert rounds.read()[1].left == 7
    rounds.run("mails", lambda: Purged(1))
    assert rounds.read()[0].last_error is None
