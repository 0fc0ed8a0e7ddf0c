"""Events in the operational database: versions, contradictions, either order, what the index is told, and
reading them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_platform.domain.events import (
    EventStatus,
    EventUpdate,
    FeedUpdate,
    MarketStatus,
    MarketUpdate,
    Score,
    SelectionStatus,
)
from exchange_platform.stores.operational.database import Database, metadata
from exchange_platform.stores.operational.events.reader import EventReader
from exchange_platform.stores.operational.verdicts import APPLIED, REPEATED
from tests.exchange_platform.stores.bet_tables import new_database
from tests.exchange_platform.stores.event_store import NOW_US, applied, event_rows, index_versions
from tests.support.feed_updates import STARTS, event, market, selection, updates


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_database(tmp_path) as database:
        yield database


def memory() -> Database:
    database = Database("sqlite://")
    metadata.create_all(database.engine)
    return database


def test_an_event_is_read_back_as_its_updates_told_it(database: Database) -> None:
    told = event(
        status=EventStatus.IN_PLAY,
        phase="2nd innings",
        scores=(Score(name="Netherlands", value="163/7", detail="20 overs"),),
    )
    odds = market(
        in_play=True, bet_delay_s=5.0, commission_rate=Decimal("0.05"), traded_minor=123_456,
        selections=(selection(2, handicap=Decimal("-1.5")), selection(1, name="Åse v Škoda")),
    )  # fmt: skip
    assert applied(database, [told, odds]) == [APPLIED, APPLIED]
    stored = EventReader(database).get("e1")
    assert stored is not None
    assert (stored.event, stored.markets) == (told, (odds,))
    assert EventReader(database).market("1.1") == odds


@given(st.lists(updates, max_size=25), st.integers(1, 25))
@settings(max_examples=60, deadline=None)
@pytest.mark.long
def test_what_is_stored_is_each_one_s_newest_accepted_update_whatever_the_batches(
    some: Sequence[FeedUpdate], batch: int
) -> None:
    database = memory()
    verdicts = applied(database, some, batch=batch)
    newest: dict[str, FeedUpdate] = {}
    for update, verdict in zip(some, verdicts, strict=True):
        if verdict.applied:
            key = update.event_id if isinstance(update, EventUpdate) else update.market_id
            assert update.version > (newest[key].version if key in newest else 0)
            newest[key] = update
    reader = EventReader(database)
    for key, update in newest.items():
        if isinstance(update, EventUpdate):
            stored = reader.get(key)
            assert stored is not None
            assert stored.event == update
            assert {one.market_id for one in stored.markets} == {
                market_id
                for market_id, of_it in newest.items()
                if isinstance(of_it, MarketUpdate) and of_it.event_id == key
            }
        else:
            assert reader.market(key) == update
    database.dispose()


@given(st.lists(updates, max_size=25))
@settings(max_examples=30, deadline=None)
def test_updates_again_change_nothing(some: Sequence[FeedUpdate]) -> None:
    database = memory()
    first = applied(database, some)
    before, indexed = event_rows(database), index_versions(database)
    again = applied(database, some, now_us=NOW_US + 1)
    assert event_rows(database) == before
    assert index_versions(database) == indexed
    assert not any(verdict.applied for verdict in again)
    assert all(verdict.reason is None for verdict, was in zip(again, first, strict=True) if was.applied)
    database.dispose()


def test_an_older_or_equal_version_changes_nothing(database: Database) -> None:
    applied(database, [event(version=5), market(version=5)])
    before = event_rows(database)
    stale: list[FeedUpdate] = [
        event(version=5, name="Another name"),
        event(version=4, status=EventStatus.FINISHED),
        market(version=5, status=MarketStatus.SUSPENDED),
        market(version=1, event_id="e2"),
    ]
    assert applied(database, stale) == [REPEATED] * 4
    assert event_rows(database) == before


def test_a_market_may_come_before_its_event(database: Database) -> None:
    assert applied(database, [market()]) == [APPLIED]
    assert EventReader(database).get("e1") is None
    assert EventReader(database).market("1.1") == market()
    assert applied(database, [event()]) == [APPLIED]
    stored = EventReader(database).get("e1")
    assert stored is not None
    assert [one.market_id for one in stored.markets] == ["1.1"]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (market(), market(version=2, event_id="e2"), "market 1.1 belongs to event e1; version 2 says e2"),
        (market(), market(version=2, currency="EUR"), "market 1.1 is in GBP; version 2 says EUR"),
        (
            market(status=MarketStatus.CLOSED),
            market(version=2),
            "market 1.1 is CLOSED since version 1, and takes bets never again; version 2 says OPEN",
        ),
    ],
)
@pytest.mark.parametrize("batch", [1, 10])
def test_a_contradiction_is_dead_with_its_reason(
    database: Database, before: FeedUpdate, after: FeedUpdate, reason: str, batch: int
) -> None:
    first, second, third = applied(database, [event(), before, after], batch=batch)
    assert (first, second, third.applied, third.reason) == (APPLIED, APPLIED, False, reason)
    assert EventReader(database).market("1.1") == before


def test_a_closed_market_may_be_settled_anew(database: Database) -> None:
    winner = (selection(1, status=SelectionStatus.WINNER), selection(2, status=SelectionStatus.LOSER))
    loser = (selection(1, status=SelectionStatus.LOSER), selection(2, status=SelectionStatus.WINNER))
    closed = market(status=MarketStatus.CLOSED, selections=winner, settled_at=STARTS)
    corrected = market(
        version=2, status=MarketStatus.CLOSED, selections=loser, settled_at=STARTS + timedelta(minutes=5)
    )
    assert applied(database, [closed, corrected]) == [APPLIED, APPLIED]
    assert EventReader(database).market("1.1") == corrected


def test_selections_that_a_newer_version_leaves_out_are_gone(database: Database) -> None:
    applied(database, [market(selections=(selection(1), selection(2), selection(3)))])
    fewer = market(version=2, selections=(selection(3), selection(1, status=SelectionStatus.REMOVED)))
    applied(database, [fewer])
    assert EventReader(database).market("1.1") == fewer
    (row,) = event_rows(database)["markets"]
    assert row["number_of_selections"] == 1


def test_the_index_version_grows_with_each_change_of_the_event_or_of_a_market(database: Database) -> None:
    seen = [0]

    def grows(*some: FeedUpdate, now_us: int) -> None:
        applied(database, some, now_us=now_us)
        seen.append(index_versions(database)["e1"])
        assert seen[-1] > seen[-2]

    grows(event(), now_us=100)
    assert seen[-1] == 100
    grows(market(), now_us=90)  # a clock that goes back
    grows(event(version=2), now_us=90)
    grows(market(version=2), event(version=3), now_us=90)
    grows(market("1.2"), now_us=500)
    assert seen[-1] == 500
    applied(database, [market("1.2"), event(), market("1.3", "e2")], now_us=600)
    assert index_versions(database)["e1"] == 500


def test_pages_follow_the_starts_and_lose_none(database: Database) -> None:
    told = [
        event(
            f"e{number:02d}",
            starts_at=None if number % 5 == 0 else STARTS + timedelta(hours=number % 7),
            status=EventStatus.IN_PLAY if number % 3 == 0 else EventStatus.SCHEDULED,
            sport="Tennis" if number % 2 else "Soccer",
        )
        for number in range(40)
    ]
    applied(database, told)
    reader = EventReader(database)

    def read(**which: object) -> list[EventUpdate]:
        found: list[EventUpdate] = []
        after = None
        while page := reader.page(after=after, limit=7, **which):  # type: ignore[arg-type]
            assert len(page) <= 7
            found += [stored.event for stored in page]
            after = page[-1].page_key
        return found

    def order(one: EventUpdate) -> tuple[bool, object, str]:
        return one.starts_at is None, one.starts_at or 0, one.event_id

    assert read() == sorted(told, key=order)
    wanted = [one for one in told if one.status is EventStatus.IN_PLAY and one.sport == "Tennis"]
    assert read(statuses=[EventStatus.IN_PLAY], sport="Tennis") == sorted(wanted, key=order)
    assert [stored.event for page in reader.pages(7) for stored in page] == told


def test_events_are_read_in_the_order_asked(database: Database) -> None:
    applied(database, [event(name_) for name_ in ("a", "b", "c")])
    found = EventReader(database).read(["c", "nobody", "a"])
    assert [stored.event.event_id for stored in found] == ["c", "a"]
