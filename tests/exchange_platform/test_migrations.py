"""The migrations form one line, so that every database goes the same way."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

import exchange_platform.migrations.versions as versions
from exchange_platform.stores.database import Database
from exchange_platform.stores.lost_spans import lost_spans
from exchange_platform.stores.schema import migrate_database, schema_revisions


def test_each_migration_follows_the_one_before_it() -> None:
    folder = Path(next(iter(versions.__path__)))
    revisions: list[tuple[str, str]] = []
    for path in sorted(folder.glob("0*.py")):
        lines = path.read_text().splitlines()
        said = [
            line.partition(" = ")[2].strip('"') for line in lines if line.startswith(("revision", "down_"))
        ]
        assert path.name.startswith(f"{said[0]}_"), path.name
        revisions.append((said[0], said[1]))
    assert [revision for revision, _ in revisions] == [f"{n:04}" for n in range(1, len(revisions) + 1)]
    assert [before for _, before in revisions][1:] == [revision for revision, _ in revisions][:-1]


def test_a_database_of_an_older_release_is_widened_by_lost_spans(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'operational.db'}")
    migrate_database(database)
    current, wanted = schema_revisions(database)
    assert current == wanted
    with database.read() as connection:
        made = {column["name"] for column in sa.inspect(connection).get_columns("lost_spans")}
    assert made == {column.name for column in lost_spans.columns}
    database.dispose()
