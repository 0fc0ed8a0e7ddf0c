"""What an exchange tells in half an hour, for all tests that look at it."""

from __future__ import annotations

import pytest

from tests.exchange_platform.exchanges.simulated.running import MadeUpTime, RunningExchange


@pytest.fixture(scope="session")
def half_an_hour(tmp_path_factory: pytest.TempPathFactory) -> RunningExchange:
    """An exchange after half an hour, lived through thrice as fast: with voids, corrections, annulments,
    abandoned events. Only look.
    """
    path = tmp_path_factory.mktemp("half-an-hour") / "journal.sqlite"
    running = RunningExchange(path, MadeUpTime(), rate=12, pace=3)
    running.run(600, published=None, tick_s=0.2)
    return running
