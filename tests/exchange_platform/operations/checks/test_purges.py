"""The check of the purges fails when days of backlog are left, when a round fails, and when rounds are
missed; else it is quiet.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.operations.checks import CheckOutcome, purges_keep_up
from exchange_platform.operations.purges import DAY_US
from exchange_platform.process.clock import SystemClock
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.purge_rounds import Purged, PurgeRounds
from tests.support.prepared import prepare_database

HOUR_US = 3_600_000_000


class SetClock(SystemClock):
    """Stands until it is set."""

    us = 1_800_000_000_000_000

    def now_us(self) -> int:
        return self.us


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.operational_database_url)
    prepare_database(database)
    yield database
    database.dispose()


def begin_a_consumer(database: Database, clock: SetClock) -> None:
    ConsumerRows(database).begin("exchange-bets", "r", now_us=clock.us, ends_at_us=0)


def round_of(database: Database, clock: SetClock, purged: Purged, purge: str = "orders") -> None:
    PurgeRounds(database, clock).run(purge, lambda: purged)


def asked(database: Database, settings: Settings, clock: SetClock) -> CheckOutcome:
    return purges_keep_up(database, settings, clock)


def test_a_backlog_of_days_fails_with_its_figures(
    database: Database, settings: Settings, clock: SetClock
) -> None:
    round_of(database, clock, Purged(200, 4_367, 11 * DAY_US))
    round_of(database, clock, Purged(9), "mails")
    outcome = asked(database, settings, clock)
    assert not outcome.passed
    assert "orders: 4367 left, the oldest overdue for 11.0 days" in outcome.description
    assert "mails" not in outcome.description
    assert outcome.figures == {"purges": 2, "deleted": 209, "left": 4_367, "overdue_days": 11.0}


def test_a_backlog_of_hours_passes_and_is_shown(
    database: Database, settings: Settings, clock: SetClock
) -> None:
    round_of(database, clock, Purged(200, 50, 3 * HOUR_US))
    outcome = asked(database, settings, clock)
    assert outcome.passed
    assert "leave 50, the oldest overdue for 3.0 hours" in outcome.description


def test_a_backlog_grows_older_between_rounds(
    database: Database, settings: Settings, clock: SetClock
) -> None:
    round_of(database, clock, Purged(200, 50, 23 * HOUR_US))
    assert asked(database, settings, clock).passed
    clock.us += 2 * HOUR_US
    assert not asked(database, settings, clock).passed


def test_how_long_a_backlog_may_be_is_a_setting(
    database: Database, settings: Settings, clock: SetClock
) -> None:
    round_of(database, clock, Purged(200, 50, 11 * DAY_US))
    patient = settings.model_copy(update={"purge_behind_days": 12.0})
    assert asked(database, patient, clock).passed


def test_a_round_that_failed_fails_the_check_with_its_reason(
    database: Database, settings: Settings, clock: SetClock
) -> None:
    round_of(database, clock, Purged(1))

    def fails() -> Purged:
        raise PermissionError("AccessDenied: s3:ListBucket")

    with pytest.raises(PermissionError):
        PurgeRounds(database, clock).run("lake_orphans", fails)
    outcome = asked(database, settings, clock)
    assert not outcome.passed
    assert "lake_orphans: the newest round failed: PermissionError: AccessDenied" in outcome.description


def test_rounds_that_are_missed_while_the_platform_runs_fail(
    database: Database, settings: Settings, clock: SetClock
) -> None:
    begin_a_consumer(database, clock)
    round_of(database, clock, Purged(1))
    for _ in range(19):
        clock.us += HOUR_US // 4
        begin_a_consumer(database, clock)
    outcome = asked(database, settings, clock)
    assert not outcome.passed
    assert "orders: no round has finished for 5 hours" in outcome.description


def test_a_stop_over_the_weekend_is_no_missed_round(
    database: Database, settings: Settings, clock: SetClock
) -> None:
    round_of(database, clock, Purged(1))
    clock.us += HOUR_US
    begin_a_consumer(database, clock)
    clock.us += 60 * HOUR_US
    begin_a_consumer(database, clock)
    clock.us += HOUR_US
    assert asked(database, settings, clock).passed


def test_a_new_platform_passes_before_its_first_round(
    database: Database, settings: Settings, clock: SetClock
) -> None:
    begin_a_consumer(database, clock)
    clock.us += HOUR_US
    assert asked(database, settings, clock).passed


def test_a_platform_that_ran_for_long_without_any_round_is_not_called_well(
    database: Database, settings: Settings, clock: SetClock
) -> None:
    begin_a_consumer(database, clock)
    clock.us += 30 * HOUR_US
    outcome = asked(database, settings, clock)
    assert not outcome.passed
    assert not outcome.compared
