"""Publishing to a real emulator: in order, at least once, again when the stream was lost; and the process
around it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from exchange_platform.domain.bets import check_transition
from exchange_platform.domain.records import BetUpdate, Execution, decode
from exchange_platform.exchanges.simulated import process
from exchange_platform.exchanges.simulated.process import ExchangeAlreadyRunning, run
from exchange_platform.exchanges.simulated.publishing import Publishing
from exchange_platform.exchanges.simulated.retention import Pairs
from exchange_platform.exchanges.simulated.taken_bets import JOURNAL_FILE
from exchange_platform.settings import Settings
from exchange_platform.settings.aws import aws_client
from exchange_platform.streams.sources.kinesis import KinesisSource, ensure_stream
from tests.exchange_platform.exchanges.simulated.running import MadeUpTime, RunningExchange


class _Hurried:
    """Real time, in which every wait is a tenth of a second at most."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic() * 20

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        return wake.wait(min(timeout_s, 0.1))


class _Chance:
    """Decides for each publication whether it is repeated."""

    def __init__(self, repeats: bool = False) -> None:
        self.repeats = repeats

    def randrange(self, _most: int) -> int:
        return 0 if self.repeats else 1


@pytest.fixture
def client(settings: Settings) -> Iterator[Any]:
    client = aws_client(settings, "kinesis")
    yield client
    client.close()


def _read(settings: Settings) -> Pairs:
    source = KinesisSource(aws_client(settings, "kinesis"), settings.bets_stream)
    pairs: Pairs = []
    for shard in source.shards():
        while read := source.read(shard.name):
            pairs += [(record.partition_key, record.data) for record in read.records]
            if not read.records and not read.behind_ms:
                break
    source.close()
    return pairs


def _by_key(pairs: Pairs) -> dict[str, list[bytes]]:
    ordered: dict[str, list[bytes]] = {}
    for key, data in pairs:
        ordered.setdefault(key, []).append(data)
    return ordered


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.02)


def _publishing(
    running: RunningExchange, client: Any, settings: Settings, *, repeats: bool = False
) -> Publishing:
    chance: Any = _Chance(repeats)
    return Publishing(running.journal, client, settings.bets_stream, clock=_Hurried(), chance=chance)


def _feed(running: RunningExchange, publishing: Publishing, ticks: int) -> None:
    for _ in range(ticks):
        batch = running.exchange.tick(publishing.progress)
        running.clock.us += 50_000
        if batch is not None:
            running.pairs.extend(batch.pairs)
            publishing.offer(batch)


def test_records_arrive_in_each_markets_order_backlog_first(
    settings: Settings, client: Any, tmp_path: Path
) -> None:
    ensure_stream(client, settings.bets_stream)
    clock = MadeUpTime()
    before = RunningExchange(tmp_path / "journal.sqlite", clock)
    told = before.run(3)
    running = RunningExchange(tmp_path / "journal.sqlite", clock)
    publishing = _publishing(running, client, settings)
    assert publishing.unpublished == len(told)
    publishing.start()
    _feed(running, publishing, 60)
    publishing.finish(30)
    assert publishing.unpublished == 0
    assert publishing.progress.sequence == running.journal.last_sequence
    assert _by_key(_read(settings)) == _by_key(told + running.pairs)


def test_a_lost_acknowledgement_repeats_the_same_bytes(
    settings: Settings, client: Any, tmp_path: Path
) -> None:
    ensure_stream(client, settings.bets_stream)
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime())
    publishing = _publishing(running, client, settings, repeats=True)
    publishing.start()
    _feed(running, publishing, 20)
    publishing.finish(30)
    assert sorted(_read(settings)) == sorted(running.pairs * 2)


def test_a_stream_that_is_not_there_is_waited_for(settings: Settings, client: Any, tmp_path: Path) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime())
    publishing = _publishing(running, client, settings)
    publishing.start()
    _feed(running, publishing, 20)
    assert publishing.unpublished == len(running.pairs)
    assert not publishing.available
    ensure_stream(client, settings.bets_stream)
    _until(lambda: publishing.unpublished == 0)
    publishing.finish(30)
    assert _by_key(_read(settings)) == _by_key(running.pairs)


