"""Parts of a running platform for tests: consumers as processes, waiting for conditions, and whole tables to
compare.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.records import Record, encode
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational import database as tables
from exchange_platform.stores.operational.consumers.consumers import ConsumerRows
from exchange_platform.stores.operational.database import Database
from exchange_platform.streams.engine.consumer import Consumer
from exchange_platform.streams.exchange_bets import build_consumer
from exchange_platform.streams.sources.kinesis import Publisher
from exchange_platform.streams.sources.names import EXCHANGE_BETS

COMPARED = (
    tables.bets,
    tables.positions,
    tables.market_exposures,
    tables.profiles,
    tables.ledger,
    tables.outbox,
)


def wait_for(condition: Callable[[], object], *, timeout_s: float = 60.0, what: str = "") -> None:
    """Return once the condition holds; fail the test if it does not in time."""
    pause = threading.Event()
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"not within {timeout_s:g} s: {what or condition}; meanwhile\n{_threads()}")
        pause.wait(0.05)


def _threads() -> str:
    """Where each of this process's threads is: what a condition may be waiting for."""
    frames = sys._current_frames()
    return "\n".join(
        f"{thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident], limit=6))}"
        for thread in threading.enumerate()
        if thread.ident in frames and thread is not threading.current_thread()
    )


def environment(settings: Settings) -> dict[str, str]:
    """The environment that gives a process these settings."""
    stated = {
        f"EXCHANGE_PLATFORM_{name.upper()}": str(getattr(settings, name))
        for name in settings.model_fields_set
    }
    if settings.database_url is not None:
        stated["EXCHANGE_PLATFORM_DATABASE_URL"] = settings.database_url.get_secret_value()
    return {**os.environ, **stated}


def start_consumer(settings: Settings) -> subprocess.Popen[bytes]:
    """A consumer as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.consumer_process"],
        env=environment(settings),
        stderr=subprocess.DEVNULL,
    )


def publish(settings: Settings, data: Iterable[tuple[str, bytes]]) -> int:
    """Publish (key, bytes); returns when, by the wall clock."""
    client = aws_client(settings, "kinesis")
    Publisher(client, settings.bets_stream).publish(list(data))
    client.close()
    return SYSTEM_CLOCK.now_us()


def encoded(records: Iterable[Record]) -> list[tuple[str, bytes]]:
    """Records as (partition key, bytes)."""
    return [(record.market_id, encode(record)) for record in records]


def is_caught_up(rows: ConsumerRows, since_us: int) -> bool:
    """Whether some consumer was caught up with the stream as of then."""
    newest = rows.newest(EXCHANGE_BETS)
    return newest is not None and (newest.caught_up_at_us or 0) > since_us


def consume_all(settings: Settings, since_us: int) -> Consumer:
    """Consume in this process until caught up with what was published until then."""
    database = Database(settings.operational_database_url)
    rows = ConsumerRows(database)
    consumer = build_consumer(settings, run_id="a-test", duration_s=300)

    def stop_when_caught_up() -> None:
        wait_for(lambda: is_caught_up(rows, since_us), timeout_s=240)
        consumer.stop()

    watcher = threading.Thread(target=stop_when_caught_up)
    watcher.start()
    for _ in consumer.run():
        pass
    watcher.join()
    database.dispose()
    return consumer


def _all_but_order(table: sa.Table) -> sa.Select[Any]:
    return sa.select(*(column for column in table.columns if column is not tables.outbox.c.sequence))


def operational_rows(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that the stream alone determines, sorted."""
    database = Database(settings.operational_database_url)
    with database.read() as connection:
        found = {
            table.name: sorted((tuple(row) for row in connection.execute(_all_but_order(table))), key=repr)
            for table in COMPARED
        }
    database.dispose()
    return found


def lake_rows(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Every row of the lake's tables, sorted; windows all closed, without their revisions."""
    lake = Lake.from_settings(settings)
    lake.close_windows(EXCHANGE_BETS, 10**9, {market: None for market, _ in lake.open_windows()})
    found = {
        "executions": lake.query("SELECT * FROM executions ORDER BY execution_id").to_pylist(),
        "bet_history": lake.query("SELECT * FROM bet_history ORDER BY bet_id, version").to_pylist(),
        "odds_windows": lake.query(
            "SELECT * EXCLUDE (revision) FROM odds_windows ORDER BY market_id, selection_id, handicap, window_start"
        ).to_pylist(),
    }
    lake.close()
    return found
