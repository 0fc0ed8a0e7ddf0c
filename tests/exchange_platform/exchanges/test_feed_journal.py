"""The feed's journal: cursors without a gap whoever appends, nothing lost to a kill, what was replaced may
go.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.exchanges.feed_journal import MAX_PAGE_BYTES, FeedJournal, NotAnUpdate
from tests.exchange_platform.exchanges.simulated.running import MadeUpTime


def update(event: str, version: int, **more: object) -> bytes:
    return json.dumps({"kind": "event", "event_id": event, "version": version, **more}).encode()


@pytest.fixture
def clock() -> MadeUpTime:
    return MadeUpTime()


@pytest.fixture
def journal(tmp_path: Path, clock: MadeUpTime) -> Iterator[FeedJournal]:
    journal = FeedJournal(tmp_path / "feed.sqlite", clock=clock)
    yield journal
    journal.close()


def cursors(journal: FeedJournal, after: int = 0, limit: int = 10_000) -> list[int]:
    return [entry.cursor for entry in journal.read(after, limit).updates]


def test_updates_are_read_as_they_were_appended_from_any_cursor_on(journal: FeedJournal) -> None:
    first = [update("1", version) for version in range(1, 6)]
    assert journal.append(first) == 5
    assert journal.append([]) == 5
    assert journal.append([update("2", 1)]) == 6
    page = journal.read(0)
    assert [entry.data for entry in page.updates] == [*first, update("2", 1)]
    assert (page.oldest, page.newest) == (1, 6)
    assert cursors(journal, 2, limit=3) == [3, 4, 5]
    assert cursors(journal, 6) == cursors(journal, 99) == []


def test_a_feed_keeps_its_id_and_another_has_another(journal: FeedJournal, tmp_path: Path) -> None:
    assert FeedJournal(tmp_path / "feed.sqlite").feed_id == journal.feed_id
    assert FeedJournal(tmp_path / "other.sqlite").feed_id != journal.feed_id


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"[]", b"{", b'{"kind": "event"}x', b'"text"', b'{"name": "\xff"}', b'{"a": ' + b"[" * 100_000, b"{" + b" " * 10**6 + b"}"],
    ids=lambda rubbish: repr(rubbish[:12]),
)  # fmt: skip
def test_what_is_no_json_object_is_refused_and_nothing_of_the_batch_appended(
    journal: FeedJournal, rubbish: bytes
) -> None:
    with pytest.raises(NotAnUpdate):
        journal.append([update("1", 1), rubbish])
    assert journal.newest() == 0


def test_an_object_that_is_no_known_update_is_its_readers_affair(journal: FeedJournal) -> None:
    strange = [b'{"kind": "weather"}', b"{}", b'{"event_id": [1, {"a": null}], "kind": 7}']
    journal.append(strange)
    assert [entry.data for entry in journal.read(0).updates] == strange


def test_a_page_has_some_megabytes_at_the_most_and_at_least_one_update(journal: FeedJournal) -> None:
    journal.append([update("1", version, name="x" * 900_000) for version in range(1, 8)])
    page = journal.read(0)
    assert 0 < sum(len(entry.data) for entry in page.updates) <= MAX_PAGE_BYTES
    assert len(journal.read(6, 1).updates) == 1


def test_whoever_waits_is_woken_by_another_who_appends(tmp_path: Path) -> None:
    one, other = FeedJournal(tmp_path / "feed.sqlite"), FeedJournal(tmp_path / "feed.sqlite")
    woken: list[bool] = []
    waiter = threading.Thread(target=lambda: woken.append(one.wait(0, 30)))
    waiter.start()
    other.append([update("1", 1)])
    waiter.join(10)
    assert woken == [True]
    assert not one.wait(1, 0.05)


def test_what_was_replaced_long_ago_goes_and_the_state_of_everything_stays(
    journal: FeedJournal, clock: MadeUpTime
) -> None:
    for version in range(1, 3001):
        journal.append([update(str(version % 7), version)]) if version % 500 == 0 else None
    journal.append([update("a", 1), update("b", 1), update("a", 2)])
    clock.us += 3 * 3600 * 1_000_000
    journal.append([update("b", 2), update("b", 3)])
    everything = journal.read(0, 10_000).updates
    dropped = journal.compact()
    page = journal.read(0, 10_000)
    assert dropped == len(everything) - len(page.updates) > 0
    assert page.newest == everything[-1].cursor
    assert page.oldest == everything[-1].cursor - 1
    assert cursors(journal, page.oldest - 1) == [page.oldest, page.newest]

    def state(entries: list[bytes]) -> dict[str, int]:
        return {one["event_id"]: one["version"] for one in map(json.loads, entries)}

    for after in (0, 2, 5, page.oldest):
        later = [entry.data for entry in everything if entry.cursor > after]
        assert state([entry.data for entry in journal.read(after, 10_000).updates]) == state(later)
    assert journal.compact() == 0
    assert page.ended_from == 1, "what was only replaced is no loss to a reader"


def test_a_file_of_an_older_release_promises_nothing_of_what_it_may_have_dropped(
    journal: FeedJournal, clock: MadeUpTime, tmp_path: Path
) -> None:
    journal.append([update("a", 1), update("a", 2), update("b", 1)])
    clock.us += 3 * 3600 * 1_000_000
    journal.compact()
    with sqlite3.connect(tmp_path / "feed.sqlite") as older:
        older.execute("DROP TABLE feed_ended")
    again = FeedJournal(tmp_path / "feed.sqlite", clock=clock)
    page = again.read(0)
    assert page.ended_from == page.oldest == 4
    again.close()


def test_what_ended_is_forgotten_after_days_and_its_cursor_not_given_again(
    journal: FeedJournal, clock: MadeUpTime
) -> None:
    journal.append([update("over", 1, status="FINISHED"), update("on", 1, status="IN_PLAY")])
    journal.append([update("last", 1, status="ABANDONED")])
    clock.us += 8 * 24 * 3600 * 1_000_000
    assert journal.compact(committed=3) == 2
    assert cursors(journal) == [2]
    assert journal.read(0).ended_from == 4
    assert journal.append([update("new", 1)]) == 4


def test_an_end_that_the_platform_has_not_committed_is_kept_for_a_month(
    journal: FeedJournal, clock: MadeUpTime
) -> None:
    journal.append([update("read", 1, status="FINISHED"), update("unread", 1, status="FINISHED")])
    clock.us += 8 * 24 * 3600 * 1_000_000
    assert journal.compact(committed=1) == 1
    assert cursors(journal) == [2]
    clock.us += 23 * 24 * 3600 * 1_000_000
    assert journal.compact(committed=1) == 1


_APPEND = """
import json, sys
from pathlib import Path
from exchange_platform.exchanges.feed_journal import FeedJournal
journal = FeedJournal(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    batch = [json.dumps({"kind": "event", "event_id": sys.argv[2], "version": 3 * number + part}).encode() for part in range(3)]
    newest = journal.append(batch)
    print(newest, flush=True)
"""


def _appending(path: Path, name: str, batches: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _APPEND, str(path), name, str(batches)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def test_several_processes_make_one_feed_and_append_without_a_gap_or_a_torn_batch(tmp_path: Path) -> None:
    path = tmp_path / "feed.sqlite"
    processes = [_appending(path, name, 40) for name in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    for process in processes:
        process.stdout.close()  # type: ignore[union-attr]
    journal = FeedJournal(path)
    entries = journal.read(0, 10_000).updates
    assert [entry.cursor for entry in entries] == list(range(1, 361))
    told = [json.loads(entry.data) for entry in entries]
    for name in "abc":
        assert [one["version"] for one in told if one["event_id"] == name] == list(range(120))
    batches = [told[start : start + 3] for start in range(0, 360, 3)]
    assert all(len({one["event_id"] for one in batch}) == 1 for batch in batches)


def test_sigkill_loses_nothing_that_was_appended_and_leaves_no_half_batch(tmp_path: Path) -> None:
    path = tmp_path / "feed.sqlite"
    known = 0
    for lines in (1, 20, 57):
        process = _appending(path, "a", 10_000)
        assert process.stdout is not None
        for _ in range(lines):
            known = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()
        journal = FeedJournal(path)
        entries = journal.read(0, 10_000).updates
        assert [entry.cursor for entry in entries] == list(range(1, journal.newest() + 1))
        assert journal.newest() >= known
        assert journal.newest() % 3 == 0
        journal.close()
