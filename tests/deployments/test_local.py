"""The local deployment's definitions, and its parts run by Dagster against real stores."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.test_utils import create_run_for_test

from assets.checks import ALL, CONSUMERS_ALIVE, EXCHANGE_AGREES, Check
from deployments.local import build_definitions
from exchange_platform.confirmation.service import AccountService, Registration
from exchange_platform.domain.accounts import MailChoice
from exchange_platform.domain.records import encode
from exchange_platform.local.emulator.server import ensure_topic
from exchange_platform.notifications.run import build_notifier
from exchange_platform.operations import checks
from exchange_platform.operations.checks import EVERYTHING
from exchange_platform.operations.supervision import AllRequests, Requests
from exchange_platform.process.clock import SYSTEM_CLOCK, SystemClock
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.dynamodb.confirmation_tokens import ConfirmationTokens, ensure_tokens_table
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.accounts.accounts import Accounts
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import bets, profiles
from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.streams.sources.kinesis import Publisher, ensure_stream
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from resources.platform import PlatformResource
from sensors.exchange_bets import exchange_bets_sensor
from sensors.reconciliation import reconciliation_sensor
from tests.exchange_platform.stores.bet_lives import matched, opened
from tests.support.notification_parts import change, register
from tests.support.prepared import prepare
from tests.support.workload import START, matched_pairs

CHECKS: dict[str, Check] = {check.key: check for check in ALL}
ALIVE = {check.key for check in CONSUMERS_ALIVE}
NOT_COMPARED = {EXCHANGE_AGREES.key}
"""No exchange is there to give a report, so nothing is known and nothing is shown."""


def _passes(check: str, platform: PlatformResource) -> bool:
    return CHECKS[check].ask(platform, EVERYTHING).passed


class _InAWeek(SystemClock):
    def now_us(self) -> int:
        return super().now_us() + 8 * 86_400_000_000


@pytest.fixture
def platform(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlatformResource]:
    platform = _prepared(settings, monkeypatch)
    yield platform
    platform.database.dispose()


def _prepared(settings: Settings, environment: pytest.MonkeyPatch) -> PlatformResource:
    for name in ("aws_endpoint_url", "bets_stream", "profiles_table", "tokens_table", "status_topic"):
        environment.setenv(f"EXCHANGE_PLATFORM_{name.upper()}", str(getattr(settings, name)))
    prepare(settings)
    return PlatformResource(data_dir=str(settings.data_dir))


@pytest.fixture(scope="module")
def consumed_data(tmp_path_factory: pytest.TempPathFactory, emulator_url: str) -> Path:
    """The data directory of a platform that has consumed a small workload. Copy it."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("consumed") / "data",
        aws_endpoint_url=emulator_url,
        bets_stream="exchange-bets-consumed",
        profiles_table="profiles-consumed",
        tokens_table="confirmation-tokens-consumed",
        status_topic="bet-status-consumed",
    )
    with pytest.MonkeyPatch.context() as environment:
        platform = _prepared(settings, environment)
        _consumed(platform, 20)
    platform.database.dispose()
    return settings.data_dir


@pytest.fixture
def consumed(consumed_data: Path, tmp_path: Path) -> Iterator[PlatformResource]:
    """A platform whose stores a test may corrupt; it has no streams."""
    shutil.copytree(consumed_data, tmp_path / "data")
    platform = PlatformResource(data_dir=str(tmp_path / "data"))
    yield platform
    platform.database.dispose()


def _publish(platform: PlatformResource, pairs: int) -> int:
    """Publish a workload; returns when it was, by the wall clock."""
    settings = platform.settings
    kinesis = aws_client(settings, "kinesis")
    ensure_stream(kinesis, settings.bets_stream)
    records = list(matched_pairs(pairs))
    Publisher(kinesis, settings.bets_stream).publish(
        [(record.market_id, encode(record)) for record in records]
    )
    return SYSTEM_CLOCK.now_us()


def _stop_when_caught_up(platform: PlatformResource, consumer: Consumer, since_us: int) -> None:
    rows = ConsumerRows(platform.database)
    caught_up = threading.Event()
    while not caught_up.wait(0.05):
        newest = rows.newest(EXCHANGE_BETS)
        if newest is not None and (newest.caught_up_at_us or 0) > since_us:
            consumer.stop()
            caught_up.set()


