"""The journal forgets nothing that the platform has not committed, nor anything within ten minutes of its
last publication.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from exchange_platform.domain.records import Execution, decode
from exchange_platform.exchanges.simulated.journal import Journal
from exchange_platform.exchanges.simulated.retention import Retention, RetentionProgress
from exchange_platform.streams.engine.source import SHARD_END
from tests.exchange_platform.exchanges.simulated.running import MadeUpTime, RunningExchange

SHARD, NEXT_SHARD = "shardId-000000000000@1", "shardId-000000000000@2"
MINUTE_US = 60_000_000


def _age_of_the_oldest_s(running: RunningExchange) -> float:
    oldest = decode(running.retained()[0][1])
    at = oldest.executed_at if isinstance(oldest, Execution) else oldest.updated_at
    return running.clock.us / 1e6 - at.timestamp()


def _numbers(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT name, value FROM numbers").fetchall())


def _publish_all(running: RunningExchange, *, stream: int = 1, position: str = "100") -> None:
    shard = f"shardId-000000000000@{stream}"
    running.exchange.note(RetentionProgress(running.journal.last_sequence, stream, {shard: position}))


def _forget(running: RunningExchange, *, after_s: float) -> None:
    running.clock.us += int(after_s * 1e6)
    running.journal.forget(running.clock.us, running.acknowledged)


@pytest.mark.long
def test_batches_that_were_committed_are_published_again_for_ten_minutes(tmp_path: Path) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime(), rate=2)
    told = running.run(900, published=None, tick_s=0.5)
    kept = running.retained()
    assert kept == told[-len(kept) :]
    assert 595 <= _age_of_the_oldest_s(running) <= 710  # forgotten every 200 ticks, here 100 s


@pytest.mark.long
def test_unpublished_batches_are_kept_for_as_long_as_it_takes(tmp_path: Path) -> None:
    waiting = RunningExchange(tmp_path / "waiting.sqlite", MadeUpTime(), rate=1)
    told = waiting.run(900, published=0, tick_s=0.5)
    assert waiting.retained() == told
    assert waiting.journal.unpublished_records() == len(told)


def test_what_no_consumer_has_committed_is_not_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    running = RunningExchange(path, MadeUpTime(), retention=Retention(records_kept_s=600))
    told = running.run(5)
    _publish_all(running, position="100")
    running.acknowledged = {SHARD: "99"}
    _forget(running, after_s=24 * 3600)
    assert running.retained() == told
    running.acknowledged = {SHARD: "100"}
    _forget(running, after_s=1)
    assert running.retained() == []
    assert "dropped_records" not in _numbers(path)


def test_what_one_shard_lacks_is_not_forgotten_for_what_the_other_has(tmp_path: Path) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime())
    told = running.run(2)
    other = "shardId-000000000001@1"
    running.exchange.note(RetentionProgress(running.journal.last_sequence, 1, {SHARD: "5", other: "7"}))
    running.acknowledged = {SHARD: "900"}
    _forget(running, after_s=3600)
    assert running.retained() == told
    running.acknowledged = {SHARD: SHARD_END, other: "6"}
    _forget(running, after_s=3600)
    assert running.retained() == told
    running.acknowledged = {SHARD: SHARD_END, other: "7"}
    _forget(running, after_s=1)
    assert running.retained() == []


def test_a_batch_published_again_after_a_long_stop_is_kept_for_ten_minutes_from_then(tmp_path: Path) -> None:
    """The fault: its age counted from its commit, so it went 10 s after it had come into the new stream."""
    path = tmp_path / "journal.sqlite"
    before = RunningExchange(path, MadeUpTime())
    told = before.run(5)
    _publish_all(before, stream=1)
    clock = MadeUpTime(before.clock.us + 11 * MINUTE_US)
    running = RunningExchange(path, clock)
    _publish_all(running, stream=2, position="3")
    _forget(running, after_s=10)
    assert running.retained() == told
    running.acknowledged = {NEXT_SHARD: "3"}
    _forget(running, after_s=580)
    assert running.retained() == told
    _forget(running, after_s=20)
    assert running.retained() == []


def test_what_was_committed_from_a_lost_stream_says_nothing_of_the_next(tmp_path: Path) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime())
    told = running.run(5)
    _publish_all(running, stream=1, position="100")
    running.acknowledged = {SHARD: "100"}
    running.journal.forget(running.clock.us, running.acknowledged)
    _publish_all(running, stream=2, position="3")
    _forget(running, after_s=24 * 3600)
    assert running.retained() == told


def test_settled_records_stay_for_the_report(tmp_path: Path) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime())
    told = running.run(5)
    _publish_all(running)
    running.acknowledged = {SHARD: "100"}
    _forget(running, after_s=3600)
    assert running.retained() == []
    held = running.journal.batches(0, running.journal.last_sequence)
    assert [pair for batch in held for pair in batch.pairs] == told
    _forget(running, after_s=3700)
    assert list(running.journal.batches(0, running.journal.last_sequence)) == []


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_journal_that_is_too_large_drops_the_oldest_and_counts_what_nobody_has_read(
    tmp_path: Path, acknowledged: bool
) -> None:
    path = tmp_path / "journal.sqlite"
    running = RunningExchange(path, MadeUpTime(), retention=Retention(max_bytes=20_000))
    told = running.run(30)
    _publish_all(running)
    running.acknowledged = {SHARD: "100" if acknowledged else "99"}
    _forget(running, after_s=1)
    held = running.retained()
    assert 0 < len(held) < len(told)
    assert held == told[-len(held) :]
    with closing(sqlite3.connect(path)) as db:
        (size,) = db.execute("SELECT sum(length(batch)) FROM outbox").fetchone()
    assert size <= 20_000
    numbers = _numbers(path)
    assert numbers["outbox_bytes"] == size
    assert numbers.get("dropped_records", 0) == (0 if acknowledged else len(told) - len(held))


def test_unpublished_batches_are_not_dropped_however_large_the_journal_is(tmp_path: Path) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime(), retention=Retention(max_bytes=1000))
    told = running.run(10)
    _forget(running, after_s=1)
    assert running.retained() == told


def test_what_was_published_since_the_last_note_goes_out_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    running = RunningExchange(path, MadeUpTime())
    running.run(0.8, published=None)
    assert Journal(path).progress.sequence <= 1  # noted at most once a second
    running.run(5, published=None)
    noted = Journal(path).progress.sequence
    assert running.journal.last_sequence - 25 <= noted < running.journal.last_sequence
    running.exchange.note(RetentionProgress(running.journal.last_sequence, 1))
    assert Journal(path).progress.sequence == running.journal.last_sequence


def test_a_journal_of_an_earlier_release_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    before = RunningExchange(path, MadeUpTime())
    told = before.run(5)
    _publish_all(before)
    before.journal.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TABLE publications")
        db.execute("DROP INDEX outbox_by_time")
        db.execute("DELETE FROM numbers WHERE name = 'outbox_bytes'")
        (size,) = db.execute("SELECT sum(length(batch)) FROM outbox").fetchone()
    running = RunningExchange(path, MadeUpTime(before.clock.us))
    assert running.retained() == told
    running.exchange.note(running.journal.progress)
    assert _numbers(path)["outbox_bytes"] == size
