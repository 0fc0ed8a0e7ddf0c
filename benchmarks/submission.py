"""What a submitted bet costs: until it is acknowledged, of which the stream's put apart, how many a second,
and until it is matched.

Baselines in the same run: a bare durable SQLite commit of one row, and a bare put of one record into the same
emulator. Matching is measured on the whole platform, `up` and all.

python -m benchmarks.submission [--rate N] [--seconds N] [--runs N] [--matched N]
"""

from __future__ import annotations

import argparse
import queue
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa

from benchmarks.stage import emulator
from exchange_platform.domain.bet_requests import BetOrder
from exchange_platform.domain.bets import BetStatus, Side
from exchange_platform.domain.refusals import NotNow
from exchange_platform.local.programs import free_ports
from exchange_platform.settings import Settings, load_settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.tables.events import events, markets, selections
from exchange_platform.submission import BetSubmission
from exchange_platform.submission.order_publishing import OrdersPublisher
from tests.exchange_platform.betting import add_account, add_event, add_market
from tests.exchange_platform.recording import RecordingStream

ACCOUNTS, MARKETS, THREADS = 50, 10, 24
STAKE_MINOR = 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0, help="submissions a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--matched", type=int, default=200, help="bets followed until they are matched")
    arguments = parser.parse_args()
    figures: dict[str, list[float]] = {}
    for run in range(arguments.runs):
        with tempfile.TemporaryDirectory() as directory, emulator(Path(directory)) as settings:
            database = Database(settings.operational_database_url, durable=True)
            _fill(database)
            told: dict[str, float] = {}
            told |= _acknowledged("whole", settings, database, None, arguments.rate, arguments.seconds)
            told |= _acknowledged(
                "own part", settings, database, RecordingStream(), arguments.rate, arguments.seconds
            )
            told["own part, as many as go, /s"] = _throughput(settings, database)
            told["baseline: bare durable SQLite commit, p50 ms"] = _bare_commit(Path(directory))
            told["baseline: bare put of one record, p50 ms"] = _bare_put(settings)
            database.dispose()
        for name, figure in told.items():
            figures.setdefault(name, []).append(figure)
        print(f"run {run + 1}: " + " | ".join(f"{name} {figure:,.1f}" for name, figure in told.items()))
    print("medians:")
    for name, values in figures.items():
        print(f"  {name}: {statistics.median(values):,.1f}")
    if arguments.matched:
        _matched(arguments.matched)


def _fill(database: Database) -> None:
    for number in range(ACCOUNTS):
        add_account(database, f"a{number}", funds_minor=1_000_000_000)
    add_event(database)
    for number in range(MARKETS):
        add_market(database, f"m{number}")


def _order(name: str, chance: random.Random) -> BetOrder:
    return BetOrder(
        submission_id=name,
        account_id=f"a{chance.randrange(ACCOUNTS)}",
        market_id=f"m{chance.randrange(MARKETS)}",
        selection_id=chance.randrange(1, 4),
        side=chance.choice((Side.BACK, Side.LAY)),
        odds=Decimal(chance.choice(("1.5", "2", "3", "5"))),
        currency="GBP",
        stake_minor=STAKE_MINOR,
    )


