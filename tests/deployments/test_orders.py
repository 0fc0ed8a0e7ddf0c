"""Dagster's part in orders: the sensor that asks for a run only when some are stuck, the job, and the
resource.
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
import sqlalchemy as sa

from deployments.local import build_definitions
from exchange_platform.domain.bets import BetStatus
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.tables.wallets import order_outbox
from exchange_platform.streams.sources.kinesis import ensure_stream
from exchange_platform.submission import BetSubmission
from resources.platform import PlatformResource
from resources.submission import BetSubmissionResource
from sensors.orders import orders_sensor
from tests.exchange_platform.betting import add_account, add_event, add_market, order
from tests.exchange_platform.recording import RecordingStream
from tests.support.platform_parts import environment
from tests.support.prepared import prepare_database


@pytest.fixture
def platform(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlatformResource]:
    """A platform whose operational database has an account with money and an open market."""
    for name, value in environment(settings).items():
        if name.startswith("EXCHANGE_PLATFORM_"):
            monkeypatch.setenv(name, value)
    platform = PlatformResource(data_dir=str(settings.data_dir))
    prepare_database(platform.database)
    add_event(platform.database)
    add_market(platform.database)
    add_account(platform.database, funds_minor=5000)
    ensure_stream(aws_client(settings, "kinesis"), settings.orders_stream)
    yield platform
    platform.database.dispose()


def _left(platform: PlatformResource, age_s: float) -> None:
    """A bet whose process died before the put, so long ago."""
    stream = RecordingStream()
    stream.away = True
    with BetSubmission(platform.settings, database=platform.database, publisher=stream) as submission:
        submission.submit(order())
    with platform.database.write() as connection:
        for table, column in (("order_outbox", "ordered_at_us"), ("pending_bets", "since_us")):
            connection.execute(sa.text(f"UPDATE {table} SET {column} = {column} - {int(age_s * 1e6)}"))


def _unpublished(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(
            sa.select(sa.func.count()).where(order_outbox.c.published_at_us.is_(None))
        ).scalar_one()


def test_a_run_is_requested_only_while_orders_wait_and_once_a_minute(platform: PlatformResource) -> None:
    context = dg.build_sensor_context(resources={"platform": platform})
    quiet = orders_sensor(context)
    assert isinstance(quiet, dg.SkipReason)
    assert quiet.skip_message == "0 orders wait to be published; 0 bets are PENDING, the oldest for 0.0 s"
    _left(platform, age_s=45)
    requested = orders_sensor(context)
    assert isinstance(requested, dg.SensorResult)
    assert requested.run_requests is not None
    assert "1 bets are PENDING for more than 30 s" in requested.run_requests[0].tags["reason"]
    again = orders_sensor(dg.build_sensor_context(cursor=context.cursor, resources={"platform": platform}))
    assert isinstance(again, dg.SkipReason)
    assert "requested 0 s ago" in str(again.skip_message)


def test_the_job_publishes_what_was_left_and_says_who_can_not_be_asked(platform: PlatformResource) -> None:
    _left(platform, age_s=45)
    job = build_definitions({"platform": platform}).resolve_job_def("reconcile_orders")
    result = job.execute_in_process(raise_on_error=False)
    assert _unpublished(platform.database) == 0
    assert result.output_for_node("relay_orders") == 1
    assert not result.success  # no exchange is configured here
    failure = result.failure_data_for_node("ask_the_exchange")
    assert failure is not None
    assert failure.error is not None
    assert "EXCHANGE_URL" in str(failure.error.cause or failure.error)


def test_an_op_submits_bets_through_the_resource(platform: PlatformResource) -> None:
    @dg.op
    def place(submission: dg.ResourceParam[BetSubmission]) -> str:
        return submission.submit(order()).bet.status.value

    @dg.job(
        resource_defs={"submission": BetSubmissionResource(data_dir=str(platform.settings.data_dir))},
        executor_def=dg.in_process_executor,
    )
    def betting() -> None:
        place()

    result = betting.execute_in_process()
    assert result.output_for_node("place") == BetStatus.PENDING.value
    assert _unpublished(platform.database) == 0
