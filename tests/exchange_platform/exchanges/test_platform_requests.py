"""What the platform asks of the exchange: once each, oldest first, not without end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.exchanges.platform_requests import MAX_WAITING, PlatformRequests, TooManyRequests


@pytest.fixture
def requests(tmp_path: Path) -> Iterator[PlatformRequests]:
    requests = PlatformRequests(tmp_path / "requests.sqlite")
    yield requests
    requests.close()


def test_what_is_asked_for_twice_is_served_once(requests: PlatformRequests, tmp_path: Path) -> None:
    requests.ask([("market-1", 60_000_000)], ["bet-1"])
    other = PlatformRequests(tmp_path / "requests.sqlite")
    other.ask([("market-1", 60_000_000), ("market-1", 120_000_000)], ["bet-1"])
    waiting = other.waiting()
    assert [(one.market_id, one.minute_us, one.bet_id) for one in waiting] == [
        ("market-1", 60_000_000, ""),
        ("", 0, "bet-1"),
        ("market-1", 120_000_000, ""),
    ]
    other.served([one.number for one in waiting[:2]])
    other.close()
    assert [one.minute_us for one in requests.waiting()] == [120_000_000]


def test_too_many_requests_are_refused_as_a_whole(requests: PlatformRequests) -> None:
    requests.ask([], [f"bet-{number}" for number in range(MAX_WAITING)])
    with pytest.raises(TooManyRequests, match=f"{MAX_WAITING} are allowed"):
        requests.ask([("market-1", 0)], [])
    assert len(requests.waiting(2 * MAX_WAITING)) == MAX_WAITING
