"""Orders that were left in the outbox, by a process that died or a stream that was away or is no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from exchange_platform.domain.bets import BetStatus
from exchange_platform.domain.orders import CancelOrder
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.bets.order_outbox import (
    mark_published,
    purge_published,
    unpublished,
    write_orders,
)
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.purge_rounds import Budget
from exchange_platform.stores.operational.tables.wallets import order_outbox
from exchange_platform.streams.sources.kinesis import KinesisSource, StreamUnavailable, ensure_stream
from exchange_platform.submission.order_publishing import (
    RELAY_AFTER_S,
    RELAY_EVERY_S,
    RESENT_S,
    OrderRelay,
    orders_publisher,
)
from tests.exchange_platform.betting import NOW, NOW_US, SetClock
from tests.exchange_platform.recording import RecordingStream
from tests.exchange_platform.stores.bet_lives import later, opened
from tests.exchange_platform.stores.bet_tables import applied, new_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_database(tmp_path) as database:
        yield database


def leave(database: Database, *names: str, age_s: float = 10.0) -> None:
    """Leave orders in the outbox, as a process that died after its commit does."""
    with database.write() as connection:
        write_orders(
            connection,
            [
                CancelOrder(
                    order_id=name,
                    bet_id=f"bet-{name}",
                    user_id="a1",
                    market_id="m1",
                    ordered_at=NOW - timedelta(seconds=age_s),
                )
                for name in names
            ],
        )


def sent(stream: RecordingStream) -> list[str]:
    return [one.order_id for one in stream.orders]


def test_what_was_left_is_published_once_in_its_order(database: Database, stream: RecordingStream) -> None:
    leave(database, *(f"o{number}" for number in range(1200)))
    relay = OrderRelay(database, stream, clock=SetClock())
    assert relay.look() == 1200
    assert sent(stream) == [f"o{number}" for number in range(1200)]
    assert relay.look() == 0
    assert len(stream.records) == 1200


def test_an_order_that_is_just_being_published_is_left_alone(
    database: Database, stream: RecordingStream
) -> None:
    clock = SetClock()
    leave(database, "o1", age_s=RELAY_AFTER_S / 2)
    relay = OrderRelay(database, stream, clock=clock)
    assert relay.look() == 0
    clock.pass_s(RELAY_AFTER_S / 2)
    assert relay.look() == 1


def test_what_was_left_before_the_clock_was_set_back_goes_out_at_once(
    database: Database, stream: RecordingStream
) -> None:
    """It waited until the clock was where it had been: an hour, while the bet's event went on."""
    leave(database, "o1", age_s=-3600)
    assert OrderRelay(database, stream, clock=SetClock()).look() == 1


def test_an_order_of_a_machine_whose_clock_is_a_little_ahead_is_left_alone(
    database: Database, stream: RecordingStream
) -> None:
    leave(database, "o1", age_s=-30)
    assert OrderRelay(database, stream, clock=SetClock()).look() == 0


def test_what_was_left_goes_out_within_two_seconds() -> None:
    assert RELAY_AFTER_S + RELAY_EVERY_S < 2.0


def test_while_the_stream_is_away_orders_stay_in_the_outbox(
    database: Database, stream: RecordingStream
) -> None:
    leave(database, "o1")
    stream.away = True
    relay = OrderRelay(database, stream, clock=SetClock())
    with pytest.raises(StreamUnavailable):
        relay.look()
    assert len(unpublished(database, before_us=NOW_US, limit=10)) == 1
    stream.away = False
    assert relay.look() == 1


def test_two_relays_may_publish_an_order_twice_and_mark_it_once(
    database: Database, stream: RecordingStream
) -> None:
    leave(database, "o1")
    for relay in (
        OrderRelay(database, stream, clock=SetClock()),
        OrderRelay(database, stream, clock=SetClock()),
    ):
        relay.look()
    assert sent(stream) == ["o1"]


