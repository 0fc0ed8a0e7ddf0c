"""The accounts' half on SQLite, and on MariaDB where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.support.account_parts import AccountParts
from tests.support.prepared import prepare_database


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.servers)])
def parts(request: pytest.FixtureRequest, settings: Settings) -> Iterator[AccountParts]:
    own = settings
    if request.param == "mysql":
        own = settings.model_copy(update={"database_url": SecretStr(request.getfixturevalue("mysql_url"))})
    database = Database(own.operational_database_url)
    prepare_database(database)
    database.dispose()
    made = AccountParts(own)
    yield made
    made.close()
