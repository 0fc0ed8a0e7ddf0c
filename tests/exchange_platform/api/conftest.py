"""The API on a migrated platform of its own, called as an application and as anybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from exchange_platform.api.app import create_app
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from tests.support.account_parts import AccountParts, AccountsApi
from tests.support.prepared import prepare, prepare_database

TOKEN = "a-token-of-an-application-000000"


@pytest.fixture
def api_settings(settings: Settings) -> Settings:
    """Settings with stores that exist and a token."""
    own = settings.model_copy(update={"api_tokens": SecretStr(f"another-{TOKEN}, {TOKEN}")})
    prepare(own)
    return own


@pytest.fixture
def anybody(api_settings: Settings) -> Iterator[TestClient]:
    """A caller without a token."""
    with TestClient(create_app(api_settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def application(anybody: TestClient) -> TestClient:
    """A caller with a token. The same client as `anybody`."""
    anybody.headers["Authorization"] = f"Bearer {TOKEN}"
    return anybody


@contextmanager
def serving_accounts(settings: Settings, **changes: str | int) -> Iterator[AccountsApi]:
    """The API over the accounts' stores alone, on a clock that stands; its mails are rendered when a test
    asks for them.
    """
    database = Database(settings.operational_database_url)
    prepare_database(database)
    database.dispose()
    own = settings.model_copy(update={"api_tokens": SecretStr(TOKEN)})
    parts = AccountParts(own)
    app = create_app(own.model_copy(update=changes), clock=parts.clock)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with (
        TestClient(app, raise_server_exceptions=False) as anybody,
        TestClient(app, raise_server_exceptions=False, headers=bearer) as application,
    ):
        yield AccountsApi(parts, application, anybody)
    parts.close()


@pytest.fixture
def accounts(settings: Settings) -> Iterator[AccountsApi]:
    """The API over the accounts' stores alone."""
    with serving_accounts(settings) as made:
        yield made
