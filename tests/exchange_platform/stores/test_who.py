"""Who asked stands beside what was done: in the ledger, the orders, the transfers, the limits, and the log of
security events.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from exchange_platform.domain.actors import Actor, InvalidActor, check_name, own_process
from exchange_platform.domain.betting_limits import LimitKind
from exchange_platform.domain.refusals import Conflict
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.accounts.security_events import (
    SecurityKind,
    WantedEvents,
    purge_events,
    read_events,
)
from exchange_platform.stores.operational.database import Database, ledger
from exchange_platform.stores.operational.purge_rounds import Budget
from exchange_platform.stores.operational.tables.wallets import (
    limit_changes,
    order_outbox,
    submissions,
    wallet_transfers,
)
from exchange_platform.stores.operational.wallets.wallets import Wallets
from exchange_platform.submission import BetSubmission
from tests.exchange_platform.betting import NOW_US, SetClock, add_account, add_event, add_market, order
from tests.exchange_platform.recording import RecordingStream
from tests.support.prepared import prepare_database

WEB = Actor("web", token_id="t1", client="192.0.2.1")
SHOP = Actor("shop", token_id="t2", client="192.0.2.2")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'who.sqlite'}")
    prepare_database(found)
    add_event(found)
    add_market(found)
    add_account(found, funds_minor=10_000)
    yield found
    found.dispose()


def _names(database: Database, column: sa.Column[str]) -> list[str | None]:
    with database.read() as connection:
        return list(connection.execute(sa.select(column)).scalars())


def test_who_placed_a_bet_stands_in_its_orders_submission_and_ledger(
    database: Database, tmp_path: Path
) -> None:
    with BetSubmission(
        Settings(data_dir=tmp_path),
        database=database,
        publisher=RecordingStream(),
        application="counter",
    ) as submission:
        placed = submission.submit(order("s1"), actor=WEB).bet
        submission.cancel("a1", placed.bet_id, 100, request_id="c1", actor=SHOP)
        own = submission.submit(order("s2")).bet
    assert sorted(map(str, _names(database, order_outbox.c.application))) == ["counter", "shop", "web"]
    assert sorted(map(str, _names(database, submissions.c.application))) == ["counter", "shop", "web"]
    with database.read() as connection:
        entered = dict(
            connection.execute(
                sa.select(ledger.c.reference, ledger.c.application).where(ledger.c.cause == "updated")
            ).all()
        )
    assert entered == {placed.bet_id: "web", own.bet_id: "counter"}


def test_an_answer_of_one_application_is_neither_shown_to_nor_repeated_for_another(
    database: Database, tmp_path: Path
) -> None:
    wallets = Wallets(database)
    settings = Settings(data_dir=tmp_path)
    with BetSubmission(settings, database=database, publisher=RecordingStream()) as submission:
        first = submission.submit(order("s1"), actor=WEB)
        assert submission.submit(order("s1"), actor=WEB) == first
        with pytest.raises(Conflict) as used:
            submission.submit(order("s1"), actor=SHOP)
        with pytest.raises(Conflict) as other:
            submission.submit(order("s1", stake_minor=700), actor=WEB)
        assert str(used.value) == str(other.value)
        assert submission.submit(order("s1")) == first, "the platform's own processes may ask again"
    deposited = wallets.deposit("a1", "d1", 500, "GBP", authorised_by="bank", actor=WEB)
    with pytest.raises(Conflict):
        wallets.deposit("a1", "d1", 500, "GBP", authorised_by="bank", actor=SHOP)
    assert wallets.deposit("a1", "d1", 500, "GBP", authorised_by="bank", actor=WEB) == deposited
    assert len(wallets.transfers("a1").transfers) == 2


def test_what_an_older_release_answered_is_shown_to_whoever_may_act_for_the_account(
    database: Database, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path)
    with BetSubmission(settings, database=database, publisher=RecordingStream()) as submission:
        first = submission.submit(order("s1"), actor=WEB)
        with database.write() as connection:
            connection.execute(sa.update(submissions).values(application=None))
        assert submission.submit(order("s1"), actor=SHOP) == first


def test_money_and_limits_are_logged_in_their_own_transaction_with_who_and_without_what_was_typed(
    database: Database,
) -> None:
    wallets = Wallets(database, clock=SetClock())
    wallets.deposit("a1", "d1", 500, "GBP", authorised_by="a secret word", actor=WEB)
    wallets.withdraw("a1", "w1", 200, "GBP", authorised_by="a secret word", actor=SHOP)
    wallets.set_limit("a1", LimitKind.STAKE, 1000, actor=WEB)
    wallets.take_break("a1", NOW_US + 5_000_000, actor=WEB)
    events = read_events(database, WantedEvents(), limit=4)
    assert [(event.kind, event.application, event.token_id, event.client) for event in events] == [
        (SecurityKind.LIMIT_CHANGED, "web", "t1", "192.0.2.1"),
        (SecurityKind.LIMIT_CHANGED, "web", "t1", "192.0.2.1"),
        (SecurityKind.WITHDRAWAL, "shop", "t2", "192.0.2.2"),
        (SecurityKind.DEPOSIT, "web", "t1", "192.0.2.1"),
    ]
    assert {event.account_id for event in events} == {"a1"}
    assert "secret" not in "".join(event.detail for event in events)
    assert _names(database, limit_changes.c.application) == ["web", "web"]
    assert _names(database, wallet_transfers.c.application)[1:] == ["web", "shop"]
    with database.read() as connection:
        entered = connection.execute(
            sa.select(ledger.c.application).where(ledger.c.cause == "withdrawal")
        ).scalar()
    assert entered == "shop"


def test_old_security_events_are_purged_and_newer_ones_are_not(database: Database) -> None:
    clock = SetClock()
    wallets = Wallets(database, clock=clock)
    clock.pass_s(100)
    wallets.deposit("a1", "d1", 500, "GBP", authorised_by="bank", actor=WEB)
    before = len(read_events(database, WantedEvents(), limit=10))
    purged = purge_events(database, before_us=clock.now_us(), budget=Budget(clock, 60))
    assert (purged.deleted, purged.left) == (before - 1, 0)
    (kept,) = read_events(database, WantedEvents(application="web", kind=SecurityKind.DEPOSIT), limit=10)
    assert kept.at_us == clock.now_us()


@pytest.mark.parametrize("name", ["", "-a", "a b", "a\n", "ä", "a" * 65, "<a>"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidActor, match="letters, digits"):
        check_name(name)
    with pytest.raises(InvalidActor):
        own_process(name)


def test_a_process_without_a_name_has_its_programs() -> None:
    assert check_name(own_process().application)
