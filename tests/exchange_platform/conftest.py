"""What the library's tests may ask for: a market that takes bets, and the submission that places them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from exchange_platform.submission import BetSubmission
from tests.exchange_platform.betting import add_event, add_market
from tests.exchange_platform.recording import RecordingStream
from tests.exchange_platform.stores.bet_tables import new_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A new operational database."""
    with new_database(tmp_path) as database:
        yield database


@pytest.fixture
def market(database: Database) -> Database:
    """The database, with the event e1 and its open market m1 of the selections 1, 2 and 3."""
    add_event(database)
    add_market(database)
    return database


@pytest.fixture
def stream() -> RecordingStream:
    """A stream that a test can look into."""
    return RecordingStream()


@pytest.fixture
def submission(market: Database, stream: RecordingStream, tmp_path: Path) -> Iterator[BetSubmission]:
    """A running submission on that database and stream."""
    with BetSubmission(Settings(data_dir=tmp_path), database=market, publisher=stream) as submission:
        yield submission
