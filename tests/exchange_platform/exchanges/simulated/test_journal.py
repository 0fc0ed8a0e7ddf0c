"""The journal: a crash at any moment loses nothing that was told, and no id is used again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from exchange_platform.domain.bets import BetStatus, check_transition
from exchange_platform.domain.records import BetUpdate, Execution, decode
from exchange_platform.exchanges.simulated.exchange import Exchange
from exchange_platform.exchanges.simulated.journal import Journal
from exchange_platform.exchanges.simulated.retention import Pairs, RetentionProgress
from tests.exchange_platform.exchanges.simulated.running import START_US, MadeUpTime, RunningExchange


def _state(exchange: Exchange) -> object:
    """Everything that must outlive the process: markets, bets, books in the order in which orders are met."""
    return [
        (
            live.state,
            sorted(live.bets.items()),
            [
                (
                    key,
                    sorted(
                        (order.number, order.side.value, order.odds, order.remaining_minor) for order in book
                    ),
                )
                for key, book in live.books.items()
            ],
        )
        for _, live in sorted(exchange.markets.items())
    ]


def _assert_one_unbroken_history(pairs: Pairs) -> None:
    """No version and no execution is told twice or left out, and every step is legal."""
    bets: dict[str, list[BetUpdate]] = defaultdict(list)
    executions: dict[str, list[str]] = defaultdict(list)
    for _, data in pairs:
        record = decode(data)
        if isinstance(record, Execution):
            executions[record.market_id].append(record.execution_id)
        else:
            bets[record.bet_id].append(record)
    assert bets
    assert executions
    for history in bets.values():
        assert [bet.version for bet in history] == list(range(1, len(history) + 1))
        for before, after in pairwise(history):
            check_transition(before, after)
    for market_id, ids in executions.items():
        assert ids == [f"{market_id}-{number:010d}" for number in range(1, len(ids) + 1)]


@pytest.mark.long
def test_an_exchange_that_was_dropped_goes_on_as_it_was(tmp_path: Path) -> None:
    clock = MadeUpTime()
    path = tmp_path / "journal.sqlite"
    told: Pairs = []
    for _ in range(8):
        running = RunningExchange(path, clock, rate=50)
        told += running.run(17)
        was = _state(running.exchange)
        del running  # without closing anything
        assert _state(RunningExchange(path, clock).exchange) == was
    _assert_one_unbroken_history(told)
    assert RunningExchange(path, clock).retained() == told


def test_orders_that_no_tick_made_durable_never_were(tmp_path: Path) -> None:
    clock = MadeUpTime()
    path = tmp_path / "journal.sqlite"
    running = RunningExchange(path, clock)
    running.run(5)
    was = _state(running.exchange)
    live = next(live for live in running.exchange.markets.values() if live.bets)
    resting = next(bet for bet in live.bets.values() if bet.status is BetStatus.OPEN)
    running.exchange.cancel(resting.bet_id)
    restored = RunningExchange(path, clock)
    assert _state(restored.exchange) == was
    restored.run(5)
    _assert_one_unbroken_history(restored.retained())


@pytest.mark.long
def test_a_settlement_cut_off_in_the_middle_goes_on_with_the_same_result(tmp_path: Path) -> None:
    clock = MadeUpTime()
    path = tmp_path / "journal.sqlite"
    running = RunningExchange(path, clock, rate=100)
    told: Pairs = []
    cut: set[str] = set()
    while len(cut) < 4:
        told += running.run(0.05)
        for live in running.exchange.markets.values():
            statuses = {bet.status for bet in live.bets.values()}
            if {BetStatus.MATCHED, BetStatus.SETTLED} <= statuses and live.market_id not in cut:
                cut.add(live.market_id)
                running = RunningExchange(path, clock, rate=100)
                break
    told += running.run(20)
    profits = dict.fromkeys(cut, 0)
    settled: set[str] = set()  # for the first time: a correction may be under way
    for bet in (decode(data) for _, data in told):
        if not isinstance(bet, BetUpdate) or bet.market_id not in cut or bet.bet_id in settled:
            continue
        if bet.status is BetStatus.SETTLED:
            settled.add(bet.bet_id)
            profits[bet.market_id] += bet.profit_minor
    assert settled
    assert set(profits.values()) == {0}
    _assert_one_unbroken_history(told)


@pytest.mark.long
def test_a_lost_journal_repeats_no_id(tmp_path: Path) -> None:
    before = RunningExchange(tmp_path / "one.sqlite", MadeUpTime(), rate=2000)
    before.run(5)
    after = RunningExchange(tmp_path / "two.sqlite", MadeUpTime(START_US + 5_000_000), rate=2000)
    after.run(5)

    def ids(pairs: Pairs) -> set[str]:
        told = [decode(data) for _, data in pairs]
        return {one.bet_id if isinstance(one, BetUpdate) else one.execution_id for one in told}

    assert not ids(before.pairs) & ids(after.pairs)


def test_progress_is_remembered(tmp_path: Path) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime())
    running.run(1)
    running.exchange.note(RetentionProgress(7, 1234))
    assert Journal(tmp_path / "journal.sqlite").progress == RetentionProgress(7, 1234)


_TRADE_UNTIL_KILLED = """
import sys
from pathlib import Path
from tests.exchange_platform.exchanges.simulated.running import MadeUpTime, RunningExchange
running = RunningExchange(Path(sys.argv[1]), MadeUpTime(int(sys.argv[2])), rate=500)
while True:
    running.run(0.05)
    print(running.journal.last_sequence, running.clock.us, flush=True)
"""


def test_sigkill_at_any_moment_loses_no_committed_record_and_reuses_no_id(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    us = START_US
    for lines in (30, 3, 61, 120):
        process = subprocess.Popen(
            [sys.executable, "-c", _TRADE_UNTIL_KILLED, str(path), str(us)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[4],
        )
        assert process.stdout is not None
        sequence = 0
        for _ in range(lines):
            sequence, us = (int(word) for word in process.stdout.readline().split())
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        whole = [line.split() for line in rest if len(line.split()) == 2]
        if len(whole) > 1:
            sequence, us = (int(word) for word in whole[-2])
        us += 200_000
        assert Journal(path).last_sequence >= sequence
    running = RunningExchange(path, MadeUpTime(us))
    running.run(5)
    _assert_one_unbroken_history(running.retained())
