"""Kills in the middle of a hand-over: of the successor, of its predecessor, of both; before the shards are
claimed, and right after.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from exchange_platform.operations import checks
from exchange_platform.operations.supervision import Decision, Requests, decide
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.runs.liveness import RunCondition, condition_here, this_machine
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.consumers.consumers import ConsumerRow, ConsumerRows
from exchange_platform.stores.operational.database import Database, checkpoints, dead_letters
from exchange_platform.stores.schema import migrate
from exchange_platform.streams.sources.kinesis import ensure_stream
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from tests.faults.test_kills import undisturbed
from tests.support.platform_parts import (
    consume_all,
    encoded,
    lake_rows,
    operational_rows,
    publish,
    start_consumer,
    wait_for,
)
from tests.support.workload import matched_pairs

MOMENTS = ("begun", "claimed")
VICTIMS = ("the successor", "the predecessor", "both")


class HandOvers:
    """Consumers as processes, one after the other, and a supervisor's look at them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.operational_database_url)
        self.rows = ConsumerRows(self._database)
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def newest(self) -> ConsumerRow:
        newest = self.rows.newest(EXCHANGE_BETS)
        assert newest is not None
        return newest

    def start(self, moment: str) -> subprocess.Popen[bytes]:
        """A further consumer; returns once it has come so far."""
        before = newest.epoch if (newest := self.rows.newest(EXCHANGE_BETS)) else 0
        process = start_consumer(self._settings)
        self.processes.append(process)
        wait_for(
            lambda: (n := self.rows.newest(EXCHANGE_BETS)) is not None and n.epoch > before, what="begun"
        )
        if moment == "claimed":
            wait_for(lambda: self._holder() > before, what="claimed")
        return process

    def look(self) -> Decision:
        """A supervisor's first look."""
        recent = self.rows.recent(EXCHANGE_BETS)
        return decide(
            EXCHANGE_BETS,
            recent,
            Requests(),
            now_us=SYSTEM_CLOCK.now_us(),
            settings=self._settings,
            lives={row.run_id: this_machine(row) for row in recent},
        )

    def condition(self) -> RunCondition:
        """How the newest consumer is."""
        return condition_here(self.newest, now_us=SYSTEM_CLOCK.now_us(), settings=self._settings)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self._database.dispose()

    def _holder(self) -> int:
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sa.func.max(checkpoints.c.epoch))).scalar() or 0)


@contextmanager
def load(settings: Settings, data: list[tuple[str, bytes]]) -> Iterator[None]:
    """Publish the data bit by bit meanwhile, and what is left of it at the end."""
    ended = threading.Event()

    def produce() -> None:
        for start in range(0, len(data), 100):
            publish(settings, data[start : start + 100])
            ended.wait(0.2)

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        yield
    finally:
        ended.set()
        producer.join()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def stop_between_transactions(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """Stop it while it holds no lock of the database or the lake: nobody could write there as long as it is
    stopped.
    """
    database = sa.make_url(settings.operational_database_url).database
    lake = settings.lake_catalog_string.partition(":")[2]
    with contextlib.ExitStack() as locks:
        for path in (f"{database}.turn", f"{database}.writer", f"{lake}.turn", f"{lake}.lock"):
            file = locks.enter_context(Path(path).open("ab"))
            fcntl.flock(file, fcntl.LOCK_EX)
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: b") T " in Path(f"/proc/{process.pid}/stat").read_bytes(), what="stopped")


@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_kill_in_the_middle_of_a_hand_over_loses_nothing_and_is_seen_at_the_first_look(
    settings: Settings, tmp_path: Path
) -> None:
    migrate(settings)
    ensure_stream(aws_client(settings, "kinesis"), settings.bets_stream)
    data = encoded(matched_pairs(2500, users=100))
    world = HandOvers(settings)
    try:
        with load(settings, data):
            predecessor = world.start("claimed")
            for moment, victim in itertools.product(MOMENTS, VICTIMS):
                successor = world.start(moment)
                if victim != "the predecessor":
                    kill(successor)
                if victim != "the successor":
                    kill(predecessor)
                look = world.look()
                if victim == "the predecessor":
                    assert look.run_key is None, f"{moment}: {look.reason}"
                    predecessor = successor
                    continue
                assert look.run_key is not None, f"{moment}, {victim}: {look.reason}"
                assert "its process is gone" in look.reason
                if (moment, victim) == ("claimed", "the successor"):
                    assert predecessor.wait(60) == 3, (
                        "whose shards were claimed ends, though the claimer is dead"
                    )
                predecessor = world.start("claimed")
                assert world.condition() is RunCondition.ALIVE
    finally:
        world.close()
    consume_all(settings, SYSTEM_CLOCK.now_us())

    calm = undisturbed(settings, tmp_path / "calm", data)
    assert operational_rows(settings) == operational_rows(calm)
    assert lake_rows(settings) == lake_rows(calm)
    database = Database(settings.operational_database_url)
    assert checks.money_conserved(database).passed
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(dead_letters)).scalar_one() == 0
    database.dispose()


@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_a_predecessor_that_is_stopped_through_a_hand_over_writes_nothing_when_it_goes_on(
    settings: Settings, tmp_path: Path
) -> None:
    """It is stopped for the whole of its successor's life, and goes on with batches in its hands."""
    migrate(settings)
    ensure_stream(aws_client(settings, "kinesis"), settings.bets_stream)
    data = encoded(matched_pairs(1500, users=50))
    world = HandOvers(settings)
    try:
        with load(settings, data):
            predecessor = world.start("claimed")
            wait_for(lambda: world.newest.records > 0, what="records")
            stop_between_transactions(settings, predecessor)
            assert world.look().run_key is None, "a stopped process is not dead"
            successor = world.start("claimed")
            read = world.newest.records
            wait_for(lambda: world.newest.records > read, what="the successor's records")
            predecessor.send_signal(signal.SIGCONT)
            assert predecessor.wait(60) == 3
            assert world.condition() is RunCondition.ALIVE
            successor.terminate()
            assert successor.wait(60) == 0
    finally:
        world.close()
    consume_all(settings, SYSTEM_CLOCK.now_us())
    calm = undisturbed(settings, tmp_path / "calm", data)
    assert operational_rows(settings) == operational_rows(calm)
    assert lake_rows(settings) == lake_rows(calm)
