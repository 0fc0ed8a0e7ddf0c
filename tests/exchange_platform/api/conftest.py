"""The API on a migrated platform of its own, called as an application and as anybody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from exchange_platform.api.app import create_app
from exchange_platform.settings import Settings
from exchange_platform.stores.schema import migrate

TOKEN = "a-token-of-an-application"


@pytest.fixture
def api_settings(settings: Settings) -> Settings:
    """Settings with stores that exist and a token."""
    own = settings.model_copy(update={"api_tokens": SecretStr(f"another-token, {TOKEN}")})
    migrate(own)
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