def test_a_stream_made_anew_gets_everything_retained_in_order(
    settings: Settings, client: Any, tmp_path: Path
) -> None:
    ensure_stream(client, settings.bets_stream)
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime())
    publishing = _publishing(running, client, settings)
    publishing.start()
    _feed(running, publishing, 40)
    _until(lambda: publishing.unpublished == 0)
    client.delete_stream(StreamName=settings.bets_stream)
    client.get_waiter("stream_not_exists").wait(StreamName=settings.bets_stream)
    _feed(running, publishing, 10)
    _until(lambda: not publishing.available)
    ensure_stream(client, settings.bets_stream)
    _until(lambda: publishing.unpublished == 0)
    _feed(running, publishing, 10)
    publishing.finish(30)
    assert _by_key(_read(settings)) == _by_key(running.pairs)


def test_a_stream_made_anew_while_the_exchange_was_down_gets_everything_retained(
    settings: Settings, client: Any, tmp_path: Path
) -> None:
    ensure_stream(client, settings.bets_stream)
    clock = MadeUpTime()
    running = RunningExchange(tmp_path / "journal.sqlite", clock)
    publishing = _publishing(running, client, settings)
    publishing.start()
    _feed(running, publishing, 40)
    publishing.finish(30)
    running.exchange.note(publishing.progress)
    client.delete_stream(StreamName=settings.bets_stream)
    client.get_waiter("stream_not_exists").wait(StreamName=settings.bets_stream)
    ensure_stream(client, settings.bets_stream)
    again = RunningExchange(tmp_path / "journal.sqlite", clock)
    publishing = _publishing(again, client, settings)
    publishing.start()
    _feed(again, publishing, 10)
    publishing.finish(30)
    assert _by_key(_read(settings)) == _by_key(running.pairs + again.pairs)


def _run_for(settings: Settings, enough: Callable[[], bool], *, rate: float = 200) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def target() -> None:
        try:
            run(settings, rate=rate, seed=3, stop=stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        _until(lambda: enough() or bool(failures))
    finally:
        stop.set()
        thread.join(20)
    assert not failures, failures[0]
    assert not thread.is_alive()


def test_the_process_stops_and_goes_on_without_a_gap(settings: Settings, client: Any) -> None:
    ensure_stream(client, settings.bets_stream)
    for least in (200, 600):
        _run_for(settings, lambda least=least: len(_read(settings)) > least)  # type: ignore[misc]
    assert (settings.data_dir / JOURNAL_FILE).exists()
    bets: dict[str, BetUpdate] = {}
    executions: set[str] = set()
    for _, data in _read(settings):
        record = decode(data)
        if isinstance(record, Execution):
            executions.add(record.execution_id)
            continue
        before = bets.get(record.bet_id)
        if before is None:
            assert record.version == 1
        elif record.version > before.version:
            assert record.version == before.version + 1
            check_transition(before, record)
        bets[record.bet_id] = record
    numbers: dict[str, set[int]] = {}
    for execution_id in executions:
        market_id, _, number = execution_id.rpartition("-")
        numbers.setdefault(market_id, set()).add(int(number))
    for seen in numbers.values():
        assert seen == set(range(1, len(seen) + 1))


def test_a_second_exchange_on_the_same_directory_is_refused(settings: Settings, client: Any) -> None:
    ensure_stream(client, settings.bets_stream)
    refused: list[str] = []

    def second() -> bool:
        if len(_read(settings)) == 0:
            return False
        with pytest.raises(ExchangeAlreadyRunning) as error:
            run(settings, rate=1, seed=None, stop=threading.Event())
        refused.append(str(error.value))
        return True

    _run_for(settings, second)
    assert str(settings.data_dir) in refused[0]


@pytest.mark.long
def test_trading_pauses_while_too_much_is_unpublished_and_goes_on_when_it_is_out(
    settings: Settings, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MAX_UNPUBLISHED", 300)
    path = settings.data_dir / JOURNAL_FILE
    created = False
    at_pause: list[int] = []

    def committed() -> int:
        if not path.exists():
            return 0
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
                return int(db.execute("SELECT coalesce(sum(records), 0) FROM outbox").fetchone()[0])
        except sqlite3.OperationalError:  # not made yet
            return 0

    def enough() -> bool:
        nonlocal created
        if not created and committed() > 300:
            at_pause.extend((committed(), committed()))
            time.sleep(0.5)  # ten ticks, in which nothing may come
            at_pause.append(committed())
            ensure_stream(client, settings.bets_stream)
            created = True
        return created and committed() > at_pause[-1] + 300

    _run_for(settings, enough, rate=500)
    assert len(set(at_pause)) == 1