def test_what_a_lost_stream_was_given_goes_out_again(database: Database, stream: RecordingStream) -> None:
    clock = SetClock()
    relay = OrderRelay(database, stream, clock=clock)
    pending = opened(bet_id="bet-waiting", user_id="a1", status=BetStatus.PENDING)
    answered = opened(bet_id="bet-answered", user_id="a1", status=BetStatus.PENDING)
    applied(database, [pending, answered, later(answered, status=BetStatus.OPEN)])
    leave(database, "waiting", "answered", age_s=RESENT_S + 100)
    relay.look()
    clock.pass_s(RESENT_S + 100)
    leave(database, "recent")
    relay.look()
    assert sent(stream) == ["waiting", "answered", "recent"]
    stream.records.clear()
    clock.pass_s(10)
    stream.made_at_ms = clock.us // 1000
    clock.pass_s(10)
    # The answered bet's order is too old to be missed; the pending one's may never have been read.
    assert relay.look() == 2
    assert sent(stream) == ["waiting", "recent"]
    clock.pass_s(10)
    assert relay.look() == 0


def test_a_cancellation_that_nothing_answered_goes_out_again_however_old_it_is(
    database: Database, stream: RecordingStream
) -> None:
    """A bet stayed open for ever though its owner had been told that its cancellation was on its way."""
    clock = SetClock()
    relay = OrderRelay(database, stream, clock=clock)
    long_ago = NOW - timedelta(seconds=RESENT_S + 200)
    resting = [
        opened(bet_id=f"bet-{name}", user_id="a1", placed_at=long_ago, updated_at=long_ago)
        for name in ("unanswered", "changed")
    ]
    applied(database, resting)
    leave(database, "unanswered", "changed", age_s=RESENT_S + 100)
    relay.look()
    assert sent(stream) == ["unanswered", "changed"]
    applied(database, [msgspec.structs.replace(resting[1], version=2, updated_at=NOW)])
    stream.records.clear()
    clock.pass_s(RESENT_S + 100)
    stream.made_at_ms = clock.us // 1000
    clock.pass_s(10)
    assert relay.look() == 1
    assert sent(stream) == ["unanswered"]


def test_published_orders_are_forgotten_except_those_of_pending_bets(
    database: Database, stream: RecordingStream
) -> None:
    applied(database, [opened(bet_id="bet-waiting", user_id="a1", status=BetStatus.PENDING)])
    leave(database, "waiting", "done", "unpublished")
    with database.write() as connection:
        mark_published(connection, ["waiting", "done"], NOW_US)
    assert purge_published(database, before_us=NOW_US, budget=Budget(SYSTEM_CLOCK, 60)).deleted == 0
    assert purge_published(database, before_us=NOW_US + 1, budget=Budget(SYSTEM_CLOCK, 60)).deleted == 1
    with database.read() as connection:
        assert set(connection.execute(sa.select(order_outbox.c.order_id)).scalars()) == {
            "waiting",
            "unpublished",
        }


def test_the_relay_publishes_to_the_real_stream_once_it_is_there(
    database: Database, settings: Settings
) -> None:
    leave(database, "o1", "o2")
    relay = OrderRelay(database, orders_publisher(settings), clock=SetClock())
    with pytest.raises(StreamUnavailable):
        relay.look()
    client = aws_client(settings, "kinesis")
    ensure_stream(client, settings.orders_stream)
    assert relay.look() == 2
    source = KinesisSource(client, settings.orders_stream)
    (shard,) = source.shards()
    source.seek(shard.name, None)
    assert len(source.read(shard.name).records) == 2
    source.close()


def test_a_failure_that_lasts_is_logged_once(
    database: Database, stream: RecordingStream, caplog: pytest.LogCaptureFixture
) -> None:
    class Rounds(SetClock):
        left = 5

        def wait(self, *_: object) -> bool:
            self.left -= 1
            return self.left < 0

    def refuse() -> int:
        raise RuntimeError("no credentials")

    stream.created_at = refuse  # type: ignore[method-assign]
    relay = OrderRelay(database, stream, clock=Rounds())
    relay.start()
    relay.close()
    assert [record.message for record in caplog.records] == ["the relay failed and tries on"]
    assert relay.last_error == "RuntimeError('no credentials')"
