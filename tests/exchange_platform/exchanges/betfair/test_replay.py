"""Replays: everything in order, the same ids again, the recording's pace, interruption."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from exchange_platform.domain.events import FeedUpdate, decode_update
from exchange_platform.domain.records import Execution, decode
from exchange_platform.exchanges.betfair.recorded import NotARecording
from exchange_platform.exchanges.betfair.replay import ReplayProgress, replay
from exchange_platform.settings import Settings
from exchange_platform.stores.operational.bets.restatements import Restatement, Restatements
from exchange_platform.stores.operational.database import Database
from tests.exchange_platform.exchanges.betfair.messages import line, rc, write
from tests.support.prepared import prepare


class SetClock:
    """A clock that moves only when waited on."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def now_us(self) -> int:
        return int(self.now_s * 1e6)

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, wake: threading.Event, timeout_s: float) -> bool:
        assert timeout_s > 0
        self.now_s += timeout_s
        return wake.is_set()


class Published:
    """What was published, when, and in which calls; can fail or call back after so many calls."""

    def __init__(
        self, clock: SetClock | None = None, after: int = -1, then: Callable[[], None] | None = None
    ) -> None:
        self.calls: list[tuple[float, list[Execution]]] = []
        self.keys: list[str] = []
        self._clock, self._after, self._then = clock or SetClock(), after, then

    def publish(self, records: Sequence[tuple[str, bytes]]) -> None:
        if len(self.calls) == self._after and self._then is not None:
            self._then()
        decoded = [decode(data) for _, data in records]
        self.keys += [key for key, _ in records]
        self.calls.append((self._clock.now_s, [each for each in decoded if isinstance(each, Execution)]))

    @property
    def executions(self) -> list[Execution]:
        return [execution for _, call in self.calls for execution in call]

    @property
    def ids(self) -> list[str]:
        return [execution.execution_id for execution in self.executions]


class Fed:
    """A feed that keeps what it was told."""

    def __init__(self) -> None:
        self.updates: list[FeedUpdate] = []

    def append(self, updates: Sequence[bytes]) -> int:
        self.updates += [decode_update(update) for update in updates]
        return len(self.updates)


class Forgotten:
    """Restatements that nobody asks for."""

    def add(self, rows: Sequence[Restatement]) -> None:
        pass


def replayed_updates(files: Sequence[Path]) -> list[FeedUpdate]:
    """What the feed is told by a replay."""
    feed = Fed()
    replay(files, publisher=Published(), restatements=Forgotten(), feed=feed)
    return feed.updates


@pytest.fixture
def restatements(tmp_path: Path) -> Iterator[Restatements]:
    settings = Settings(data_dir=tmp_path / "data")
    prepare(settings)
    database = Database(settings.operational_database_url)
    yield Restatements(database)
    database.dispose()


def _files(feeds: Path) -> list[Path]:
    return [feeds / name for name in ("1.200806927.bz2", "1.197931750.bz2", "1.197931751.bz2")]


def test_files_are_merged_in_publish_order_and_all_is_published(
    feeds: Path, restatements: Restatements
) -> None:
    published = Published()
    summary = replay(_files(feeds), publisher=published, restatements=restatements, feed=Fed())
    times = [execution.executed_at for execution in published.executions]
    assert times == sorted(times)
    assert len(set(published.ids)) == len(times) == summary.executions == 11_209 + 809 + 260
    assert summary.stake == Decimal("228254.110") + Decimal("10916.480") + Decimal("1801.325")
    assert summary.messages == 18_529 + 166 + 166
    assert published.keys == [execution.market_id for execution in published.executions]
    assert (summary.restatements, restatements.count()) == (28, 28)
    assert restatements.by_class() == summary.restatement_classes
    assert not summary.interrupted
    assert max(len(call) for _, call in published.calls) < 1000


@pytest.mark.long
def test_a_second_replay_repeats_the_same_ids_and_adds_no_restatement(
    feeds: Path, restatements: Restatements
) -> None:
    first, second = Published(), Published()
    for published in (first, second):
        replay(_files(feeds), publisher=published, restatements=restatements, feed=Fed())
    assert first.executions == second.executions
    assert restatements.count() == 28


@pytest.mark.long
def test_a_stopped_replay_published_a_beginning_and_the_next_completes_it(
    feeds: Path, restatements: Restatements
) -> None:
    stopping = threading.Event()
    begun, again = Published(after=3, then=stopping.set), Published()
    summary = replay(
        _files(feeds)[:1], publisher=begun, restatements=restatements, feed=Fed(), stopping=stopping
    )
    assert summary.interrupted
    assert summary.executions == len(begun.ids)
    replay(_files(feeds)[:1], publisher=again, restatements=restatements, feed=Fed())
    assert 0 < len(begun.ids) < len(again.ids) == 11_209
    assert again.ids[: len(begun.ids)] == begun.ids
    assert restatements.count() == 28