def _acknowledged(
    what: str,
    settings: Settings,
    database: Database,
    publisher: OrdersPublisher | None,
    rate: float,
    seconds: float,
) -> dict[str, float]:
    """Milliseconds from when a bet was due to be submitted, at a steady rate, to its acknowledgement."""
    chance = random.Random(1)
    due: queue.Queue[tuple[float, BetOrder] | None] = queue.Queue()
    took_ms: list[float] = []
    with BetSubmission(settings, database=database, publisher=publisher) as submission:
        submission.submit(_order(f"{what[:3]}-first", chance))

        def submit() -> None:
            while (one := due.get()) is not None:
                at, order = one
                submission.submit(order)
                took_ms.append((time.perf_counter() - at) * 1000)

        threads = [threading.Thread(target=submit) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        begin = time.perf_counter()
        for number in range(int(rate * seconds)):
            at = begin + number / rate
            time.sleep(max(0.0, at - time.perf_counter()))
            due.put((at, _order(f"{what[:3]}-{number}", chance)))
        for _ in threads:
            due.put(None)
        for thread in threads:
            thread.join()
    return {f"{what}, p50 ms": _share(took_ms, 0.5), f"{what}, p99 ms": _share(took_ms, 0.99)}


def _throughput(settings: Settings, database: Database, bets: int = 4000) -> float:
    """Bets a second by as many callers as the API has threads, where the stream costs nothing."""
    chance = random.Random(2)
    orders = [_order(f"many-{number}", chance) for number in range(bets)]
    with BetSubmission(settings, database=database, publisher=RecordingStream()) as submission:
        submission.submit(_order("many-first", chance))

        def submit(some: Sequence[BetOrder]) -> None:
            for order in some:
                submission.submit(order)

        threads = [threading.Thread(target=submit, args=(orders[number::40],)) for number in range(40)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return bets / (time.perf_counter() - began)


def _bare_commit(directory: Path) -> float:
    connection = sqlite3.connect(directory / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bets (number INTEGER PRIMARY KEY, data TEXT)")
    took = _timed(lambda: connection.execute("INSERT INTO bets (data) VALUES (?)", ("x" * 500,)))
    connection.close()
    return took


def _bare_put(settings: Settings) -> float:
    client = aws_client(settings, "kinesis")
    record = [{"Data": b"x" * 500, "PartitionKey": "m"}]
    took = _timed(lambda: client.put_records(StreamName=settings.orders_stream, Records=record))
    client.close()
    return took


def _timed(act: Callable[[], object], times: int = 300) -> float:
    took_ms = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        took_ms.append((time.perf_counter() - began) * 1000)
    return statistics.median(took_ms)


def _matched(wanted: int) -> None:
    """Seconds from submitting a market order to its matched status in the operational database, under `up`
    with its exchange.
    """
    with tempfile.TemporaryDirectory() as directory:
        port, api_port = free_ports(2)
        data_dir = Path(directory) / "data"
        with (Path(directory) / "up.out").open("wb+") as output:
            up = subprocess.Popen(
                [
                    *(sys.executable, "-m", "exchange_platform", "up", "--data-dir", str(data_dir)),
                    *("--port", str(port), "--api-port", str(api_port)),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while b"Data flows" not in (Path(directory) / "up.out").read_bytes():
                    assert up.poll() is None, (Path(directory) / "up.out").read_text()
                    time.sleep(0.5)
                time.sleep(20)  # until markets have something to match with
                took_s = _followed(load_settings(data_dir), wanted)
            finally:
                up.terminate()
                up.wait(60)
    print(
        f"submit -> matched, readable, on the whole platform at 50 executions/s, {len(took_s)} market orders:"
        f" p50 {_share(took_s, 0.5):.2f} s, p99 {_share(took_s, 0.99):.2f} s"
    )


def _followed(settings: Settings, wanted: int) -> list[float]:
    chance = random.Random(3)
    database = Database(settings.operational_database_url, durable=True)
    add_account(database, "benchmark", funds_minor=100_000_000)
    took_s: list[float] = []
    with BetSubmission(settings, database=database) as submission:
        until = time.monotonic() + 300
        while len(took_s) < wanted and time.monotonic() < until:
            with database.read() as connection:
                # Before the start: in play an exchange delays orders on purpose.
                known = connection.execute(
                    sa.select(markets.c.market_id, selections.c.selection_id)
                    .join(selections, selections.c.market_id == markets.c.market_id)
                    .join(events, events.c.event_id == markets.c.event_id)
                    .where(markets.c.status == "OPEN", ~markets.c.in_play, selections.c.handicap == "0")
                ).all()
            if not known:
                time.sleep(0.5)
                continue
            market_id, selection_id = chance.choice(known)
            began = time.perf_counter()
            try:
                placed = submission.submit(
                    BetOrder(
                        submission_id=f"followed-{began}",
                        account_id="benchmark",
                        market_id=market_id,
                        selection_id=selection_id,
                        side=chance.choice((Side.BACK, Side.LAY)),
                        odds=None,
                        currency="GBP",
                        stake_minor=STAKE_MINOR,
                    )
                )
            except NotNow:  # suspended since it was read
                continue
            while (bet := submission.bet("benchmark", placed.bet.bet_id)).status is BetStatus.PENDING:
                if time.perf_counter() - began > 30:
                    break
                time.sleep(0.01)
            if bet.matched_minor:
                took_s.append(time.perf_counter() - began)
    database.dispose()
    return took_s


def _share(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


if __name__ == "__main__":
    main()
