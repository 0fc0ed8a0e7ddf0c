"""What every test may ask for: a real AWS emulator, the recorded feeds, a data directory."""

from __future__ import annotations

import gc
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa

from exchange_platform.settings import Settings
from tests.support.postgres_parts import Postgres

# A busy machine is no failure; and what passed here passes there.
hypothesis.settings.register_profile("unhurried", deadline=None, derandomize=True)
hypothesis.settings.load_profile("unhurried")

# Who starts tests in the background of a script has them ignore SIGINT, and with them what they start:
# Dagster ends a `tail` by it.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what was imported: it stays, and looking through it takes a tenth of the
    suite's time.
    """
    gc.collect()
    gc.freeze()


MYSQL_URL = "EXCHANGE_PLATFORM_TEST_MYSQL_URL"
FEEDS = Path(__file__).parents[1].parent / "shared" / "feeds"


@pytest.fixture(scope="session")
def feeds() -> Path:
    """The directory of recorded exchange streams beside the checkout."""
    if not FEEDS.is_dir():
        pytest.skip("no recorded feeds beside the checkout (shared/feeds)")
    return FEEDS


@pytest.fixture(scope="session")
def emulator_url() -> Iterator[str]:
    """The AWS emulator, served over HTTP in this process; its URL."""
    from exchange_platform.local.emulator.server import Emulator

    server = Emulator(0)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.close()
    thread.join(10)


@pytest.fixture
def postgres() -> Postgres:
    """A PostgreSQL server."""
    return Postgres.of_environment()


@pytest.fixture
def mysql_url() -> Iterator[str]:
    """A database of its own on a MariaDB server."""
    if MYSQL_URL not in os.environ:
        pytest.skip(f"no MariaDB: {MYSQL_URL} is not set (.ci/run starts one)")
    server = sa.make_url(os.environ[MYSQL_URL])
    name = f"test_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(server, poolclass=sa.NullPool)  # the server may be another process by the end
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name}"))
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path, emulator_url: str, request: pytest.FixtureRequest) -> Settings:
    """Settings of an embedded platform with a directory, streams and tables of its own; none of them exists
    yet.
    """
    own = f"{abs(hash(request.node.nodeid)) % 10**10}"
    return Settings(
        data_dir=tmp_path / "data",
        aws_endpoint_url=emulator_url,
        bets_stream=f"exchange-bets-{own}",
        orders_stream=f"bet-orders-{own}",
        profiles_table=f"profiles-{own}",
        tokens_table=f"confirmation-tokens-{own}",
        status_topic=f"bet-status-{own}",
    )
