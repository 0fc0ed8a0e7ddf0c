"""What every store has committed reaches the exchange, and no more than that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.exchanges.platform_requests import REQUESTS_FILE, PlatformRequests
from exchange_platform.operations.acknowledging import acknowledge, committed
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import Advance
from exchange_platform.stores.operational.consumers.consumers import Checkpoints
from exchange_platform.streams.engine.source import SHARD_END
from exchange_platform.streams.sinks.operational import OPERATIONAL_DATABASE
from exchange_platform.streams.sinks.profile_view import PROFILE_VIEW
from exchange_platform.streams.sources.names import EXCHANGE_BETS, EXCHANGE_FEED
from exchange_platform.submission.exchange_asking import ExchangeUnavailable
from tests.exchange_platform.operations.checks.stores import Stores, make_stores
from tests.exchange_platform.streams.gateway import running_gateway

SHARD, GONE = "shardId-000000000000@1763948000123", "shardId-000000000000@1763947000123"


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = make_stores(tmp_path)
    yield stores
    stores.close()


def _reach(
    stores: Stores, sink: str, position: str, *, source: str = EXCHANGE_BETS, shard: str = SHARD
) -> None:
    if sink == "lake":
        held = stores.lake.claim(source, 1, [shard])[shard]
        stores.lake.commit(source, 1, [Advance(shard, held, position)], [], [])
        return
    checkpoints = Checkpoints(stores.database, sink)
    held = checkpoints.claim(source, 1, [shard], now_us=0)[shard]
    with stores.database.write() as connection:
        checkpoints.advance(connection, source, 1, [Advance(shard, held, position)], now_us=0)


def test_the_slowest_store_decides_what_is_committed(stores: Stores) -> None:
    _reach(stores, OPERATIONAL_DATABASE, "1000")
    _reach(stores, "lake", "998")
    assert committed(stores.database, stores.lake) == {}  # the profile view has none of it
    _reach(stores, PROFILE_VIEW, "99")
    assert committed(stores.database, stores.lake) == {SHARD: "99"}
    _reach(stores, PROFILE_VIEW, SHARD_END)
    assert committed(stores.database, stores.lake) == {SHARD: "998"}


def test_only_the_newest_stream_counts_and_the_feed_besides(stores: Stores) -> None:
    for sink in (OPERATIONAL_DATABASE, "lake", PROFILE_VIEW):
        _reach(stores, sink, "5", shard=GONE)
        _reach(stores, sink, "7")
    _reach(stores, OPERATIONAL_DATABASE, "1:12", source=EXCHANGE_FEED, shard="feed@abc")
    assert committed(stores.database, stores.lake) == {SHARD: "7", "feed@abc": "1:12"}


def test_what_is_committed_reaches_the_exchange(stores: Stores, tmp_path: Path) -> None:
    for sink in (OPERATIONAL_DATABASE, "lake", PROFILE_VIEW):
        _reach(stores, sink, "7")
    with running_gateway(tmp_path) as url:
        assert acknowledge(Settings(data_dir=tmp_path, exchange_url=url), stores.database, stores.lake)
        # An exchange that has no such call is no error.
        elsewhere = Settings(data_dir=tmp_path, exchange_url=f"{url}/other")
        assert not acknowledge(elsewhere, stores.database, stores.lake)
    requests = PlatformRequests(tmp_path / REQUESTS_FILE)
    assert requests.acknowledged() == {SHARD: "7"}
    requests.close()
    with pytest.raises(ExchangeUnavailable):
        acknowledge(Settings(data_dir=tmp_path, exchange_url=url), stores.database, stores.lake)
    assert not acknowledge(Settings(data_dir=tmp_path), stores.database, stores.lake)
