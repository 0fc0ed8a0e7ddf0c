"""What every test may ask for: a real AWS emulator, the recorded feeds, a data directory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.settings import Settings

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
    from exchange_platform.local.emulator import make_emulator

    server = make_emulator(0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def settings(tmp_path: Path, emulator_url: str, request: pytest.FixtureRequest) -> Settings:
    """Settings of an embedded platform with a directory, streams and tables of its own; none of them exists yet."""
    own = f"{abs(hash(request.node.nodeid)) % 10**10}"
    return Settings(
        data_dir=tmp_path / "data",
        aws_endpoint_url=emulator_url,
        bets_stream=f"exchange-bets-{own}",
        orders_stream=f"bet-orders-{own}",
        profiles_table=f"profiles-{own}",
        tokens_table=f"confirmation-tokens-{own}",
    )
