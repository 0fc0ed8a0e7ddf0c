"""Rows are changed and deleted by their keys: those that are named, and no others, on both databases; on a
server in few statements.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from exchange_platform.stores.operational.bets.bets import apply_bet_updates
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.upsert import ByKey, insert
from exchange_platform.stores.schema import migrate_database
from tests.exchange_platform.stores.bet_lives import lost, matched, opened

THINGS = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("owner", sa.String(20), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("label", sa.String(20), unique=True),
    sa.Column("state", sa.String(20)),
    sa.Column("due", sa.BigInteger),
)
COUNT = 300


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.servers)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    on_server = request.param == "mariadb"
    url = request.getfixturevalue("mysql_url") if on_server else f"sqlite:///{tmp_path / 'things.sqlite'}"
    database = Database(url)
    with database.write() as connection:
        THINGS.metadata.create_all(connection)
        insert(THINGS).execute(connection, [_thing(number) for number in range(COUNT)])
    yield database
    database.dispose()


def test_rows_are_deleted_by_a_key_of_several_columns(database: Database) -> None:
    gone = [_thing(number) for number in range(0, COUNT, 2)]
    _execute(database, ByKey(THINGS), [*gone, {"owner": "nobody", "number": 1}])
    assert [row.number for row in _rows(database)] == list(range(1, COUNT, 2))


def test_a_key_is_all_of_its_columns(database: Database) -> None:
    """An owner's thing is not another's with the same number."""
    _execute(database, ByKey(THINGS), [{"owner": "o1", "number": 2}, {"owner": "o2", "number": 1}])
    assert len(_rows(database)) == COUNT


def test_rows_are_changed_to_their_own_values(database: Database) -> None:
    change = ByKey(THINGS, ["label"], change=["due", "state"])
    _execute(database, change, [{**_thing(n), "due": n % 3, "state": None} for n in range(200)])
    for row in _rows(database):
        assert (row.due, row.state) == ((row.number % 3, None) if row.number < 200 else (7, "waits"))


def test_a_condition_on_all_holds_for_each_row(database: Database) -> None:
    _execute(database, ByKey(THINGS, ["label"], change=["state"]), [{**_thing(3), "state": "done"}])
    delete = ByKey(THINGS, only="state = 'waits'")
    _execute(database, delete, [_thing(number) for number in range(5)])
    assert [row.number for row in _rows(database)] == [3, *range(5, COUNT)]


def test_nothing_happens_without_rows(database: Database) -> None:
    _execute(database, ByKey(THINGS), [])
    _execute(database, ByKey(THINGS, change=["due"]), [])
    assert len(_rows(database)) == COUNT


@pytest.mark.servers
def test_a_batch_of_bets_costs_a_server_as_many_statements_as_a_few_bets_do(mysql_url: str) -> None:
    database = Database(mysql_url)
    migrate_database(database)
    asked = [_asked_to_settle(database, prefix, users) for prefix, users in (("few", 5), ("many", 120))]
    assert asked[1] <= asked[0] + 4
    database.dispose()


def _asked_to_settle(database: Database, prefix: str, users: int) -> int:
    """Statements that a batch takes which settles a bet of each of so many users."""
    bets = [opened(bet_id=f"{prefix}{n}", user_id=f"{prefix}{n}") for n in range(users)]
    with database.write() as connection:
        apply_bet_updates(connection, bets)
        apply_bet_updates(connection, [matched(bet) for bet in bets])
    questions = sa.text("SHOW SESSION STATUS LIKE 'Questions'")
    with database.write() as connection:
        before = int(connection.execute(questions).one()[1])
        verdicts = apply_bet_updates(connection, [lost(matched(bet)) for bet in bets])
        after = int(connection.execute(questions).one()[1])
    assert all(verdict.applied for verdict in verdicts)
    return after - before


def _thing(number: int) -> dict[str, Any]:
    return {"owner": f"o{number % 7}", "number": number, "label": f"l{number}", "state": "waits", "due": 7}


def _execute(database: Database, change: ByKey, rows: list[dict[str, Any]]) -> None:
    with database.write() as connection:
        change.execute(connection, rows)


def _rows(database: Database) -> list[sa.Row[Any]]:
    with database.read() as connection:
        return list(connection.execute(sa.select(THINGS).order_by(THINGS.c.number)))