def test_a_run_mails_the_confirmation_of_a_new_account(platform: PlatformResource) -> None:
    settings = platform.settings
    dynamodb = aws_client(settings, "dynamodb")
    ensure_tokens_table(dynamodb, settings.tokens_table)
    service = AccountService(settings, platform.database, ConfirmationTokens(dynamodb, settings.tokens_table))
    service.register(Registration.checked("ann@example.com", "Ann", "GBP", MailChoice.ALL), "192.0.2.1")
    job = build_definitions({"platform": platform}).resolve_job_def("confirm_accounts")
    with dg.instance_for_test() as instance:
        result = job.execute_in_process(
            instance=instance, run_config={"ops": {"mail_confirmations": {"config": {"duration_s": 2}}}}
        )
        (event,) = instance.fetch_materializations(dg.AssetKey("confirmation_mails"), limit=1).records
    assert result.success
    assert event.asset_materialization is not None
    figures = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert (figures["sent"], figures["failed"], figures["oldest_waiting_s"]) == (1, 0, 0.0)
    (mail,) = (settings.data_dir / "mail").glob("**/*.eml")
    assert "ann@example.com" in mail.read_text()


def test_a_run_mails_and_publishes_the_changes_of_bets(platform: PlatformResource) -> None:
    settings = platform.settings
    sns = aws_client(settings, "sns")
    ensure_topic(sns, settings.status_topic)
    register(platform.database, "ann")
    bet = opened(user_id="ann")
    change(platform.database, bet, matched(bet))
    job = build_definitions({"platform": platform}).resolve_job_def("notify_users")
    with dg.instance_for_test() as instance:
        result = job.execute_in_process(
            instance=instance, run_config={"ops": {"deliver_notifications": {"config": {"duration_s": 3}}}}
        )
        (event,) = instance.fetch_materializations(dg.AssetKey("notifications"), limit=1).records
    assert result.success
    assert event.asset_materialization is not None
    figures = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert (figures["mail sent"], figures["mail failed"], figures["mail oldest_waiting_s"]) == (2, 0, 0.0)
    assert (figures["topic published"], figures["topic waiting"]) == (2, 0)
    assert len(list((settings.data_dir / "mail").glob("*.eml"))) == 2


def test_old_accounts_that_nobody_confirmed_are_deleted(
    platform: PlatformResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.housekeeping.SYSTEM_CLOCK", _InAWeek())
    tokens = ConfirmationTokens(aws_client(platform.settings, "dynamodb"), platform.settings.tokens_table)
    service = AccountService(platform.settings, platform.database, tokens)
    service.register(Registration.checked("ann@example.com", "Ann", "GBP", MailChoice.ALL), "192.0.2.1")
    assert build_definitions({"platform": platform}).resolve_job_def("purge").execute_in_process().success
    assert Accounts(platform.database).counts() == {}


def _consumed(platform: PlatformResource, pairs: int = 100) -> None:
    """Publish a workload and consume it to the tip."""
    since_us = _publish(platform, pairs)
    consumer = platform.bets_consumer("a-test", 40)
    watcher = threading.Thread(target=_stop_when_caught_up, args=(platform, consumer, since_us))
    watcher.start()
    for report in consumer.run():
        assert report.final
    watcher.join()
    _notified(platform)


def _notified(platform: PlatformResource) -> None:
    """Deliver every change, as `notify_users` does."""
    sns = aws_client(platform.settings, "sns")
    ensure_topic(sns, platform.settings.status_topic)
    run = build_notifier(platform.settings, run_id="a-test", duration_s=40, report_interval_s=0.2)
    for report in run.run():
        if report.final or checks.notifications_delivered(platform.database, SYSTEM_CLOCK).passed:
            run.stop()


def test_the_definitions_load_with_every_part() -> None:
    definitions = build_definitions()
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert names == {
        "exchange_bets_stream",
        "bets",
        "profiles",
        "profile_view",
        "executions",
        "bet_history",
        "odds_windows",
        "exchange_feed",
        "events",
        "event_index",
        "notifications",
        "confirmation_mails",
    }
    assert {f"{key.asset_key.to_user_string()}/{key.name}" for key in graph.asset_check_keys} == set(CHECKS)
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.group_name != "default"
        assert node.owners


def test_a_consumer_run_materialises_its_assets_from_the_stream(platform: PlatformResource) -> None:
    _publish(platform, 100)
    job = build_definitions({"platform": platform}).resolve_job_def("consume_bets")
    with dg.instance_for_test() as instance:
        result = job.execute_in_process(
            instance=instance,
            run_config={"ops": {"exchange_bets_consumer": {"config": {"duration_s": 4}}}},
        )
    assert result.success
    with platform.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(bets)).scalar_one() == 200
    with platform.lake() as lake:
        assert lake.counts().executions == 100
    materialised = {
        event.asset_key.to_user_string()
        for event in result.all_events
        if event.is_step_materialization and event.asset_key is not None
    }
    assert {"bets", "profiles", "profile_view", "executions", "bet_history"} <= materialised


