"""The event feed's part of the local deployment, run by Dagster against a real feed, database and index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.checks import FINISHED_EVENTS_TAKE_NO_BETS, INDEX_AGREES
from deployments.local import build_definitions
from exchange_platform.operations.checks import EVERYTHING
from exchange_platform.search.documents import EventQuery
from exchange_platform.settings import Settings
from resources.platform import PlatformResource
from sensors.exchange_feed import exchange_feed_sensor
from tests.exchange_platform.streams.feed_server import FeedServer, feed_server
from tests.support.feed_updates import event, market
from tests.support.prepared import prepare


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with feed_server() as server:
        server.append(event(), market(), event("e2", name="Kenya v Nepal", participants=("Kenya", "Nepal")))
        yield server


@pytest.fixture
def platform(
    tmp_path: Path, server: FeedServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PlatformResource]:
    monkeypatch.setenv("EXCHANGE_PLATFORM_EXCHANGE_URL", server.url)
    prepare(Settings(data_dir=tmp_path))
    platform = PlatformResource(data_dir=str(tmp_path))
    yield platform
    platform.database.dispose()


def _found(platform: PlatformResource, text: str) -> list[str]:
    with platform.event_index() as index:
        return [hit.document.event_id for hit in index.search(EventQuery(text=text))]


def _run(platform: PlatformResource, job: str, **run_config: object) -> dict[str, dict[str, object]]:
    """Run a job; the figures that it reported last of each asset."""
    with dg.instance_for_test() as instance:
        result = (
            build_definitions({"platform": platform})
            .resolve_job_def(job)
            .execute_in_process(instance=instance, run_config=run_config or None)
        )
        assert result.success
        return {
            event.asset_key.to_user_string(): {
                name: value.value
                for name, value in event.step_materialization_data.materialization.metadata.items()
            }
            for event in result.all_events
            if event.is_step_materialization and event.asset_key is not None
        }


def _consume(platform: PlatformResource) -> dict[str, dict[str, object]]:
    return _run(
        platform,
        "consume_exchange_feed",
        ops={"exchange_feed_consumer": {"config": {"duration_s": 2}}},
    )


def test_a_run_materialises_the_events_and_their_index(platform: PlatformResource) -> None:
    told = _consume(platform)
    assert told.keys() == {"events", "event_index"}
    assert (told["events"]["records"], told["event_index"]["records"]) == (3, 2)
    assert told["events"]["position"] == {"feed@feed-1": "3"}
    assert "open_windows" not in told["events"]
    assert _found(platform, "papua") == ["e1"]
    assert INDEX_AGREES.ask(platform, EVERYTHING).passed
    assert FINISHED_EVENTS_TAKE_NO_BETS.ask(platform, EVERYTHING).passed


@pytest.mark.long
def test_the_index_is_made_anew_from_the_database_by_a_job(platform: PlatformResource) -> None:
    _consume(platform)
    with platform.event_index() as index:
        held = index.versions()
    told = _run(platform, "rebuild_event_index")
    assert told["event_index"]["documents"] == 2
    with platform.event_index() as index:
        assert index.versions() == held
    assert _found(platform, "kenya") == ["e2"]


def test_the_sensor_keeps_a_run_of_the_feed_s_job(platform: PlatformResource) -> None:
    assert exchange_feed_sensor.job_name == "consume_exchange_feed"
    with dg.instance_for_test() as instance:
        context = dg.build_sensor_context(instance, resources={"platform": platform})
        result = exchange_feed_sensor(context)
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or []
    assert (request.run_key or "").startswith("exchange-feed/1/1/")
