"""Events are read as the feed told them, whole or page by page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exchange_platform.domain.events import EventStatus
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.reader import EventReader
from tests.support.event_data import KICK_OFF, MINUTE, event, market, store
from tests.support.prepared import prepare


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    prepare(settings)
    database = Database(settings.operational_database_url)
    yield database
    database.dispose()


@pytest.fixture
def reader(database: Database) -> EventReader:
    return EventReader(database)


def test_a_change_of_a_market_is_a_change_of_its_event(database: Database, reader: EventReader) -> None:
    store(database, [event(), market()])
    before = reader.versions(["e1"])["e1"]
    store(database, [market(version=2)])
    after = reader.versions(["e1", "e2"])
    assert after.keys() == {"e1"}
    assert after["e1"] > before


def test_markets_come_in_the_order_of_their_numbers(database: Database, reader: EventReader) -> None:
    store(database, [event(), *(market(market_id) for market_id in ("1.10", "1.9", "1.100"))])
    whole = reader.get("e1")
    assert whole is not None
    assert [market.market_id for market in whole.markets] == ["1.9", "1.10", "1.100"]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_give_every_event_once_in_order(
    database: Database, reader: EventReader, limit: int, newest_first: bool
) -> None:
    starts = [None, None, KICK_OFF, KICK_OFF, KICK_OFF + MINUTE, KICK_OFF - MINUTE]
    store(database, [event(f"e{number}", starts_at=start) for number, start in enumerate(starts)])
    listed: list[str] = []
    after: tuple[int, str] | None = None
    while page := reader.page(newest_first=newest_first, limit=limit, after=after):
        listed += [stored.event.event_id for stored in page]
        after = page[-1].page_key
    ascending = ["e5", "e2", "e3", "e4", "e0", "e1"]
    assert listed == (ascending[::-1] if newest_first else ascending)


def test_a_list_is_of_a_sport_and_of_some_statuses(database: Database, reader: EventReader) -> None:
    store(
        database,
        [
            event("e1"),
            event("e2", sport="Tennis"),
            event("e3", sport="tennis", status=EventStatus.FINISHED),
            market(event_id="e2"),
        ],
    )
    assert [stored.event.event_id for stored in reader.page(sport="tennis")] == ["e2", "e3"]
    live = reader.page(sport="tennis", statuses=[EventStatus.IN_PLAY])
    assert [(stored.event.event_id, len(stored.markets)) for stored in live] == [("e2", 1)]
    assert reader.sports([EventStatus.IN_PLAY]) == {"Tennis": 1, "football": 1}
