"""The process reads its orders from a real stream: every shard, across a restart and a stream recreated, past
what is no order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange_platform.domain.bets import BetStatus, Side
from exchange_platform.domain.orders import PlaceOrder, encode_order
from exchange_platform.domain.records import BetUpdate, decode
from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from exchange_platform.exchanges.simulated.desk import OrderBatch
from exchange_platform.exchanges.simulated.intake import MAX_ORDERS_A_TICK, OrderIntake
from exchange_platform.exchanges.simulated.process import run
from exchange_platform.exchanges.simulated.taken_bets import TakenBets
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.streams.sources.kinesis import KinesisSource, Publisher, ensure_stream


def an_order(number: int, market_id: str = "1.1") -> PlaceOrder:
    return PlaceOrder(
        order_id=f"order-{number}",
        bet_id=f"bet-{number}",
        user_id="ann",
        market_id=market_id,
        ordered_at=datetime.now(UTC),
        event_id="1",
        selection_id=7,
        side=Side.BACK,
        odds=Decimal(2),
        currency="GBP",
        stake_minor=1000,
    )


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited 60 s in vain"
        time.sleep(0.02)


@pytest.fixture
def client(settings: Settings) -> Iterator[Any]:
    client = aws_client(settings, "kinesis")
    ensure_stream(client, settings.bets_stream)
    yield client
    client.close()


def _publish(settings: Settings, client: Any, *orders: PlaceOrder) -> None:
    publisher = Publisher(client, settings.orders_stream, aggregate=True)
    publisher.publish([(order.market_id, encode_order(order)) for order in orders])


@contextmanager
def _running(settings: Settings) -> Iterator[None]:
    stop = threading.Event()
    failures: list[BaseException] = []

    def target() -> None:
        try:
            run(settings, rate=5, seed=3, stop=stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert not failures, failures[0]


@contextmanager
def _intake(settings: Settings, positions: dict[str, str]) -> Iterator[tuple[OrderIntake, list[OrderBatch]]]:
    intake = OrderIntake(
        KinesisSource(aws_client(settings, "kinesis"), settings.orders_stream), positions, SYSTEM_CLOCK
    )
    intake.start()
    yield intake, []
    intake.stop(5)
    assert intake.failure is None


def _read(intake: OrderIntake, got: list[OrderBatch], orders: int) -> list[str]:
    def enough() -> bool:
        got.extend(intake.read())
        return sum(len(batch.orders) + batch.undecodable for batch in got) >= orders

    _until(enough)
    return [order.bet_id for batch in got for order in batch.orders]


def test_orders_of_all_shards_are_read_and_after_a_restart_only_those_that_were_not_taken(
    settings: Settings, client: Any
) -> None:
    ensure_stream(client, settings.orders_stream, shards=3)
    _publish(settings, client, *(an_order(number, f"1.{number % 10}") for number in range(60)))
    with _intake(settings, {}) as (intake, got):
        read = _read(intake, got, 60)
    assert sorted(read) == sorted(f"bet-{number}" for number in range(60))
    assert len({batch.shard for batch in got}) == 3
    positions = {batch.shard: batch.position for batch in got}
    _publish(settings, client, *(an_order(number, f"1.{number % 10}") for number in range(60, 65)))
    with _intake(settings, positions) as (intake, got):
        assert sorted(_read(intake, got, 5)) == [f"bet-{number}" for number in range(60, 65)]


def test_undecodable_orders_are_counted_and_passed_over(settings: Settings, client: Any) -> None:
    ensure_stream(client, settings.orders_stream)
    rubbish = [b"", b"{}", b"\xff", encode_order(an_order(1)).replace(b"place", b"bet")]
    Publisher(client, settings.orders_stream).publish([("1.1", data) for data in rubbish])
    _publish(settings, client, an_order(2))
    with _intake(settings, {}) as (intake, got):
        assert _read(intake, got, 5) == ["bet-2"]
    assert sum(batch.undecodable for batch in got) == 4


def test_a_flood_is_handed_on_in_pieces_that_each_end_with_a_whole_record(
    settings: Settings, client: Any
) -> None:
    ensure_stream(client, settings.orders_stream)
    orders = [an_order(number) for number in range(1800)]
    for start in range(0, 1800, 90):  # each piece is one aggregated record
        _publish(settings, client, *orders[start : start + 90])
    with _intake(settings, {}) as (intake, got):
        assert _read(intake, got, 1800) == [order.bet_id for order in orders]
    assert all(len(batch.orders) <= MAX_ORDERS_A_TICK + 90 for batch in got)
    assert all(len(batch.orders) % 90 == 0 for batch in got)
    positions = [int(batch.position) for batch in got]
    assert positions == sorted(set(positions))


@pytest.mark.long
def test_a_stream_made_anew_is_read_from_its_beginning_and_what_is_sent_again_changes_nothing(
    settings: Settings, client: Any
) -> None:
    bets = TakenBets(settings.data_dir)
    with _running(settings):  # the stream is not there yet
        _until((settings.data_dir / FEED_FILE).exists)
        ensure_stream(client, settings.orders_stream)
        _publish(settings, client, an_order(1))
        _until(lambda: bets.newest("bet-1"))
        client.delete_stream(StreamName=settings.orders_stream)
        client.get_waiter("stream_not_exists").wait(StreamName=settings.orders_stream)
        ensure_stream(client, settings.orders_stream)
        _publish(settings, client, an_order(1), an_order(2))
        _until(lambda: bets.newest("bet-2"))
    told = [bets.newest("bet-1"), bets.newest("bet-2")]
    for data in told:
        assert data is not None
        bet = decode(data)
        assert isinstance(bet, BetUpdate)
        assert (bet.status, bet.version) == (BetStatus.REJECTED, 2)
    bets.close()


def test_the_process_feeds_what_happens_and_answers_orders_of_markets_that_the_feed_shows_open(
    settings: Settings, client: Any
) -> None:
    ensure_stream(client, settings.orders_stream)
    with _running(settings):
        _until((settings.data_dir / FEED_FILE).exists)
        feed = FeedJournal(settings.data_dir / FEED_FILE)
        assert feed.wait(0, 60)
        shown = next(
            update
            for update in map(_as_json, feed.read(0, 1000).updates)
            if update["kind"] == "market" and update["status"] == "OPEN"
        )
        order = PlaceOrder(
            order_id="order-9",
            bet_id="bet-9",
            user_id="ann",
            market_id=shown["market_id"],
            ordered_at=datetime.now(UTC),
            event_id=shown["event_id"],
            selection_id=shown["selections"][0]["selection_id"],
            handicap=Decimal(shown["selections"][0].get("handicap", "0")),
            side=Side.BACK,
            odds=Decimal("1.01"),
            currency="GBP",
            stake_minor=200,
        )
        _publish(settings, client, order)
        bets = TakenBets(settings.data_dir)
        _until(lambda: bets.newest("bet-9"))
        bet = decode(bets.newest("bet-9") or b"")
        assert isinstance(bet, BetUpdate)
        assert bet.status in (BetStatus.MATCHED, BetStatus.OPEN, BetStatus.PENDING)
        feed.close()
        bets.close()


def _as_json(entry: Any) -> Any:
    import json

    return json.loads(entry.data)


def test_taken_bets_are_none_without_a_journal(tmp_path: Path) -> None:
    assert TakenBets(tmp_path).newest("bet-1") is None
