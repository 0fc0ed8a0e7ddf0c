"""A stream for orders that a test can look into and take away. Not here: a real one (the emulator's,
tests/conftest.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from exchange_platform.domain.orders import Order, decode_order
from exchange_platform.streams.sources.kinesis import StreamUnavailable


class RecordingStream:
    """Holds what was published, in order. While `away` it takes nothing; `lost_after` records of a put it
    fails.
    """

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes]] = []
        self.puts = 0
        self.away = False
        self.made_at_ms = 0
        self.hold: threading.Event | None = None
        """A put waits for it."""

    def publish(self, records: Sequence[tuple[str, bytes]]) -> None:
        if self.hold is not None:
            self.hold.wait(30)
        if self.away:
            raise StreamUnavailable("the stream is away")
        self.puts += 1
        self.records.extend(records)

    def created_at(self) -> int:
        if self.away:
            raise StreamUnavailable("the stream is away")
        return self.made_at_ms

    @property
    def orders(self) -> list[Order]:
        return [decode_order(data) for _, data in self.records]
