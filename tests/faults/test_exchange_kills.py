"""The simulated exchange is killed, and so is the stream, while customers' orders flow: each order's bet ends
once, as it was told.
"""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exchange_platform.domain.bets import BetStatus, Side, check_transition
from exchange_platform.domain.orders import CancelOrder, Order, PlaceOrder, ReplaceOrder, encode_order
from exchange_platform.domain.records import BetUpdate, Execution, decode
from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from exchange_platform.exchanges.simulated.taken_bets import JOURNAL_FILE, TakenBets
from exchange_platform.local.programs import free_ports
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.streams.sources.kinesis import KinesisSource, Publisher, ensure_stream
from tests.support.platform_parts import environment, wait_for

ENDS = (BetStatus.REJECTED, BetStatus.CANCELLED, BetStatus.LAPSED, BetStatus.VOIDED, BetStatus.SETTLED)
PACE = 12
"""Markets live 8 to 30 s, so that they end while the test goes on."""


class Customers:
    """Orders that are published some twenty a second, some of them twice, on markets that the feed shows
    open.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._chance = random.Random(20)
        self._feed = FeedJournal(settings.data_dir / FEED_FILE)
        self._markets: dict[str, dict[str, Any]] = {}
        self._cursor = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent: list[Order] = []
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Order nothing more."""
        self._stop.set()
        self._thread.join()
        assert self.failure is None

    def publish(self, *orders: Order) -> None:
        """Have these in the stream, as the platform's relay does: until it is there to take them."""
        publisher = Publisher(
            aws_client(self._settings, "kinesis"),
            self._settings.orders_stream,
            aggregate=True,
            give_up_after_s=60,
        )
        publisher.publish([(order.market_id, encode_order(order)) for order in orders])

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.1):
                self._read_feed()
                if not self._markets:
                    continue
                for _ in range(2):
                    self.sent.append(self._draw())
                self.publish(*self.sent[-2:])
                if self._chance.random() < 0.2:
                    self.publish(*self._chance.choices(self.sent, k=3))
        except BaseException as error:
            self.failure = error

    def _read_feed(self) -> None:
        for entry in (page := self._feed.read(self._cursor, 1000)).updates:
            update = json.loads(entry.data)
            if update["kind"] == "market":
                self._markets.pop(update["market_id"], None)
                if update["status"] == "OPEN":
                    self._markets[update["market_id"]] = update
        self._cursor = page.updates[-1].cursor if page.updates else self._cursor

    def _draw(self) -> Order:
        number = len(self.sent)
        placed = [one for one in self.sent[-100:] if isinstance(one, PlaceOrder)]
        common: dict[str, Any] = {"order_id": f"order-{number}", "ordered_at": datetime.now(UTC)}
        kind = self._chance.random()
        if kind < 0.75 or not placed:
            market = self._chance.choice(list(self._markets.values()))
            selection = self._chance.choice(market["selections"])
            return PlaceOrder(
                bet_id=f"bet-{number}",
                user_id=f"user-{number % 7}",
                market_id=market["market_id"],
                event_id=market["event_id"],
                selection_id=selection["selection_id"],
                handicap=Decimal(selection.get("handicap", "0")),
                side=self._chance.choice(list(Side)),
                odds=self._chance.choice([None, Decimal("1.5"), Decimal(2), Decimal(3), Decimal(10)]),
                currency="GBP",
                stake_minor=self._chance.choice([200, 1000, 5000]),
                **common,
            )
        old = self._chance.choice(placed)
        common |= {"bet_id": old.bet_id, "user_id": old.user_id, "market_id": old.market_id}
        if kind < 0.9:
            return CancelOrder(size_minor=self._chance.choice([None, 100]), **common)
        return ReplaceOrder(
            new_bet_id=f"bet-{number}", odds=Decimal(4), stake_minor=old.stake_minor, **common
        )


def _start(settings: Settings) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "exchange_platform.exchanges.simulated", "--rate", "100", "--pace", str(PACE)],
        env=environment(settings),
        stdout=subprocess.DEVNULL,
    )


def _count(settings: Settings, query: str, *values: object) -> int:
    try:
        with closing(sqlite3.connect(f"file:{settings.data_dir / JOURNAL_FILE}?mode=ro", uri=True)) as db:
            return int(db.execute(query, values).fetchone()[0] or 0)
    except sqlite3.OperationalError:
        return 0


def _taken(settings: Settings) -> int:
    return _count(settings, "SELECT count(*) FROM orders")


def _read_all(settings: Settings) -> list[BetUpdate | Execution]:
    source = KinesisSource(aws_client(settings, "kinesis"), settings.bets_stream)
    records: list[BetUpdate | Execution] = []
    for shard in source.shards():
        while True:
            read = source.read(shard.name)
            records += [decode(record.data) for record in read.records]
            if not read.records and not read.behind_ms:
                break
    source.close()
    return records


def _finish(settings: Settings, customers: Customers, exchange: subprocess.Popen[bytes]) -> None:
    """Wait until the exchange has taken every order and is done with every market that was ordered on; then
    let it end.
    """
    answered = {
        one.new_bet_id if isinstance(one, ReplaceOrder) else one.bet_id
        for one in customers.sent
        if not isinstance(one, CancelOrder)
    }
    bets = TakenBets(settings.data_dir)
    waiting: set[str] = set(answered)
    until = time.monotonic() + 180
    while waiting:
        assert time.monotonic() < until, f"{len(waiting)} bets have no end: {sorted(waiting)[:5]}"
        assert exchange.poll() is None
        for bet_id in list(waiting):
            data = bets.newest(bet_id)
            bet = decode(data) if data is not None else None
            if (
                isinstance(bet, BetUpdate)
                and bet.status in ENDS
                and not _count(settings, "SELECT count(*) FROM markets WHERE market_id = ?", bet.market_id)
            ):
                waiting.discard(bet_id)
        time.sleep(0.2)
    bets.close()
    exchange.send_signal(signal.SIGTERM)
    assert exchange.wait(30) == 0