def _tick(instance: dg.DagsterInstance, platform: PlatformResource, cursor: str | None) -> tuple[str, str]:
    """One tick of the reconciliation sensor: its reason, and the cursor for the next one."""
    context = dg.build_sensor_context(instance, cursor=cursor, resources={"platform": platform})
    reason = reconciliation_sensor(context)
    assert isinstance(reason, dg.SkipReason)
    return str(reason.skip_message), str(context.cursor)


def _shown(instance: dg.DagsterInstance) -> dict[str, bool]:
    """The newest evaluation of each check, as the UI shows it."""
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(dg.AssetKey(check.asset), check.name) for check in ALL]
    )
    return {
        f"{key.asset_key.to_user_string()}/{key.name}": record.evaluation.passed  # type: ignore[union-attr]
        for key, record in newest.items()
    }


def test_every_check_passes_on_good_data_and_reports_without_a_run(platform: PlatformResource) -> None:
    _consumed(platform)
    with dg.instance_for_test() as instance:
        reason, cursor = _tick(instance, platform, None)
        assert _shown(instance) == dict.fromkeys(set(CHECKS) - ALIVE - NOT_COMPARED, True)
        assert "checks passed" in reason
        # No consumer runs: that counts when a second tick sees it too, as a successor may be on its way.
        reason, _ = _tick(instance, platform, cursor)
        shown = dict.fromkeys(set(CHECKS) - NOT_COMPARED, True) | dict.fromkeys(ALIVE, False)
        assert _shown(instance) == shown
        assert reason.startswith("FAILED bets/consumer_alive")


