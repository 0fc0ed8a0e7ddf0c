"""What watches the platform, and whether it would say so if it did not: freshness, ages of verdicts, failed
runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from assets.checks import ALL, CONSUMERS_ALIVE
from assets.exchange_bets import _windows
from deployments.local import build_definitions
from exchange_platform.operations import cloud_metrics
from exchange_platform.process.clock import SystemClock
from exchange_platform.settings import Settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.lake import Lake
from exchange_platform.streams.engine.reports import ConsumerReport
from resources.failed_runs import failed_runs
from resources.freshness import LIVE
from resources.platform import PlatformResource
from resources.run_sizes import SENSOR_LAKE_MB
from sensors.reconciliation import EVALUATED_WITHIN_S, reconciliation_sensor
from tests.support.prepared import prepare

LIVE_ASSETS = {
    *("bets", "profiles", "profile_view", "executions", "bet_history", "odds_windows"),
    *("events", "event_index", "notifications", "confirmation_mails"),
}


class LaterClock(SystemClock):
    """The machine's clock, as far ahead as the test says."""

    ahead_s = 0.0

    def now_us(self) -> int:
        return super().now_us() + int(self.ahead_s * 1e6)


class Watched:
    """A platform without data, its reconciliation sensor, and the lake as far as it can be reached."""

    def __init__(self, platform: PlatformResource, monkeypatch: pytest.MonkeyPatch) -> None:
        self.platform = platform
        self.clock = LaterClock()
        self.lake_is_away = False
        self.lakes_mb: list[int | None] = []
        self._cursor: str | None = None
        real = Lake.from_settings

        def from_settings(settings: Settings, **choices: Any) -> Lake:
            self.lakes_mb.append(choices.get("memory_mb"))
            if self.lake_is_away:
                raise StoreUnavailable("lake: no route to its catalog")
            return real(settings, **choices)

        monkeypatch.setattr(Lake, "from_settings", from_settings)
        monkeypatch.setattr("sensors.reconciliation.SYSTEM_CLOCK", self.clock)

    def tick(self, instance: dg.DagsterInstance) -> str:
        """One tick of the sensor; what it says."""
        context = dg.build_sensor_context(
            instance, cursor=self._cursor, resources={"platform": self.platform}
        )
        reason = reconciliation_sensor(context)
        assert isinstance(reason, dg.SkipReason)
        self._cursor = context.cursor
        return str(reason.skip_message)


@pytest.fixture
def watched(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    prepare(settings)
    platform = PlatformResource(data_dir=str(settings.data_dir))
    yield Watched(platform, monkeypatch)
    platform.database.dispose()


def shown(instance: dg.DagsterInstance) -> dict[str, bool]:
    """The newest evaluation of each check, as the UI shows it."""
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(dg.AssetKey(check.asset), check.name) for check in ALL]
    )
    return {
        f"{key.asset_key.to_user_string()}/{key.name}": record.evaluation.passed
        for key, record in newest.items()
        if record.evaluation is not None
    }


def test_every_source_of_runs_has_a_liveness_check_and_metrics() -> None:
    assert {check.asset for check in CONSUMERS_ALIVE} == {
        "bets",
        "events",
        "notifications",
        "confirmation_mails",
    }
    assert len(cloud_metrics.SOURCES) == len(CONSUMERS_ALIVE)
    assert "confirmations" in cloud_metrics.SOURCES


def test_every_asset_that_a_live_run_keeps_has_a_freshness_policy() -> None:
    specs = {spec.key.to_user_string(): spec for spec in build_definitions().resolve_all_asset_specs()}
    assert {name for name, spec in specs.items() if spec.freshness_policy == LIVE} == LIVE_ASSETS
    real_time = {name for name, spec in specs.items() if "real_time" in spec.tags}
    assert real_time <= LIVE_ASSETS


def test_the_windows_are_reported_on_when_none_was_closed_too() -> None:
    report = ConsumerReport(
        source="exchange-bets",
        epoch=1,
        interval_s=10.0,
        records=0,
        records_total=0,
        dead_letters=0,
        positions={},
        at_tip=True,
        lag_ms=0.0,
        watermark=None,
        open_windows=0,
        sinks={},
        closed_windows=(),
    )
    (event,) = _windows(report)
    assert event.asset_key == dg.AssetKey("odds_windows")
    assert event.partition in {
        (datetime.now(UTC) - timedelta(seconds=late)).date().isoformat() for late in (0, 60)
    }
    assert event.metadata["closed"].value == 0


@pytest.mark.long
def test_a_check_that_can_not_be_evaluated_does_not_stay_passed(watched: Watched) -> None:
    with dg.instance_for_test() as instance:
        watched.tick(instance)
        assert shown(instance)["bet_history/lake_agrees"]
        watched.lake_is_away = True
        watched.clock.ahead_s = EVALUATED_WITHIN_S - 60
        watched.tick(instance)
        assert shown(instance)["bet_history/lake_agrees"]
        watched.clock.ahead_s = EVALUATED_WITHIN_S + 60
        said = watched.tick(instance)
        assert "bet_history/lake_agrees: not evaluated for 6 minutes: lake: no route to its catalog" in said
        assert not shown(instance)["bet_history/lake_agrees"]
        assert not shown(instance)["odds_windows/windows_agree"]
        assert shown(instance)["bets/no_new_dead_letters"]
        watched.lake_is_away = False
        watched.clock.ahead_s += 61
        assert "lake_agrees" not in watched.tick(instance).partition("FAILED")[2]
        assert shown(instance)["bet_history/lake_agrees"]


def test_all_well_is_not_said_while_something_could_not_be_looked_at(watched: Watched) -> None:
    with dg.instance_for_test() as instance:
        watched.lake_is_away = True
        said = watched.tick(instance)
        assert said.startswith("NOT EVALUATED")
        assert "bet_history/lake_agrees: lake: no route to its catalog" in said


def test_a_check_that_breaks_fails_and_silences_no_other(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a damaged file")

    monkeypatch.setattr("exchange_platform.operations.checks.windows_agree", broken)
    with dg.instance_for_test() as instance:
        said = watched.tick(instance)
        assert "odds_windows/windows_agree: it could not be evaluated: RuntimeError: a damaged file" in said
        assert not shown(instance)["odds_windows/windows_agree"]
        assert shown(instance)["bet_history/lake_agrees"]
        assert shown(instance)["profiles/money_conserved"]


@pytest.mark.long
def test_a_failed_run_fails_a_check_for_ten_minutes(watched: Watched) -> None:
    with dg.instance_for_test() as instance:
        watched.tick(instance)
        assert shown(instance)["bets/no_failed_runs"]
        run = create_run_for_test(instance, job_name="replay", status=dg.DagsterRunStatus.STARTED)
        instance.report_run_failed(run, "no such file")
        watched.clock.ahead_s = 16
        said = watched.tick(instance)
        assert f"bets/no_failed_runs: 1 runs failed in ten minutes: {run.run_id[:8]} of replay" in said
        assert not shown(instance)["bets/no_failed_runs"]
        now = datetime.now(UTC)
        assert [failed.run_id for failed in failed_runs(instance, now=now)] == [run.run_id]
        assert failed_runs(instance, now=now + timedelta(minutes=11)) == []


def test_the_sensor_opens_the_lake_within_its_part_of_the_code_servers_memory(watched: Watched) -> None:
    with dg.instance_for_test() as instance:
        watched.tick(instance)
    assert watched.lakes_mb
    assert set(watched.lakes_mb) == {SENSOR_LAKE_MB}