def test_a_failed_publish_is_raised_and_nothing_after_it_is_stored(
    feeds: Path, restatements: Restatements
) -> None:
    def fail() -> None:
        raise ConnectionError("the stream is gone")

    with pytest.raises(ConnectionError):
        replay(
            _files(feeds)[:1], publisher=Published(after=0, then=fail), restatements=restatements, feed=Fed()
        )
    assert restatements.count() == 0
    published = Published()
    replay(_files(feeds)[:1], publisher=published, restatements=restatements, feed=Fed())
    assert (len(published.ids), restatements.count()) == (11_209, 28)


def test_a_restatement_is_stored_after_what_precedes_it_was_published(
    tmp_path: Path, restatements: Restatements
) -> None:
    stored_at_publish: list[int] = []
    published = Published(after=0, then=lambda: stored_at_publish.append(restatements.count()))
    path = write(tmp_path / "r", [line(0, rc(7, [("2", "4")])), line(1, rc(7, [("2", "2")]))])
    replay([path], publisher=published, restatements=restatements, feed=Fed())
    assert (stored_at_publish, restatements.count()) == ([0], 1)


@pytest.mark.parametrize("speed", [1.0, 10.0, 0.5])
def test_records_go_out_in_the_recording_s_pace(
    tmp_path: Path, restatements: Restatements, speed: float
) -> None:
    offsets_ms = [0, 3, 20, 49, 51, 1000, 1001, 60_000]
    lines = [line(ms, rc(7, [("2", f"{n + 1}")])) for n, ms in enumerate(offsets_ms)]
    clock = SetClock()
    published = Published(clock)
    replay(
        [write(tmp_path / "r", lines)],
        publisher=published,
        restatements=restatements,
        feed=Fed(),
        speed=speed,
        clock=clock,
    )
    late_s = []
    for at_s, call in published.calls:
        for execution in call:
            place = published.ids.index(execution.execution_id)
            late_s.append(at_s - 100.0 - offsets_ms[place] / 1000 / speed)
    assert len(late_s) == len(offsets_ms)
    assert min(late_s) > -1e-6
    assert max(late_s) < 0.0511
    assert len(published.calls) < len(offsets_ms)


def test_a_replay_stops_while_it_waits(tmp_path: Path, restatements: Restatements) -> None:
    stopping = threading.Event()
    clock = SetClock()
    published = Published(clock)
    path = write(tmp_path / "r", [line(0, rc(7, [("2", "1")])), line(3_600_000, rc(7, [("2", "2")]))])
    summary = replay(
        [path],
        publisher=published,
        restatements=restatements,
        feed=Fed(),
        speed=1.0,
        clock=clock,
        stopping=stopping,
        on_progress=lambda _: stopping.set() if clock.now_s > 200 else None,
    )
    assert (summary.interrupted, len(published.ids)) == (True, 1)
    assert clock.now_s < 201


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_speed_is_refused(tmp_path: Path, restatements: Restatements, speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        replay([], publisher=Published(), restatements=restatements, feed=Fed(), speed=speed)


def test_one_file_that_is_no_recording_stops_all_before_anything_is_published(
    feeds: Path, tmp_path: Path, restatements: Restatements
) -> None:
    bad = write(tmp_path / "bad", [b"nothing"])
    published = Published()
    with pytest.raises(NotARecording, match="bad"):
        replay([*_files(feeds), bad], publisher=published, restatements=restatements, feed=Fed())
    assert not published.calls


def test_damage_and_refusals_are_summed_over_the_files(tmp_path: Path, restatements: Restatements) -> None:
    paths = [
        write(
            tmp_path / f"r{n}",
            [line(0, rc(7, [("2", "4"), ("1.001", "2")]), market=f"1.{n}"), *[b"?"] * 80],
        )
        for n in range(2)
    ]
    summary = replay(paths, publisher=Published(), restatements=restatements, feed=Fed())
    assert (summary.executions, summary.refused.count) == (2, 2)
    assert (summary.damaged.count, len(summary.damaged.first)) == (160, 100)
    assert (summary.damaged.first[0].file, summary.damaged.first[0].line) == (paths[0], 2)


def test_progress_tells_each_file_and_ends_complete(feeds: Path, restatements: Restatements) -> None:
    told: list[ReplayProgress] = []
    replay(
        _files(feeds), publisher=Published(), restatements=restatements, feed=Fed(), on_progress=told.append
    )
    last = told[-1]
    assert [file.messages for file in last.files] == [18_529, 166, 166]
    assert all(file.bytes_read == file.bytes_total > 0 for file in last.files)
    assert (last.executions, last.restatements) == (12_278, 28)
    read = [each.bytes_read for each in told]
    assert read == sorted(read)
    assert len(told) > 10
