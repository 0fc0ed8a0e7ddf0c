"""Orders from the outbox to the stream: at once by whoever wrote them, later by a relay. Not here: writing
them (acceptance.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from exchange_platform.process.clock import SYSTEM_CLOCK, Clock, ahead_us
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.bets.order_outbox import (
    OutboxOrder,
    mark_lost,
    mark_published,
    unpublished,
)
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.sources.kinesis import Publisher, StreamUnavailable

log = logging.getLogger(__name__)

RELAY_AFTER_S = 1.0
"""An order that is unpublished for so long was left by somebody: a process that died, or a stream that was
away.
"""
RELAY_EVERY_S = 0.5
"""Together with `RELAY_AFTER_S` below the two seconds within which an order that was left goes out."""
MAX_PER_PUT = 500
STREAM_CHECK_EVERY_S = 5.0
RESENT_S = 600.0
"""A stream that was recreated gets what the lost one was given in so many seconds before, and every older
order that nothing has answered.
"""
_PAUSE_AFTER_FAILURE_S = 1.0
_READ_TIMEOUT_S = 3.0


class OrdersPublisher(Protocol):
    """The stream `bet-orders`, as seen from here."""

    def publish(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Put (partition key, data) pairs in order. Raises `StreamUnavailable`."""
        ...

    def created_at(self) -> int:
        """When the stream was created, in milliseconds since 1970 UTC. Raises `StreamUnavailable`."""
        ...


def orders_publisher(settings: Settings, *, clock: Clock = SYSTEM_CLOCK) -> OrdersPublisher:
    """A publisher of `bet-orders` that tries once: whoever uses it, or a relay, tries again."""
    return Publisher(
        aws_client(settings, "kinesis", read_timeout_s=_READ_TIMEOUT_S),
        settings.orders_stream,
        aggregate=True,
        give_up_after_s=0.0,
        clock=clock,
    )


def relay_left(settings: Settings, database: Database) -> int:
    """Publish once what was left in the outbox; how many orders. Raises `StoreUnavailable` and
    `StreamUnavailable`.
    """
    return OrderRelay(database, orders_publisher(settings)).look()


class OrderRelay:
    """Publishes what was left in the outbox, oldest first, and marks it.

    Also what a stream that is no more was given and the exchange may not have read (an emulator keeps its
    streams in memory). Any number may run, in any processes: the exchange drops an order that it has by its
    id. One in every process that submits, so that one is alive whenever there is something to relay.
    """

    def __init__(
        self, database: Database, publisher: OrdersPublisher, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._clock = clock
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._stream_checked_at_s: float | None = None
        self.last_error = ""
        """Why the last look failed; empty if it did not."""

    def start(self) -> None:
        """Begin to look every `RELAY_EVERY_S`, in a thread."""
        self._thread = threading.Thread(target=self._run, name="order-relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(10)

    def look(self, *, after_s: float = RELAY_AFTER_S) -> int:
        """Publish everything that was left for `after_s`; how many orders. Raises `StoreUnavailable` and
        `StreamUnavailable`.
        """
        self._look_for_lost()
        published = 0
        while True:
            now_us = self._clock.now_us()
            before_us = now_us - int(after_s * 1e6)
            orders = unpublished(
                self._database, before_us=before_us, from_us=ahead_us(now_us), limit=MAX_PER_PUT
            )
            if orders:
                self._publisher.publish([(order.market_id, order.data) for order in orders])
                with self._database.write() as connection:
                    mark_published(connection, [order.order_id for order in orders], self._clock.now_us())
                published += len(orders)
            if len(orders) < MAX_PER_PUT or self._ending.is_set():
                return published

    def _look_for_lost(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._stream_checked_at_s is not None and now_s - self._stream_checked_at_s < STREAM_CHECK_EVERY_S:
            return
        created_at_us = self._publisher.created_at() * 1000
        lost = mark_lost(
            self._database, created_at_us=created_at_us, since_us=created_at_us - int(RESENT_S * 1e6)
        )
        if lost:
            log.warning("the stream was recreated; %d orders that the lost one was given go out again", lost)
        self._stream_checked_at_s = now_s

    def _run(self) -> None:
        while not self._clock.wait(self._ending, RELAY_EVERY_S):
            try:
                relayed = self.look()
                if relayed:
                    log.info("%d orders that were left are published", relayed)
                self.last_error = ""
            except (StoreUnavailable, StreamUnavailable) as error:
                if not self.last_error:
                    log.warning("orders wait: %s", error)
                self.last_error = str(error)
            except Exception as error:  # whatever it is, the next order must not wait for ever
                if self.last_error != repr(error):  # once, not twice a second
                    log.exception("the relay failed and tries on")
                self.last_error = repr(error)


class OrderPublishing:
    """Puts orders into the stream as soon as they are committed, all that wait at once, in the order in which
    they were offered.

    An order that could not be put stays in the outbox for a relay. While the stream is away nobody waits for
    it.
    """

    def __init__(
        self,
        publisher: OrdersPublisher,
        *,
        published: Callable[[Sequence[str]], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`published` is given the ids of what is in the stream, to have them marked in the outbox."""
        self._publisher = publisher
        self._published = published
        self._clock = clock
        self._wake = threading.Condition()
        self._waiting: list[tuple[Sequence[OutboxOrder], Callable[[], None]]] = []
        self._ending = False
        self._away_until_s = 0.0
        self._thread = threading.Thread(target=self._run, name="order-publishing", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def offer(self, orders: Sequence[OutboxOrder], done: Callable[[], None]) -> None:
        """Hand committed orders over; `done` is called once they are in the stream, or are left to a
        relay.
        """
        with self._wake:
            self._waiting.append((orders, done))
            self._wake.notify()

    def close(self) -> None:
        """Publish what was offered, and end."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(10)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._ending:
                    self._wake.wait()
                group, self._waiting = self._waiting, []
                if not group:
                    return
            try:
                self._put([order for orders, _ in group for order in orders])
            finally:
                for _, done in group:
                    done()

    def _put(self, orders: Sequence[OutboxOrder]) -> None:
        if self._clock.monotonic_s() < self._away_until_s:
            return
        try:
            self._publisher.publish([(order.market_id, order.data) for order in orders])
        except StreamUnavailable as error:
            log.warning("%d orders are left to the relay: %s", len(orders), error)
            self._away_until_s = self._clock.monotonic_s() + _PAUSE_AFTER_FAILURE_S
        except Exception as error:  # the orders are in the outbox; the relay says where it comes from, too
            log.warning("%d orders are left to the relay: %r", len(orders), error)
            self._away_until_s = self._clock.monotonic_s() + _PAUSE_AFTER_FAILURE_S
        else:
            self._published([order.order_id for order in orders])
