"""Creating and upgrading every schema. Not here: the tables themselves (database.py, lake/lake.py)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock

from exchange_platform.process.private_files import refuse_strangers, tighten
from exchange_platform.settings import Settings
from exchange_platform.stores.dagster_database import ensure_dagster_database
from exchange_platform.stores.event_index.opening import open_event_index
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.database_users import grant_to_users

_MIGRATIONS = Path(__file__).parent / "operational" / "migrations"


def migrate(settings: Settings) -> None:
    """Create or upgrade the operational database, the lake, the event index, and make Dagster's database
    where it is on PostgreSQL.

    Idempotent; several processes may call it at once. The data directory is its owner's alone afterwards.
    Raises `StrangersDirectory` where it is another user's: nothing is made or changed then.
    """
    refuse_strangers(settings.data_dir)
    ensure_dagster_database(settings)
    database = Database(settings.operational_database_url)
    try:
        migrate_database(database, lock_dir=settings.data_dir)
        if settings.database_separate_users:
            grant_to_users(database)
    finally:
        database.dispose()
    lake = Lake.from_settings(settings)
    try:
        lake.migrate()
    finally:
        lake.close()
    index = open_event_index(settings)
    try:
        index.prepare()
    finally:
        index.close()
    tighten(settings.data_dir)


def migrate_database(database: Database, *, lock_dir: Path | None = None) -> None:
    """Bring the operational database to the newest schema. Raises `StoreUnavailable` where it can't be
    reached.
    """
    with _alone(database, lock_dir), database.engine.connect() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def schema_revisions(database: Database) -> tuple[str | None, str | None]:
    """The schema that the database has, and the one that this code wants."""
    with database.read() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return current, ScriptDirectory.from_config(_alembic_config()).get_current_head()


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


@contextlib.contextmanager
def _alone(database: Database, lock_dir: Path | None) -> Iterator[None]:
    """One migrating process at a time: a file lock beside SQLite, a named lock on MySQL."""
    if database.is_sqlite:
        directory = lock_dir or Path(database.engine.url.database or ".").parent
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / "migrate.lock", timeout=60):
            yield
        return
    with database.engine.connect() as connection:
        connection.execute(sa.text("SELECT GET_LOCK('exchange_platform_migrate', 60)"))
        try:
            yield
        finally:
            connection.execute(sa.text("SELECT RELEASE_LOCK('exchange_platform_migrate')"))
