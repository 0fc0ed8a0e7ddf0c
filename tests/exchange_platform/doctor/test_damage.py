"""Each file of a data directory, damaged in each way: doctor names it, its true cause and a remedy that
works; `up` and the check agree.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from exchange_platform.cli import run as run_command
from exchange_platform.doctor.diagnosis import diagnose
from exchange_platform.doctor.findings import Finding, Level
from exchange_platform.exchanges.feed_journal import FeedJournal
from exchange_platform.exchanges.simulated import process
from exchange_platform.exchanges.simulated.journal import Journal
from exchange_platform.local.damage import refuse_damage
from exchange_platform.local.running import CannotStart
from exchange_platform.operations.checks import databases_whole
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings, load_settings
from exchange_platform.stores.checkpoints import StoreDamaged
from exchange_platform.stores.data_files import (
    BEGUN_FILE,
    FILES,
    DataFault,
    DataFile,
    examinations,
    set_aside,
)
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.documents import DatabaseEventDocuments
from exchange_platform.stores.schema import migrate
from tests.exchange_platform.operations.checks.stores import make_stores
from tests.exchange_platform.stores.damaging import cut, deleted, emptied, replaced_by_a_directory
from tests.support.workload import matched_pairs

BY_NAME = {file.name: file for file in FILES}
PAGE = 4096


def first_page_overwritten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"\x55" * PAGE + content[PAGE:])


def bit_of_a_page_flipped(path: Path) -> None:
    """In the kind of the page that is the root of a table: no page is of the kind that this makes."""
    with closing(sqlite3.connect(path)) as database:
        (root,) = database.execute("SELECT max(rootpage) FROM sqlite_master WHERE type = 'table'").fetchone()
    content = bytearray(path.read_bytes())
    content[(root - 1) * PAGE] ^= 0x80
    path.write_bytes(bytes(content))


def unreadable(path: Path) -> None:
    path.chmod(0)


DAMAGES = (
    emptied,
    cut,
    first_page_overwritten,
    bit_of_a_page_flipped,
    deleted,
    replaced_by_a_directory,
    unreadable,
)
MISSED = ("operational.sqlite", "lake/catalog.sqlite", "simulated-exchange.sqlite", "exchange-feed.sqlite")
"""Files that are missed when they are deleted. Nothing shows that the others were there, and the next start
makes them again.
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory as a platform leaves it that was stopped."""
    directory = tmp_path_factory.mktemp("prepared")
    stores = make_stores(directory)
    stores.to_both(list(matched_pairs(20, users=10)))
    index = open_event_index(load_settings(directory))
    index.rebuild(DatabaseEventDocuments(stores.database))
    index.close()
    stores.close()
    Journal(directory / "simulated-exchange.sqlite").close()
    (directory / BEGUN_FILE).touch()
    feed = FeedJournal(directory / "exchange-feed.sqlite")
    feed.append([b'{"kind":"event","event_id":"e1","status":"OPEN"}'])
    feed.close()
    for name in (name for name in BY_NAME if name.startswith(("dagster/", "exchange-requests"))):
        _some_database(directory / name)
    return directory


def _some_database(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, body TEXT)")
        database.executemany("INSERT INTO runs (body) VALUES (?)", [("x" * 500,) for _ in range(100)])
        database.commit()


@pytest.fixture
def directory(prepared: Path, tmp_path: Path) -> Iterator[Path]:
    copied = tmp_path / "data"
    shutil.copytree(prepared, copied)
    yield copied
    for path in copied.rglob("*"):
        path.chmod(0o700)


def findings(directory: Path) -> list[Finding]:
    """What doctor says of the stores and files. Of the machine it says other things elsewhere."""
    return [
        one
        for one in diagnose(load_settings(directory))
        if one.part not in ("python", "packages", "platform")
    ]


def complaints(directory: Path) -> list[Finding]:
    wrong = [one for one in findings(directory) if one.level is not Level.FINE]
    return [
        one for one in wrong if str(directory) in one.found or one.part in ("lake", "event index", "stores")
    ]


def test_doctor_finds_nothing_wrong_in_a_whole_directory(directory: Path) -> None:
    assert complaints(directory) == []
    assert databases_whole(load_settings(directory), SYSTEM_CLOCK).passed
    assert refuse_damage(directory) == []


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param(
            name, damage, marks=() if at % len(DAMAGES) == number % len(DAMAGES) else pytest.mark.long
        )
        for number, name in enumerate(BY_NAME)
        for at, damage in enumerate(DAMAGES)
        if damage is not deleted or name in MISSED
    ],
)
def test_a_damaged_file_is_named_with_its_cause_and_a_remedy(
    directory: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(directory / name)

    wrong = complaints(directory)

    assert wrong, "doctor says that all is well"
    said = wrong[0].found + wrong[0].remedy
    assert str(directory / name) in said
    assert "migrate" not in said
    assert "password" not in said
    assert any(way in said for way in ("backup", "move it aside", "restore-lake", "permission"))
    if not (name == "lake/catalog.sqlite" and damage is deleted):
        assert len(wrong) == 1, "one cause is one finding"
        assert not databases_whole(load_settings(directory), SYSTEM_CLOCK).passed


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize(
    "damage", [emptied, cut, first_page_overwritten, bit_of_a_page_flipped, replaced_by_a_directory]
)
def test_up_refuses_a_damaged_file_or_starts_with_a_word(
    directory: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(directory / name)

    if BY_NAME[name].renewable:
        (said,) = refuse_damage(directory)
        assert "is set aside as" in said
        assert not (directory / name).exists()
        assert complaints(directory) == []
    else:
        with pytest.raises(CannotStart, match="To go on: "):
            refuse_damage(directory)


@pytest.mark.parametrize("name", ["operational.sqlite", "simulated-exchange.sqlite", "exchange-feed.sqlite"])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.long
def test_a_backup_that_is_put_back_makes_doctor_well(
    prepared: Path, directory: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(directory / name)
    if (directory / name).is_dir():
        (directory / name).rmdir()
    (directory / name).unlink(missing_ok=True)

    shutil.copyfile(prepared / name, directory / name)

    assert complaints(directory) == []
    assert refuse_damage(directory) == []


@pytest.mark.parametrize(
    "damage", [emptied, cut, first_page_overwritten, bit_of_a_page_flipped, deleted, replaced_by_a_directory]
)
@pytest.mark.long
def test_restore_lake_makes_a_damaged_catalog_well(directory: Path, damage: Callable[[Path], None]) -> None:
    damage(directory / "lake" / "catalog.sqlite")

    assert run_command(["restore-lake", "--data-dir", str(directory)]) == 0

    assert complaints(directory) == []


def test_a_directory_that_was_moved_aside_begins_empty(directory: Path, tmp_path: Path) -> None:
    emptied(directory / "operational.sqlite")
    directory.rename(tmp_path / "aside")

    migrate(load_settings(directory))

    assert [one for one in complaints(directory) if one.level is Level.WRONG] == []
    (tmp_path / "aside").rename(tmp_path / "data2")


def fault_of(directory: Path, file: DataFile) -> DataFault:
    ((_, _, fault),) = examinations(directory, 1.0, (file,))
    assert fault is not None
    return fault


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_simulated_exchange_never_begins_from_nothing(
    directory: Path, damage: Callable[[Path], None]
) -> None:
    damage(directory / "simulated-exchange.sqlite")

    with pytest.raises(process.JournalDamaged, match=r"simulated-exchange\.sqlite .* To go on: "):
        begin_exchange(load_settings(directory))


def test_a_new_exchange_begins_where_the_remedy_was_followed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied(directory / "simulated-exchange.sqlite")
    set_aside(fault_of(directory, BY_NAME["simulated-exchange.sqlite"]), datetime.now(UTC))
    (directory / BEGUN_FILE).unlink()
    began: list[int] = []
    monkeypatch.setattr(
        process, "_run", lambda journal, *_: began.append(journal.restore(10**15).numbers.next_bet)
    )

    begin_exchange(load_settings(directory))

    assert began == [10**15], "ids begin at the clock, beyond those of the old exchange"
    assert (directory / BEGUN_FILE).exists()


def begin_exchange(settings: Settings) -> None:
    process.run(settings, rate=1.0, seed=1, stop=threading.Event())


def test_a_damaged_operational_database_is_a_damaged_store_and_no_records_fault(directory: Path) -> None:
    bit_of_a_page_flipped(directory / "operational.sqlite")
    database = Database(load_settings(directory).operational_database_url)

    with pytest.raises(StoreDamaged, match="doctor"), database.read() as connection:
        read_everything(connection)


def read_everything(connection: sa.Connection) -> None:
    tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        connection.exec_driver_sql(f'SELECT * FROM "{table}"').fetchall()


@pytest.mark.parametrize("damage", [emptied, cut, deleted])
def test_a_damaged_event_index_is_said_to_be_damaged_and_not_away(
    directory: Path, damage: Callable[[Path], None]
) -> None:
    damage(next((directory / "event-index").glob("generation-*/meta.json")))

    (found,) = complaints(directory)

    assert found.part == "event index"
    assert "damaged" in found.found
    assert "Elasticsearch" not in found.remedy
    assert "rebuild_event_index" in found.remedy
