"""Stores as `migrate` leaves them, for tests that are not about migrating: migrated once a process, then
copied. Not here: stores on servers, which are migrated each time.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.schema import migrate, migrate_database

_DATABASE = "operational.sqlite"
_LAKE = "lake"
_CATALOG = "catalog.sqlite"
_DATA = "data"


def prepare(settings: Settings) -> None:
    """Leave what `migrate(settings)` leaves in a new data directory."""
    if (
        settings.database_url
        or settings.lake_catalog
        or settings.lake_data_path
        or settings.elasticsearch_url
    ):
        migrate(settings)
        return
    copy_file(_migrated() / _DATABASE, settings.data_dir / _DATABASE)
    prepare_lake(settings.data_dir / _LAKE)


def prepare_database(database: Database) -> None:
    """Leave what `migrate_database(database)` leaves in a new database; a server's is migrated."""
    if not database.is_sqlite:
        migrate_database(database)
        return
    assert database.engine.url.database, "a database in memory can not be copied"
    copy_file(_migrated() / _DATABASE, Path(database.engine.url.database))


def prepare_lake(directory: Path) -> None:
    """Leave a new lake without rows in the directory: its catalog `catalog.sqlite`, and `data` beside it."""
    copy_lake(_migrated() / _LAKE, directory)


def copy_lake(source: Path, target: Path) -> None:
    """Copy a lake that nobody has open from one directory to another, as if it had been written there."""
    catalog, data = target / _CATALOG, target / _DATA
    copy_file(source / _CATALOG, catalog)
    shutil.copytree(source / _DATA, data)
    with closing(sqlite3.connect(catalog)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        place = [f"{data}/"]
        changed = connection.execute("UPDATE ducklake_metadata SET value = ? WHERE key = 'data_path'", place)
        assert changed.rowcount == 1


@cache
def _directory() -> TemporaryDirectory[str]:
    """Deleted when the process ends."""
    return TemporaryDirectory(prefix="migrated-", ignore_cleanup_errors=True)


@cache
def _migrated() -> Path:
    directory = Path(_directory().name)
    migrate(Settings(data_dir=directory))
    return directory


def copy_file(source: Path, target: Path) -> None:
    """Copy a SQLite file that nobody has open."""
    assert not source.with_name(f"{source.name}-wal").exists(), (
        f"{source} is open: a copy would lack its newest rows"
    )
    if target.exists():
        raise FileExistsError(f"{target} is there already: prepare a database before it is used")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