@pytest.mark.long
def test_a_failure_stays_until_it_is_mended(
    platform: PlatformResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    _consumed(platform, 20)
    monkeypatch.setattr("sensors.reconciliation.ROUND_S", 0)
    with dg.instance_for_test() as instance:
        _change(
            platform,
            "UPDATE profiles SET balance_minor = balance_minor + 1 WHERE user_id = (SELECT min(user_id) FROM profiles)",
        )
        cursor = None
        for _ in range(2):
            reason, cursor = _tick(instance, platform, cursor)
            assert reason.startswith("FAILED")
            assert "profiles/money_conserved: user-" in reason
            assert not _shown(instance)["profiles/money_conserved"]
        _change(
            platform,
            "UPDATE profiles SET balance_minor = balance_minor - 1 WHERE user_id = (SELECT min(user_id) FROM profiles)",
        )
        _tick(instance, platform, cursor)
        assert _shown(instance)["profiles/money_conserved"]


def _change(platform: PlatformResource, statement: str) -> None:
    with platform.database.write() as connection:
        connection.execute(sa.text(statement))


@pytest.mark.parametrize(
    ("check", "corruption"),
    [
        ("profiles/money_conserved", "UPDATE profiles SET balance_minor = balance_minor + 1"),
        ("profiles/money_conserved", "DELETE FROM profiles"),
        (
            "profiles/money_conserved",
            "UPDATE ledger SET amount_minor = amount_minor + 1 WHERE account = 'exposure'",
        ),
        ("bets/bets_conserved", "UPDATE bets SET matched_minor = matched_minor + 1"),
        ("bets/bets_conserved", "UPDATE profiles SET bets = bets + 1"),
        ("bet_history/lake_agrees", "DELETE FROM bets WHERE bet_id = (SELECT min(bet_id) FROM bets)"),
    ],
)
def test_a_check_catches_what_was_corrupted(
    consumed: PlatformResource, check: str, corruption: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange_platform.operations.checks.lake._PAUSE_S", 0)
    assert _passes(check, consumed)
    _change(consumed, corruption)
    assert not _passes(check, consumed)


@pytest.mark.long
def test_a_changed_window_is_caught_and_recomputing_its_day_mends_it(platform: PlatformResource) -> None:
    _consumed(platform)
    lake = Lake.from_settings(platform.settings)
    lake.close_windows(EXCHANGE_BETS, 10**9, {market: None for market, _ in lake.open_windows()})
    with lake._connection.write() as connection:
        connection.execute("UPDATE odds_windows SET vwap = vwap + 1 WHERE selection_id = 1")
    assert not _passes("odds_windows/windows_agree", platform)
    definitions = build_definitions({"platform": platform})
    with dg.instance_for_test() as instance:
        result = dg.materialize(
            [definitions.resolve_assets_def("odds_windows")],
            partition_key=START.date().isoformat(),
            instance=instance,
        )
    assert result.success
    assert _passes("odds_windows/windows_agree", platform)
    revisions = lake.query(
        "SELECT selection_id = 1, min(revision), max(revision) FROM odds_windows GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row.values()) for row in revisions.to_pylist()] == [(False, 1, 1), (True, 2, 2)]
    lake.close()


@pytest.mark.long
def test_several_days_are_recomputed_by_one_run_and_each_is_reported(platform: PlatformResource) -> None:
    _consumed(platform)
    lake = Lake.from_settings(platform.settings)
    lake.close_windows(EXCHANGE_BETS, 10**9, {market: None for market, _ in lake.open_windows()})
    with lake._connection.write() as connection:
        connection.execute("UPDATE odds_windows SET vwap = vwap + 1 WHERE selection_id = 1")
    lake.close()
    days = [(START.date() + timedelta(days=number)).isoformat() for number in (-1, 0, 1)]
    windows = build_definitions({"platform": platform}).resolve_assets_def("odds_windows")
    with dg.instance_for_test() as instance:
        tags = {
            "dagster/asset_partition_range_start": days[0],
            "dagster/asset_partition_range_end": days[-1],
        }
        assert dg.materialize([windows], instance=instance, tags=tags).success
        records = instance.fetch_materializations(windows.key, limit=10, ascending=True).records
        changed = {
            str(record.partition_key): record.asset_materialization.metadata["changed"].value  # type: ignore[union-attr]
            for record in records[:2]
        }
        assert set(instance.get_materialized_partitions(windows.key)) == set(days)
    assert changed[days[0]] == 0
    assert int(changed[days[1]]) > 0  # type: ignore[arg-type]
    assert _passes("odds_windows/windows_agree", platform)


def test_the_sensor_requests_a_run_and_then_says_how_the_live_one_is(platform: PlatformResource) -> None:
    with dg.instance_for_test() as instance:
        context = dg.build_sensor_context(instance, resources={"platform": platform})
        first = exchange_bets_sensor(context)
        assert isinstance(first, dg.SensorResult)
        (request,) = first.run_requests or []
        assert request.run_key is not None
        assert request.run_key.startswith("exchange-bets/1/1/")
        now_us = SYSTEM_CLOCK.now_us()
        ConsumerRows(platform.database).begin(
            EXCHANGE_BETS, "a-run", now_us=now_us, ends_at_us=now_us + 10**9
        )
        second = exchange_bets_sensor(context)
    assert isinstance(second, dg.SkipReason)
    assert "alive" in (second.skip_message or "")


def test_the_sensor_ends_a_run_whose_process_is_gone(platform: PlatformResource) -> None:
    rows, now_us = ConsumerRows(platform.database), SYSTEM_CLOCK.now_us()
    with dg.instance_for_test() as instance:
        gone, lives, other = (
            create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED, tags={"source": source})
            for source in (EXCHANGE_BETS, EXCHANGE_BETS, "another")
        )
        rows.begin(EXCHANGE_BETS, gone.run_id, now_us=now_us - 60_000_000, ends_at_us=now_us + 10**9)
        rows.begin(EXCHANGE_BETS, lives.run_id, now_us=now_us, ends_at_us=now_us + 10**9)
        exchange_bets_sensor(dg.build_sensor_context(instance, resources={"platform": platform}))
        ended = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        assert [run.run_id for run in ended] == [gone.run_id]
        assert other.status is dg.DagsterRunStatus.STARTED


def test_the_sensor_ends_a_run_that_was_never_heard_of_once_no_successor_came(
    platform: PlatformResource,
) -> None:
    now_us = SYSTEM_CLOCK.now_us()
    with dg.instance_for_test() as instance:
        long_ago, just_now = (_begun(instance, now_us / 1e6 - ago_s) for ago_s in (90, 5))
        for attempts, ended in ((1, []), (2, [long_ago])):
            cursor = AllRequests().replaced(EXCHANGE_BETS, Requests(0, attempts, now_us)).to_text()
            exchange_bets_sensor(dg.build_sensor_context(instance, cursor, resources={"platform": platform}))
            failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
            assert [run.run_id for run in failed] == ended
        assert instance.get_runs(dg.RunsFilter([just_now], statuses=[dg.DagsterRunStatus.STARTED]))


def _begun(instance: dg.DagsterInstance, at_s: float) -> str:
    """The id of a run of the bets' job that began then."""
    run = create_run_for_test(instance, tags={"source": EXCHANGE_BETS})
    began = DagsterEvent(DagsterEventType.RUN_START.value, run.job_name)
    instance.report_dagster_event(began, run.run_id, timestamp=at_s)
    return str(run.run_id)


def test_the_workspace_names_this_deployment() -> None:
    text = (Path(__file__).parents[2] / "workspace.yaml").read_text()
    assert "deployments.local" in text
    assert "working_directory: ." in text


def test_profiles_follow_the_bets(platform: PlatformResource) -> None:
    _consumed(platform, 50)
    with platform.database.read() as connection:
        total = connection.execute(sa.select(sa.func.sum(profiles.c.profit_minor))).scalar_one()
    assert total == 0  # what one customer wins another loses
