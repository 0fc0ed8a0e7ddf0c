"""The migrations form one line, so that every database goes the same way."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

import exchange_platform.stores.operational.migrations.versions as versions
from exchange_platform.api.http.known_tokens import KnownTokens
from exchange_platform.domain.api_tokens import InvalidToken, digest_of
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.checkpoints import TablesMissing
from exchange_platform.stores.operational.accounts.api_tokens import ApiTokens, NewToken
from exchange_platform.stores.operational.accounts.security_events import (
    SecurityKind,
    WantedEvents,
    purge_events,
    read_events,
)
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.consumers.lost_spans import lost_spans
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.purge_rounds import Budget
from exchange_platform.stores.schema import _alembic_config, migrate_database, schema_revisions
from tests.support.token_parts import OPERATOR, make_token


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


WIDENED = ("ledger", "wallet_transfers", "submissions", "order_outbox", "limit_changes", "accounts")


@pytest.mark.parametrize("where", ["sqlite", pytest.param("mysql", marks=pytest.mark.servers)])
def test_the_release_before_applications_goes_on_writing_beside_this_one(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'w.db'}" if where == "sqlite" else request.getfixturevalue("mysql_url")
    database = Database(url)
    config = _alembic_config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0009")
        connection.commit()
    older = {name: sa.Table(name, sa.MetaData(), autoload_with=database.engine) for name in WIDENED}

    def write_as_before(text: str) -> None:
        with database.write() as connection:
            for table in older.values():
                connection.execute(sa.insert(table).values({one.name: _any(one, text) for one in table.c}))

    write_as_before("1")
    migrate_database(database)
    write_as_before("2")
    token = make_token(database, "web", accounts=["1"])
    with database.read() as connection:
        for name in WIDENED:
            column = "registered_by" if name == "accounts" else "application"
            assert connection.execute(sa.text(f"SELECT {column} FROM {name}")).scalars().all() == [None, None]
    known = KnownTokens(ApiTokens(database), [], SYSTEM_CLOCK)
    known.refresh()
    found = known.find(token)
    assert found.grant is not None
    assert found.grant.account_ids == {"1"}
    with pytest.raises(InvalidToken, match="kept already"):
        ApiTokens(database).make(
            NewToken(
                application="another",
                sha256=digest_of(token),
                scopes=found.grant.scopes,
                lasts_s=86_400,
            ),
            OPERATOR,
            SYSTEM_CLOCK.now_us(),
        )
    ApiTokens(database).note_used({found.token_id or "": 5})
    ApiTokens(database).revoke("web", [], OPERATOR, SYSTEM_CLOCK.now_us())
    (stored,) = ApiTokens(database).list()
    assert (stored.last_used_at_us, stored.state(0)) == (5, "revoked")
    events = read_events(database, WantedEvents(application="web"), limit=5)
    assert [event.kind for event in events] == [SecurityKind.REVOKED, SecurityKind.MADE]
    purged = purge_events(database, before_us=2**62, budget=Budget(SYSTEM_CLOCK, 10))
    assert (purged.deleted, purged.left) == (2, 0)
    database.dispose()


def _any(column: sa.Column[object], text: str) -> object:
    """A value that the column can hold, another for another text."""
    if isinstance(column.type, sa.Integer):
        return int(text)
    if column.type.python_type is bytes:
        return text.encode()
    return text


def test_a_database_without_tables_says_what_makes_them(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    with pytest.raises(
        TablesMissing, match=r"no such table: consumers.*`exchange-platform migrate` makes them"
    ):
        ConsumerRows(database).newest("exchange-bets")
    database.dispose()
