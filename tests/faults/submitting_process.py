"""An application that submits bets and is killed at one point of it. Not here: what must be true afterwards
(test_submission_kills.py).

The points are in this process's own database and stream, wrapped around the real ones; the library knows
nothing of them.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from multiprocessing.connection import Connection

import sqlalchemy as sa

from exchange_platform.domain.bet_requests import encode_answer
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.database import Database
from exchange_platform.submission import BetSubmission
from exchange_platform.submission.order_publishing import OrdersPublisher, orders_publisher
from tests.exchange_platform.betting import order


class Point(StrEnum):
    """Where the application is killed."""

    BEFORE_COMMIT = "before the commit"
    AFTER_COMMIT = "after the commit"
    BEFORE_PUT = "before the put"
    AFTER_PUT = "after the put"


class _Fuse:
    """Kills this process the nth time that a point is passed."""

    def __init__(self, point: Point, passes: int) -> None:
        self._point = point
        self._left = passes
        self._lock = threading.Lock()

    def passed(self, point: Point) -> None:
        if point is self._point:
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)


class _Database(Database):
    """The operational database; commits of orders are points."""

    def __init__(self, url: str, fuse: _Fuse) -> None:
        super().__init__(url, durable=True)
        self._fuse = fuse
        self._writing = threading.local()

        @sa.event.listens_for(self.engine, "before_cursor_execute")
        def _note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            if statement.startswith("INSERT INTO order_outbox"):
                self._writing.orders = True

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        self._writing.orders = False
        with super().write() as connection:
            yield connection
            if self._writing.orders:
                self._fuse.passed(Point.BEFORE_COMMIT)
        if self._writing.orders:
            self._fuse.passed(Point.AFTER_COMMIT)


class _Publisher:
    """The stream; puts are points."""

    def __init__(self, stream: OrdersPublisher, fuse: _Fuse) -> None:
        self._stream = stream
        self._fuse = fuse

    def publish(self, records: Sequence[tuple[str, bytes]]) -> None:
        self._fuse.passed(Point.BEFORE_PUT)
        self._stream.publish(records)
        self._fuse.passed(Point.AFTER_PUT)

    def created_at(self) -> int:
        return self._stream.created_at()


def submit_until_killed(
    settings: Settings, point: Point, passes: int, names: Sequence[str], answers: Connection
) -> None:
    """Submit these from several threads at once, send each answer back as it comes, and be killed on
    the way.
    """
    fuse = _Fuse(point, passes)
    database = _Database(settings.operational_database_url, fuse)
    publisher = _Publisher(orders_publisher(settings), fuse)
    sending = threading.Lock()

    def submit(name: str) -> None:
        answer = submission.submit(order(name, stake_minor=100))
        with sending:
            answers.send((name, encode_answer(answer)))

    with BetSubmission(settings, database=database, publisher=publisher) as submission:
        threads = [threading.Thread(target=submit, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    os.kill(os.getpid(), signal.SIGKILL)  # the point was passed less often: the groups were large
