"""What the tests of events, windows and the board work with: a database and a lake of their own, filled as
they like. Not here: any test.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from exchange_platform.api.serving import Server
from exchange_platform.settings import Settings
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.stores.lake.lake_feed import Feed
from tests.support.platform_parts import wait_for


@pytest.fixture
def database(api_settings: Settings) -> Iterator[Database]:
    database = Database(api_settings.operational_database_url)
    yield database
    database.dispose()


@pytest.fixture
def feed(api_settings: Settings) -> Iterator[Feed]:
    lake = Lake.from_settings(api_settings)
    yield Feed(lake)
    lake.close()


class Serving:
    """The API on a port of its own, in a thread."""

    def __init__(self, settings: Settings) -> None:
        self.server = Server(settings, host="127.0.0.1", port=0)
        self._thread = threading.Thread(target=self.server.run, daemon=True)

    def start(self) -> None:
        """Serve; returns once it does."""
        self._thread.start()
        wait_for(lambda: self.server.started, what="the API serves")

    @property
    def url(self) -> str:
        """Where it serves."""
        (server,) = self.server.servers
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def stop(self) -> float:
        """Stop; how many seconds that took."""
        began = time.monotonic()
        self.server.should_exit = True
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()
        return time.monotonic() - began


@contextmanager
def serving(settings: Settings) -> Iterator[Serving]:
    """The API, served until the end of the block."""
    one = Serving(settings)
    one.start()
    try:
        yield one
    finally:
        one.stop()
