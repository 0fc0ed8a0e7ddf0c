"""`exchange_agrees`: a record that any store lost is named, and comes back when it is asked for."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from exchange_platform.domain.bets import Bet, BetStatus
from exchange_platform.domain.records import BetUpdate, Execution
from exchange_platform.exchanges.simulated.retention import Retention
from exchange_platform.operations.checks import bets_conserved, exchange_agrees, lake_agrees, money_conserved
from exchange_platform.operations.checks.missing import request_missing
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.stores.operational.database import bets
from exchange_platform.submission.exchange_asking import ExchangeLookup
from exchange_platform.submission.reconciliation import NEVER_TAKEN
from tests.exchange_platform.exchanges.simulated.running import START_US
from tests.exchange_platform.operations.checks.exchange_world import World, traded_once, world_at
from tests.exchange_platform.operations.checks.stores import DATABASE_FILE, LAKE_FOLDER
from tests.exchange_platform.streams.gateway import running_gateway
from tests.support.prepared import copy_file, copy_lake

NOW_US = START_US + 4 * 60_000_000


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `world` is a copy of."""
    directory = tmp_path_factory.mktemp("traded")
    traded_once(directory, retention=Retention())
    return directory


@pytest.fixture
def copied(traded: Path, tmp_path: Path) -> Path:
    """A directory of the test's own with all that was traded."""
    shutil.copytree(traded / "exchange", tmp_path / "exchange")
    copy_file(traded / DATABASE_FILE, tmp_path / DATABASE_FILE)
    copy_lake(traded / LAKE_FOLDER, tmp_path / LAKE_FOLDER)
    return tmp_path


@pytest.fixture
def world(copied: Path) -> Iterator[World]:
    with world_at(copied, retention=Retention(), now_us=NOW_US) as world:
        yield world


def _lake_deletes(world: World, where: str) -> None:
    with world.stores.lake._connection.write() as connection:
        connection.execute(f"DELETE FROM {where}")


def _asks_and_gets(world: World) -> int:
    """Ask for what is missing, twice; how many market minutes were asked for."""
    clock = world.running.clock
    requested = request_missing(world.stores.database, world.stores.lake, world.exchange, clock)
    again = request_missing(world.stores.database, world.stores.lake, world.exchange, clock)
    assert requested == again
    assert requested.reported
    assert not requested.not_held
    assert world.serve()
    assert not world.requests.waiting()
    return len(requested.spans)


def _all_is_well(world: World) -> None:
    outcome = world.agrees()
    assert outcome.passed, outcome.description
    for other in (money_conserved, bets_conserved):
        assert other(world.stores.database).passed, other(world.stores.database).description
    lake = lake_agrees(world.stores.database, world.stores.lake, wait=lambda _: None)
    assert lake.passed, lake.description


def _settled(world: World) -> BetUpdate:
    """A bet that was settled, in a minute that is compared."""
    newest = {one.bet_id: one for one in world.records if isinstance(one, BetUpdate)}
    return next(
        bet
        for bet in newest.values()
        if bet.status is BetStatus.SETTLED and bet.profit_minor and bet.placed_at.minute % 60
    )


def test_stores_that_have_everything_agree_with_the_exchange(world: World) -> None:
    outcome = world.agrees()
    assert outcome.passed, outcome.description
    executions = [one for one in world.records if isinstance(one, Execution)]
    assert 0.4 * len(executions) < outcome.figures["executions"] <= len(executions)  # type: ignore[operator]
    assert outcome.figures["bets"]
    _all_is_well(world)


