"""Reading `bet-orders` for the exchange, in a thread of its own. Not here: what becomes of an order
(desk.py).

The position up to which orders are taken lies in the exchange's journal, in the transaction of their effects:
what was read and not taken when the process died is read again.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence

from exchange_platform.domain.orders import CancelOrder, PlaceOrder, ReplaceOrder
from exchange_platform.exchanges.simulated.desk import OrderBatch, decoded
from exchange_platform.process.clock import Clock
from exchange_platform.streams.engine.meters import Progress
from exchange_platform.streams.engine.owner import ReaderOwner
from exchange_platform.streams.engine.reader import ShardReader
from exchange_platform.streams.engine.source import ShardBatch, Source

POLL_EVERY_S = 0.2
"""Kinesis allows 5 reads a second of a shard, and nobody else reads this stream."""
MAX_ORDERS_A_TICK = 500
_MAX_WAITING = 20
_DESK = "desk"


class OrderIntake(ReaderOwner):
    """Reads all shards of the stream from where the journal's `positions` are, or from the beginning, and
    hands whole batches on.

    A stream that was recreated has shards of other names, so it is read from its beginning; one that is away
    is waited for.
    """

    def __init__(self, source: Source, positions: dict[str, str], clock: Clock) -> None:
        self._source = source
        self._positions = positions
        self._read: queue.SimpleQueue[OrderBatch] = queue.SimpleQueue()
        self.failure: BaseException | None = None
        """What ended the thread, if something did."""
        self._progress = Progress((_DESK,))
        self._reader = ShardReader(
            source,
            self,
            clock=clock,
            poll_interval_s=POLL_EVERY_S,
            progress=self._progress,
            decode=decoded,
        )

    @property
    def last_error(self) -> str:
        """Why the stream can't be read now; empty while it can."""
        return self._reader.last_error

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def stop(self, timeout_s: float) -> None:
        """Read no more."""
        self._reader.stop(timeout_s)
        self._source.close()

    def read(self) -> list[OrderBatch]:
        """What was read since the last call, some hundred orders at most; to be taken in this order."""
        batches: list[OrderBatch] = []
        orders = 0
        while orders < MAX_ORDERS_A_TICK:
            try:
                batch = self._read.get_nowait()
            except queue.Empty:
                break
            batches.append(batch)
            orders += len(batch.orders)
        return batches

    # What the reader asks (streams/engine/owner.py).

    def has_room(self) -> bool:
        """Whether the desk keeps up."""
        return self._read.qsize() < _MAX_WAITING

    def claim(self, shards: Sequence[str]) -> dict[str, str | None]:
        """Where the journal is."""
        return {shard: self._positions.get(shard) for shard in shards}

    def forward(self, batches: Sequence[ShardBatch]) -> None:
        """Let `read` have them."""
        self._progress.done(_DESK, len(batches))
        for batch in batches:
            position = batch.position
            if position is None:
                continue
            orders: list[PlaceOrder | CancelOrder | ReplaceOrder] = []
            undecodable = 0
            for place, record in enumerate(batch.records):
                order = record.record
                if isinstance(order, PlaceOrder | CancelOrder | ReplaceOrder):
                    orders.append(order)
                else:
                    undecodable += 1
                following = batch.records[place + 1 : place + 2]
                if (
                    len(orders) >= MAX_ORDERS_A_TICK
                    and following
                    and following[0].position != record.position
                ):
                    self._read.put(OrderBatch(batch.shard, record.position, orders, undecodable))
                    orders, undecodable = [], 0
            self._read.put(OrderBatch(batch.shard, position, orders, undecodable))

    def fail(self, error: BaseException) -> None:
        """Let the exchange see why nothing is read any more."""
        self.failure = error
