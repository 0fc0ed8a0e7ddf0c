"""Applications that are killed while they submit: no acknowledged bet is lost, none is placed twice, at every
boundary.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import sqlalchemy as sa

from exchange_platform.domain.bet_requests import decode_answer
from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.orders import PlaceOrder, decode_order
from exchange_platform.operations import checks
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.database import Database, bets
from exchange_platform.stores.operational.tables.wallets import order_outbox
from exchange_platform.stores.schema import migrate_database
from exchange_platform.streams.sources.kinesis import KinesisSource, ensure_stream
from exchange_platform.submission import BetSubmission
from tests.exchange_platform.answering import AnsweringExchange
from tests.exchange_platform.betting import EVENT, MARKET, add_account, add_event, add_market, order
from tests.exchange_platform.stores.bet_tables import applied
from tests.faults.submitting_process import Point, submit_until_killed
from tests.support.platform_parts import wait_for

KILLS = 20
BETS_A_PROCESS = 6


def _killed(settings: Settings, point: Point, passes: int, names: list[str]) -> dict[str, str]:
    """What a process acknowledged before it was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.submitting_process"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=submit_until_killed, args=(settings, point, passes, names, there))
    process.start()
    there.close()
    answers = dict(_received(here))
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    return answers


def _received(here: Connection) -> list[tuple[str, str]]:
    received: list[tuple[str, str]] = []
    while True:
        try:
            received.append(here.recv())
        except EOFError:
            return received


def _orders(settings: Settings) -> list[bytes]:
    """Everything in the stream of orders."""
    source = KinesisSource(aws_client(settings, "kinesis"), settings.orders_stream)
    (shard,) = source.shards()
    source.seek(shard.name, None)
    found: list[bytes] = []
    while True:
        read = source.read(shard.name)
        found += [record.data for record in read.records]
        if not read.records and not read.behind_ms:
            source.close()
            return found


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", list(Point))
def test_twenty_kills_lose_no_acknowledged_bet_and_double_none(
    settings: Settings, point: Point, tmp_path: Path
) -> None:
    chance = random.Random(point.value)
    database = Database(settings.operational_database_url, durable=True)
    migrate_database(database)
    add_event(database)
    add_market(database)
    add_account(database, funds_minor=10**6)
    ensure_stream(aws_client(settings, "kinesis"), settings.orders_stream)
    acknowledged: dict[str, str] = {}
    asked: list[str] = []
    for kill in range(KILLS):
        # Some of what the one before was asked for is asked again: it may have been answered, or not.
        names = [*asked[-2:], *(f"s{kill}-{number}" for number in range(BETS_A_PROCESS))]
        answers = _killed(settings, point, chance.randrange(1, 3), names)
        for name, answer in answers.items():
            assert acknowledged.setdefault(name, answer) == answer
        asked += [name for name in names if name not in asked]
        assert checks.money_conserved(database).passed

    with BetSubmission(settings, database=database) as submission:
        final = {name: submission.submit(order(name, stake_minor=100)) for name in asked}
    for name, answer in acknowledged.items():
        assert final[name] == decode_answer(answer)

    def published() -> bool:
        with database.read() as connection:
            waiting = sa.select(sa.func.count()).where(order_outbox.c.published_at_us.is_(None))
            return connection.execute(waiting).scalar_one() == 0

    with BetSubmission(settings, database=database):
        wait_for(published, what="a relay")  # the relay alone
    with database.read() as connection:
        stored = set(connection.execute(sa.select(bets.c.bet_id)).scalars())
    assert stored == {answer.bet.bet_id for answer in final.values()}
    assert len(stored) == len(asked)

    records = _orders(settings)
    sent = Counter(decode_order(data).bet_id for data in records)
    assert set(sent) == stored
    assert all(isinstance(decode_order(data), PlaceOrder) for data in records)
    exchange = AnsweringExchange(
        tmp_path / "exchange.sqlite", SYSTEM_CLOCK, winners={MARKET: 1}, selections=3, event_id=EVENT
    )
    exchange.take(records, len(records))
    assert exchange.desk.counts["taken"] == len(stored)
    assert exchange.desk.counts["repeats"] == len(records) - len(stored)
    assert all(verdict.applied for verdict in applied(database, exchange.told))
    with database.read() as connection:
        statuses = set(connection.execute(sa.select(bets.c.status)).scalars())
    assert statuses == {BetStatus.OPEN.value}
    for outcome in (
        checks.money_conserved(database),
        checks.bets_conserved(database),
        checks.books_balanced(database),
        checks.reservations_backed(database),
    ):
        assert outcome.passed, outcome.description
    print(
        f"{point.value}: {len(asked)} bets, {len(acknowledged)} acknowledged, {len(records) - len(stored)} repeats"
    )
    exchange.journal.close()
    database.dispose()