def _check(settings: Settings, customers: Customers) -> None:
    histories: dict[str, dict[int, BetUpdate]] = defaultdict(dict)
    executions: dict[str, Execution] = {}
    for record in _read_all(settings):
        if isinstance(record, Execution):
            assert executions.setdefault(record.execution_id, record) == record
        else:
            assert histories[record.bet_id].setdefault(record.version, record) == record
    matched: dict[str, int] = defaultdict(int)
    for execution in executions.values():
        for bet_id in (execution.back_bet_id, execution.lay_bet_id):
            matched[str(bet_id)] += int(execution.stake * 100)
    bets = TakenBets(settings.data_dir)
    seen: set[BetStatus] = set()
    for order in customers.sent:
        if isinstance(order, CancelOrder):
            continue
        bet_id = order.bet_id if isinstance(order, PlaceOrder) else order.new_bet_id
        history = [histories[bet_id][version] for version in sorted(histories[bet_id])]
        assert [bet.version for bet in history] == list(range(2, 2 + len(history))), bet_id
        pending = msgspec.structs.replace(
            history[0],
            version=1,
            status=BetStatus.PENDING,
            remaining_minor=order.stake_minor,
            **dict.fromkeys(
                (
                    "matched_minor",
                    "cancelled_minor",
                    "lapsed_minor",
                    "voided_minor",
                    "matched_winnings_minor",
                ),
                0,
            ),
        )
        for before, after in pairwise([pending, *history]):
            check_transition(before, after)
        assert max(bet.matched_minor for bet in history) == matched[bet_id]
        assert bets.newest(bet_id) is not None
        assert decode(bets.newest(bet_id) or b"") == history[-1]
        assert history[-1].status in ENDS
        seen.update(bet.status for bet in history)
    assert seen >= {BetStatus.OPEN, BetStatus.MATCHED, BetStatus.SETTLED, BetStatus.CANCELLED}
    bets.close()
    print(
        f"{len(customers.sent)} orders, {len(executions)} executions; seen {sorted(one.value for one in seen)}"
    )


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_twenty_kills_of_the_exchange_lose_no_order_and_take_none_twice(settings: Settings) -> None:
    client = aws_client(settings, "kinesis")
    ensure_stream(client, settings.bets_stream)
    ensure_stream(client, settings.orders_stream, shards=2)
    customers = Customers(settings)
    chance = random.Random(5)
    exchange = _start(settings)
    customers.start()
    try:
        for _ in range(20):
            exchange = _kill_soon(settings, exchange, chance)
        customers.stop()
        _finish(settings, customers, exchange)
    finally:
        exchange.kill()
        exchange.wait()
    _check(settings, customers)


def _kill_soon(
    settings: Settings, exchange: subprocess.Popen[bytes], chance: random.Random
) -> subprocess.Popen[bytes]:
    """Kill the exchange once it has taken something, at any moment; the next one."""
    before = _taken(settings)
    wait_for(lambda: _taken(settings) > before, timeout_s=60, what="orders that are taken")
    time.sleep(chance.random() * 0.7)
    exchange.kill()
    exchange.wait()
    return _start(settings)


@contextmanager
def _emulator(data_dir: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "exchange_platform.local.emulator.server",
            "--port",
            str(port),
            "--data-dir",
            str(data_dir),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(settings: Settings) -> Callable[[], bool]:
    client = aws_client(settings, "kinesis")

    def answers() -> bool:
        try:
            return bool(client.describe_stream_summary(StreamName=settings.bets_stream))
        except Exception:
            return False

    return answers


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_killed_emulator_takes_no_order_with_it_that_is_sent_again(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = Settings(data_dir=tmp_path / "data", aws_endpoint_url=f"http://127.0.0.1:{port}")
    customers = Customers(settings)
    exchange = _start(settings)
    try:
        for _ in range(3):
            with _emulator(settings.data_dir, port):
                wait_for(_answers(settings), timeout_s=60, what="the emulator")
                # As the platform's relay does for a stream that it finds recreated: all of unanswered bets,
                # in order.
                bets = TakenBets(settings.data_dir)
                unanswered = [
                    one
                    for one in customers.sent
                    if bets.newest(one.bet_id) is None or not isinstance(one, PlaceOrder)
                ]
                if unanswered:
                    customers.publish(*unanswered)
                bets.close()
                before = _taken(settings)
                producing = Customers(settings)
                producing.sent = customers.sent
                producing.start()
                wait_for(
                    lambda more=before + 60: _taken(settings) > more,  # type: ignore[misc]
                    timeout_s=90,
                    what="orders that are taken",
                )
                producing.stop()
        with _emulator(settings.data_dir, port):
            wait_for(_answers(settings), timeout_s=60, what="the emulator")
            customers.publish(*customers.sent)
            _finish(settings, customers, exchange)
            _check(settings, customers)
    finally:
        exchange.kill()
        exchange.wait()
