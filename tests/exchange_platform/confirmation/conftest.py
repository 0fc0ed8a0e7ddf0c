"""The accounts' half on SQLite, and on MariaDB where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from exchange_platform.settings import Settings
from exchange_platform.stores.database import Database, metadata
from exchange_platform.stores.schema import migrate_database
from tests.account_parts import AccountParts


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.servers)])
def parts(request: pytest.FixtureRequest, settings: Settings) -> Iterator[AccountParts]:
    own = settings
    if request.param == "mysql":
        own = settings.model_copy(update={"database_url": SecretStr(request.getfixturevalue("mysql_url"))})
    database = Database(own.operational_database_url)
    if request.param == "mysql":
        migrate_database(database)
    else:
        metadata.create_all(database.engine)  # a tenth of the time
    database.dispose()
    made = AccountParts(own)
    yield made
    made.close()