def test_an_execution_deleted_from_the_lake_is_named_and_comes_back(world: World) -> None:
    counts = Counter(
        (one.market_id, one.executed_at.replace(second=0, microsecond=0))
        for one in world.records
        if isinstance(one, Execution)
    )
    lost = next(one for one in world.records[len(world.records) // 2 :] if isinstance(one, Execution))
    minute = lost.executed_at.replace(second=0, microsecond=0)
    _lake_deletes(world, f"executions WHERE execution_id = '{lost.execution_id}'")
    outcome = world.agrees()
    assert not outcome.passed
    held = counts[lost.market_id, minute]
    assert f"market {lost.market_id} at {minute:%Y-%m-%d %H:%M} UTC: the exchange has {held} executions" in (
        outcome.description
    )
    assert f"the lake {held - 1} of" in outcome.description
    assert outcome.wrong == (minute.isoformat(),)
    assert _asks_and_gets(world) == 1
    _all_is_well(world)


@pytest.mark.long
def test_a_bets_version_deleted_from_the_lake_is_named_and_comes_back(world: World) -> None:
    lost = _settled(world)
    _lake_deletes(world, f"bet_history WHERE bet_id = '{lost.bet_id}' AND version = {lost.version}")
    outcome = world.agrees()
    assert not outcome.passed
    assert f"such as bet {lost.bet_id} at version {lost.version} (bet_history)" in outcome.description
    assert _asks_and_gets(world) == 1
    _all_is_well(world)


def test_an_amount_changed_in_the_lake_is_found(world: World) -> None:
    with world.stores.lake._connection.write() as connection:
        connection.execute(
            f"UPDATE bet_history SET matched_minor = matched_minor + 1 WHERE bet_id = '{_settled(world).bet_id}'"
        )
    outcome = world.agrees()
    assert not outcome.passed
    assert "the lake others" in outcome.description


def test_a_bet_deleted_from_the_operational_database_is_named_and_comes_back_with_its_money_counted_once(
    world: World,
) -> None:
    lost = _settled(world)
    with world.stores.database.read() as connection:
        before = connection.execute(sa.select(bets).where(bets.c.bet_id == lost.bet_id)).one()
    world.stores.sql("DELETE FROM bets WHERE bet_id = :bet_id", bet_id=lost.bet_id)
    outcome = world.agrees()
    assert not outcome.passed
    assert f"bet {lost.bet_id} is not in bets (operational database)" in outcome.description
    _asks_and_gets(world)
    with world.stores.database.read() as connection:
        assert connection.execute(sa.select(bets).where(bets.c.bet_id == lost.bet_id)).one() == before
    _all_is_well(world)


def test_a_bet_changed_in_the_operational_database_is_named(world: World) -> None:
    lost = _settled(world)
    world.stores.sql("UPDATE bets SET commission_minor = 1 WHERE bet_id = :bet_id", bet_id=lost.bet_id)
    outcome = world.agrees()
    assert not outcome.passed
    assert f"bet {lost.bet_id} at version {lost.version} differs in bets" in outcome.description


@pytest.mark.long
def test_a_whole_batch_that_no_store_has_comes_back_in_all_of_them(world: World) -> None:
    """What a stream that died took along: nobody has it, and every position has passed it."""
    lost = world.trade(60, taken=False)
    assert any(isinstance(one, Execution) for one in lost)
    world.stores.to_both([])
    for _ in range(2):
        world.trade(60)
    outcome = world.agrees()
    assert not outcome.passed
    assert _asks_and_gets(world)
    _all_is_well(world)


@pytest.mark.long
def test_what_is_still_on_its_way_is_not_taken_for_lost(world: World) -> None:
    on_its_way = world.trade(60, acknowledged=False, taken=False)
    assert on_its_way
    outcome = world.agrees()
    assert outcome.passed, outcome.description
    for _ in range(17):
        world.trade(60, acknowledged=False, taken=False)
    outcome = world.agrees()
    assert not outcome.passed
    assert "the stores have not committed what happened on the exchange since" in outcome.description


def test_what_the_exchange_no_longer_holds_is_named_and_not_asked_for(copied: Path) -> None:
    retention = Retention(retained_s=1, records_kept_s=100)
    with world_at(copied, retention=retention, now_us=NOW_US) as world:
        for _ in range(2):
            world.trade(60)
        lost = next(
            one for one in world.records if isinstance(one, Execution) and one.executed_at.second < 20
        )
        first = next(
            one
            for one in world.records
            if isinstance(one, Execution)
            and one.executed_at >= lost.executed_at.replace(second=0, microsecond=0) + timedelta(minutes=1)
        )
        _lake_deletes(world, f"executions WHERE execution_id = '{first.execution_id}'")
        assert not world.agrees().passed
        requested = request_missing(
            world.stores.database, world.stores.lake, world.exchange, world.running.clock
        )
        minute = first.executed_at.replace(second=0, microsecond=0).isoformat()
        assert list(requested.not_held) == [(first.market_id, minute)]
        assert not requested.spans
        assert not world.requests.waiting()


@pytest.mark.long
def test_rounds_reach_every_minute_and_stay_at_what_is_wrong(world: World) -> None:
    for _ in range(18):
        world.trade(60)
    lost = next(one for one in world.records if isinstance(one, Execution) and one.executed_at.minute % 2)
    minute = lost.executed_at.replace(second=0, microsecond=0)
    if minute < world.exchange.report(minute, minute).since:  # type: ignore[union-attr]
        minute += timedelta(minutes=2)
        lost = next(
            one
            for one in world.records
            if isinstance(one, Execution) and minute <= one.executed_at < minute + timedelta(minutes=1)
        )
    _lake_deletes(world, f"executions WHERE execution_id = '{lost.execution_id}'")
    progress, outcomes = "", []
    for _ in range(3):
        outcome = world.agrees(progress)
        progress = outcome.reached or ""
        outcomes.append(outcome)
    assert not outcomes[-1].passed
    assert outcomes[-1].wrong == (minute.isoformat(),)
    assert (
        max(int(one.figures["market_minutes"]) for one in outcomes)
        < int(world.agrees().figures["market_minutes"]) + 1
    )
    _asks_and_gets(world)
    assert world.agrees(progress).passed


def test_an_exchange_without_a_report_is_not_compared_and_not_passed(world: World, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with running_gateway(tmp_path / "empty") as url:
        for address in (url, f"{url}/elsewhere"):
            exchange = ExchangeLookup(address)
            outcome = exchange_agrees(world.stores.database, world.stores.lake, exchange, SYSTEM_CLOCK, "")
            assert not outcome.compared
            assert not outcome.passed
            assert "gives no report" in outcome.description
            assert not request_missing(
                world.stores.database, world.stores.lake, exchange, SYSTEM_CLOCK
            ).reported
            exchange.close()


def test_what_the_platform_itself_closed_and_other_exchanges_records_are_no_difference(world: World) -> None:
    bet = next(one for one in world.records if isinstance(one, BetUpdate))
    closed = msgspec.structs.replace(
        bet,
        bet_id="never-taken",
        user_id="user-x",
        version=2,
        status=BetStatus.LAPSED,
        result=None,
        remaining_minor=0,
        matched_minor=0,
        cancelled_minor=0,
        voided_minor=0,
        profit_minor=0,
        commission_minor=0,
        matched_winnings_minor=0,
        lapsed_minor=bet.stake_minor,
        reason=NEVER_TAKEN,
    )
    elsewhere = msgspec.structs.replace(
        next(one for one in world.records if isinstance(one, Execution)),
        execution_id="recorded-1",
        market_id="1.200806927",
        back_bet_id=None,
        lay_bet_id=None,
    )
    assert isinstance(closed, Bet)
    world.stores.to_both([closed, elsewhere])
    _all_is_well(world)
