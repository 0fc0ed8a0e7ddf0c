"""The index's documents as they are read from the operational database, and an index rebuilt from it while
searches go on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from exchange_platform.doctor.diagnosis import diagnose
from exchange_platform.doctor.findings import Finding, Level
from exchange_platform.domain.events import EventStatus
from exchange_platform.local.programs import free_ports
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.event_index.index import EventDocument
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.documents import DatabaseEventDocuments
from exchange_platform.stores.operational.tables.events import events, markets
from exchange_platform.stores.schema import migrate
from tests.exchange_platform.stores.event_index_parts import (
    ENGINES,
    delete_directory,
    hold,
    index_settings,
    names,
    opened,
)
from tests.support.prepared import prepare, prepare_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'operational.sqlite'}")
    prepare_database(database)
    yield database
    database.dispose()


def store(database: Database, *ids: str, market: dict[str, Any] | None = None, **told: Any) -> None:
    """Insert events, each with a market unless `market` says there is none."""
    with database.write() as connection:
        for event_id in ids:
            stated = {
                "event_id": event_id,
                "version": 1,
                "name": f"Netherlands v Team {event_id}",
                "sport": "cricket",
                "status": "SCHEDULED",
                "participants": msgspec.json.encode(["Netherlands", f"Team {event_id}"]).decode(),
                "scores": "[]",
                "updated_at_us": 1,
                "changed_at_us": 1,
                "index_version": 1,
                **told,
            }
            connection.execute(sa.insert(events).values(stated))
            if market != {}:
                connection.execute(sa.insert(markets).values(a_market(event_id, **(market or {}))))


def a_market(event_id: str, **told: Any) -> dict[str, Any]:
    return {
        "market_id": f"1.{event_id}",
        "event_id": event_id,
        "version": 1,
        "name": "Match Odds",
        "status": "OPEN",
        "in_play": False,
        "bet_delay_s": 0.0,
        "number_of_winners": 1,
        "number_of_selections": 2,
        "commission_rate": "0.05",
        "currency": "GBP",
        "traded_minor": 100,
        "updated_at_us": 1,
        "changed_at_us": 1,
        **told,
    }


def only(database: Database) -> EventDocument:
    ((document,),) = DatabaseEventDocuments(database).pages()
    return document


def test_a_document_has_its_event_s_and_its_markets_state(database: Database) -> None:
    store(database, "7", competition="Cup", country="NL", starts_at_us=99, index_version=12)
    with database.write() as connection:
        connection.execute(
            sa.insert(markets).values(
                a_market("7", market_id="2.7", name="Toss", status="CLOSED", traded_minor=5)
            )
        )
    assert only(database) == EventDocument(
        event_id="7",
        version=12,
        name="Netherlands v Team 7",
        sport="cricket",
        competition="Cup",
        country="NL",
        participants=("Netherlands", "Team 7"),
        status=EventStatus.SCHEDULED,
        open=True,
        starts_at_us=99,
        traded_minor=105,
        markets=("Match Odds", "Toss"),
    )


@pytest.mark.parametrize(
    ("event_status", "market", "is_open", "is_in_play"),
    [
        ("SCHEDULED", {"status": "OPEN"}, True, False),
        ("SCHEDULED", {"status": "SUSPENDED", "in_play": True}, True, True),
        ("SCHEDULED", {"status": "INACTIVE"}, True, False),
        ("SCHEDULED", {"status": "CLOSED", "in_play": True}, False, False),
        ("SCHEDULED", {}, False, False),
        ("IN_PLAY", {"status": "OPEN"}, True, True),
        ("IN_PLAY", {"status": "CLOSED"}, False, False),
        ("FINISHED", {"status": "OPEN", "in_play": True}, False, False),
        ("ABANDONED", {"status": "SUSPENDED"}, False, False),
    ],
)
def test_open_is_an_event_that_takes_bets_or_will(
    database: Database, event_status: str, market: dict[str, Any], is_open: bool, is_in_play: bool
) -> None:
    store(database, "1", status=event_status, market=market)
    document = only(database)
    assert (document.open, document.in_play) == (is_open, is_in_play)


@pytest.mark.long
def test_pages_have_every_event_once_and_some_are_read_by_their_ids(database: Database) -> None:
    ids = [str(number) for number in range(2300)]
    store(database, *ids)
    documents = DatabaseEventDocuments(database)
    pages = list(documents.pages())
    assert [len(page) for page in pages] == [1000, 1000, 300]
    assert [document.event_id for page in pages for document in page] == sorted(ids)
    assert documents.versions() == dict.fromkeys(ids, 1)
    assert [document.event_id for document in documents.read(["7", "none", "5"])] == ["5", "7"]
    assert len(documents.read(ids)) == 2300
    assert documents.read([]) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_doctor_tells_of_an_index_that_lacks_the_database_s_events(engine: str, tmp_path: Path) -> None:
    def found() -> Finding:
        return next(finding for finding in diagnose(settings) if finding.part == "event index")

    with index_settings(engine, tmp_path / "data") as settings:
        prepare(settings)
        assert (found().level, found().found.split(": ")[-1]) == (Level.FINE, "0 of 0 events")
        database = Database(settings.operational_database_url)
        store(database, "1", "2")
        assert found().level is Level.WRONG
        assert "the database has 2 events" in found().found
        with opened(settings) as index:
            index.rebuild(DatabaseEventDocuments(database))
        assert (found().level, found().found.split(": ")[-1]) == (Level.FINE, "2 of 2 events")
        database.dispose()


def test_doctor_tells_of_a_server_that_is_not_there(tmp_path: Path) -> None:
    prepare(Settings(data_dir=tmp_path))
    settings = Settings(data_dir=tmp_path, elasticsearch_url=f"http://127.0.0.1:{free_ports(1)[0]}")
    finding = next(finding for finding in diagnose(settings) if finding.part == "event index")
    assert finding.level is Level.WRONG
    assert "EXCHANGE_PLATFORM_ELASTICSEARCH_URL" in finding.remedy
    with pytest.raises(StoreUnavailable, match="Elasticsearch"):
        migrate(settings)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.long
def test_the_index_is_deleted_and_rebuilt_from_the_database_while_searches_go_on(
    engine: str, database: Database, tmp_path: Path
) -> None:
    store(database, *(str(number) for number in range(1500)))
    documents = DatabaseEventDocuments(database)
    ended, answers, failures = threading.Event(), [0], []
    with (
        index_settings(engine, tmp_path / "data") as settings,
        opened(settings) as index,
        opened(settings) as reader,
    ):
        index.rebuild(documents)

        def search() -> None:
            while not ended.is_set():
                try:
                    found = names(reader, "netherlands", limit=10)
                    assert len(found) == 10 or engine == "elasticsearch", found
                    answers[0] += 1
                except BaseException as error:
                    failures.append(error)
                    return

        threads = [threading.Thread(target=search) for _ in range(2)]
        assert len(names(reader, "netherlands", limit=10)) == 10
        for thread in threads:
            thread.start()
        try:
            for version in (2, 3):
                if engine == "tantivy":
                    delete_directory(settings.data_dir / "event-index")
                else:
                    delete_index(settings)
                assert not index.is_filled()
                with database.write() as connection:
                    connection.execute(sa.update(events).values(index_version=version))
                hold(index, *documents.read(["7"]))
                assert index.versions() == {"7": version}
                assert index.rebuild(documents) == 1500
                assert index.is_filled()
                assert index.versions() == documents.versions()
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert not failures
        assert answers[0] > 2
        assert len(names(reader, "netherlands", limit=50)) == 50


def delete_index(settings: Settings) -> None:
    from elasticsearch import Elasticsearch

    assert settings.elasticsearch_url is not None
    with Elasticsearch(settings.elasticsearch_url, request_timeout=30) as client:
        for name in client.indices.get_alias(name=settings.event_index):
            client.indices.delete(index=name)
