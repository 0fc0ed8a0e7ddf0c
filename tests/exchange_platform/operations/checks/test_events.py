"""The checks of events and their index: what they compare, what they catch, and that they never cry wolf."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from exchange_platform.domain.events import EventStatus, MarketStatus
from exchange_platform.operations.checks import (
    CheckScope,
    Events,
    Rounds,
    finished_events_take_no_bets,
    index_agrees,
)
from exchange_platform.operations.checks.events import some_events
from exchange_platform.process.clock import SystemClock
from exchange_platform.settings import Settings
from exchange_platform.stores.event_index.index import EventIndex
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.documents import DatabaseEventDocuments
from exchange_platform.stores.operational.tables.events import events
from tests.exchange_platform.stores.bet_tables import new_database
from tests.exchange_platform.stores.event_index_parts import delete_directory
from tests.exchange_platform.stores.event_store import NOW_US, applied
from tests.support.feed_updates import event, market


class _Later(SystemClock):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now_us(self) -> int:
        return NOW_US + int(self._seconds * 1e6)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_database(tmp_path) as database:
        applied(database, [event(f"e{number}") for number in range(1, 8)])
        yield database


@pytest.fixture
def index(tmp_path: Path, database: Database) -> Iterator[EventIndex]:
    index = open_event_index(Settings(data_dir=tmp_path), writable=True)
    index.rebuild(DatabaseEventDocuments(database))
    yield index
    index.close()


def never(_seconds: float) -> None:
    raise AssertionError("there was nothing to wait for")


def follow(database: Database, index: EventIndex) -> Callable[[float], None]:
    """Bring the index up to date as soon as somebody waits."""

    def wait(_seconds: float) -> None:
        for page in DatabaseEventDocuments(database).pages():
            index.put(page)

    return wait


def test_an_index_with_every_event_in_its_newest_version_agrees(
    database: Database, index: EventIndex
) -> None:
    outcome = index_agrees(database, index, wait=never)
    assert outcome.passed
    assert outcome.figures == {"events": 7, "documents": 7, "compared": 7}


def test_an_index_that_follows_a_moment_later_agrees(database: Database, index: EventIndex) -> None:
    applied(database, [event("e1", version=2), event("e8")], now_us=NOW_US + 1)
    assert index_agrees(database, index, wait=follow(database, index)).passed


def test_documents_that_stay_behind_are_named(database: Database, index: EventIndex) -> None:
    applied(database, [event("e3", version=2)], now_us=NOW_US + 1)
    outcome = index_agrees(database, index, wait=lambda _: None)
    assert (outcome.passed, outcome.wrong) == (False, ("e3",))
    assert f"e3 is not at version {NOW_US + 1}" in outcome.description


def test_documents_of_a_version_that_the_database_never_had_are_named(
    database: Database, index: EventIndex
) -> None:
    with database.write() as connection:
        connection.execute(sa.update(events).where(events.c.event_id == "e2").values(index_version=5))
    outcome = index_agrees(database, index, wait=lambda _: None)
    assert (outcome.passed, outcome.wrong) == (False, ("e2",))


def test_events_that_the_database_does_not_have_are_counted(database: Database, index: EventIndex) -> None:
    with database.write() as connection:
        connection.execute(sa.delete(events).where(events.c.event_id == "e2"))
    outcome = index_agrees(database, index, wait=lambda _: None)
    assert not outcome.passed
    assert outcome.description == "the event index holds 7 events, the database 6"


def test_an_index_that_is_gone_is_said_to_be_gone(
    database: Database, index: EventIndex, tmp_path: Path
) -> None:
    delete_directory(tmp_path / "event-index")
    outcome = index_agrees(database, index, wait=never)
    assert (outcome.passed, outcome.description) == (False, "the event index was deleted, or never filled")


def test_before_the_first_event_nothing_is_wrong(tmp_path: Path) -> None:
    with new_database(tmp_path) as database:
        index = open_event_index(Settings(data_dir=tmp_path))
        assert index_agrees(database, index, wait=never).passed
        index.close()


def test_every_event_gets_a_turn_and_what_was_wrong_is_looked_at_until_it_is_right(
    database: Database, index: EventIndex
) -> None:
    seen: list[tuple[str | None, str | None]] = []
    after = None
    while True:
        some = some_events(database, after, 3)
        seen.append((some.after, some.upto))
        outcome = index_agrees(database, index, some, wait=never)
        assert outcome.figures["compared"] == (1 if some.upto is None else 3)
        after = some.upto
        if after is None:
            break
    assert seen == [(None, "e3"), ("e3", "e6"), ("e6", None)]
    assert some_events(database, None, 7) == Events()
    applied(database, [event("e1", version=2)], now_us=NOW_US + 1)
    wrong = index_agrees(database, index, wait=lambda _: None)
    rounds = Rounds().after(CheckScope(events=Events(None, "e3")), None, None, None, wrong)
    assert (rounds.after_event, rounds.wrong_events) == ("e3", ("e1",))
    again = index_agrees(database, index, Events("e3", None, rounds.wrong_events), wait=lambda _: None)
    assert again.wrong == ("e1",)
    assert Rounds.from_text(rounds.to_text()) == rounds


def test_an_open_market_of_a_finished_event_is_named_once_it_had_time_to_follow(database: Database) -> None:
    applied(database, [market("1.1", "e1"), market("1.2", "e2"), market("1.3", "e3")])
    applied(
        database,
        [
            event("e1", version=2, status=EventStatus.FINISHED),
            event("e2", version=2, status=EventStatus.ABANDONED),
            market("1.2", "e2", version=2, status=MarketStatus.SUSPENDED),
        ],
    )
    assert finished_events_take_no_bets(database, _Later(59)).passed
    outcome = finished_events_take_no_bets(database, _Later(61))
    assert (outcome.passed, outcome.wrong) == (False, ("1.1",))
    assert outcome.description == "1.1 is open, its event e1 FINISHED"
    applied(database, [market("1.1", "e1", version=2, status=MarketStatus.CLOSED)])
    assert finished_events_take_no_bets(database, _Later(61)).passed
