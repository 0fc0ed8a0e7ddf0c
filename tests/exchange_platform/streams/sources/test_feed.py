"""The feed as a source: its order and tip, and what it does when the feed falls silent, goes back, repeats or
sends nonsense.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.domain.events import decode_update
from exchange_platform.domain.records import UndecodableRecord
from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from exchange_platform.streams.engine.source import ShardsChanged, SourceUnavailable, StreamRecord, Unread
from exchange_platform.streams.sources.feed import READ_LIMIT, FeedSource
from tests.exchange_platform.streams.feed_server import FeedServer, feed_server
from tests.exchange_platform.streams.gateway import running_gateway
from tests.support.feed_updates import event


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with feed_server() as server:
        yield server


@pytest.fixture
def source(server: FeedServer) -> Iterator[FeedSource]:
    source = source_at(server)
    yield source
    source.close()


def source_at(server: FeedServer, *, wait_s: float = 0.0, silent_after_s: float = 3.0) -> FeedSource:
    return FeedSource(server.url, name="exchange-feed", wait_s=wait_s, silent_after_s=silent_after_s)


def begin(source: FeedSource, position: str | None = None) -> str:
    (shard,) = source.shards()
    source.seek(shard.name, position)
    return shard.name


def read_all(source: FeedSource, shard: str) -> list[StreamRecord]:
    """Everything up to the tip."""
    records: list[StreamRecord] = []
    while True:
        read = source.read(shard)
        records += read.records
        if not read.behind_ms:
            return records


def names(records: list[StreamRecord]) -> list[str]:
    return [decode_update(record.data).event_id for record in records]


def test_updates_come_in_order_from_any_position(server: FeedServer, source: FeedSource) -> None:
    count = 2 * READ_LIMIT + 7
    server.append(*(event(f"e{number}") for number in range(1, count + 1)))
    shard = begin(source)
    assert shard == "feed@feed-1"
    records = read_all(source, shard)
    assert [record.position for record in records] == [str(number) for number in range(1, count + 1)]
    assert names(records) == [f"e{number}" for number in range(1, count + 1)]
    source.seek(shard, "1000")
    assert names(read_all(source, shard))[0] == "e1001"


def test_a_read_of_part_of_the_feed_is_behind_and_one_that_ends_it_is_at_the_tip(
    server: FeedServer, source: FeedSource
) -> None:
    shard = begin(source)
    assert source.read(shard).behind_ms == 0
    server.append(*(event(f"e{number}") for number in range(READ_LIMIT + 1)))
    first, second = source.read(shard), source.read(shard)
    assert (len(first.records), first.behind_ms > 0) == (READ_LIMIT, True)
    assert (len(second.records), second.behind_ms) == (1, 0)


def test_a_read_waits_for_what_comes_but_no_longer_than_told(server: FeedServer) -> None:
    source = source_at(server, wait_s=0.3)
    shard = begin(source)
    began = time.monotonic()
    assert not source.read(shard).records
    assert 0.25 < time.monotonic() - began < 3
    source.close()


def test_positions_are_ordered_as_numbers_and_those_after_going_back_lie_behind_all() -> None:
    source = FeedSource("http://127.0.0.1:1", name="exchange-feed")
    ordered = ["1", "9", "10", "1:1", "1:50", "2:3", "SHARD_END"]
    for place, position in enumerate(ordered):
        assert source.is_after(position, None)
        assert [source.is_after(position, other) for other in ordered] == [
            place > other for other in range(len(ordered))
        ]


def test_another_feed_at_the_same_place_is_another_shard(server: FeedServer, source: FeedSource) -> None:
    server.append(event("old"))
    shard = begin(source)
    read_all(source, shard)
    server.restart_as("feed-2")
    server.append(event("new"))
    with pytest.raises(ShardsChanged, match="another feed now: feed-2"):
        source.read(shard)
    other = begin(source)
    assert other == "feed@feed-2"
    assert names(read_all(source, other)) == ["new"]


def test_a_feed_that_went_back_is_read_again_at_positions_behind_all_earlier_ones(
    server: FeedServer, source: FeedSource
) -> None:
    server.append(*(event(f"e{number}") for number in range(1, 11)))
    shard = begin(source)
    before = read_all(source, shard)
    server.go_back_to(4)
    server.append(event("lost-and-told-again"))
    for said in ("is asked again", "is read again from its beginning"):
        with pytest.raises(SourceUnavailable, match=f"went back: its newest cursor is 5, 10 .*{said}"):
            source.read(shard)
        source.seek(shard, before[-1].position)  # as the engine does after trouble
    again = read_all(source, shard)
    assert [record.position for record in again] == ["1:1", "1:2", "1:3", "1:4", "1:5"]
    assert names(again)[-1] == "lost-and-told-again"
    assert all(source.is_after(record.position, before[-1].position) for record in again)
    server.append(event("further"))
    assert names(read_all(source, shard)) == ["further"]
    successor = source_at(server)
    assert names(read_all(successor, begin(successor, "1:5"))) == ["further"]
    successor.close()


def test_a_server_that_is_behind_for_a_moment_is_no_feed_that_went_back(
    server: FeedServer, source: FeedSource
) -> None:
    server.append(*(event(f"e{number}") for number in range(1, 11)))
    shard = begin(source)
    read_all(source, shard)
    behind = b'{"feed_id":"feed-1","oldest":1,"newest":9,"updates":[]}'
    for _ in range(2):
        server.instead = lambda after: (200, behind)
        with pytest.raises(SourceUnavailable, match="it is asked again"):
            source.read(shard)
        server.instead = lambda after: None
        assert not source.read(shard).records
    server.append(event("next"))
    assert [record.position for record in read_all(source, shard)] == ["11"]


def test_repeated_and_disordered_updates_come_once_and_in_order(
    server: FeedServer, source: FeedSource
) -> None:
    server.append(event("e1"), event("e2"), event("e3"))
    shard = begin(source, "1")
    server.entries = [server.entries[place] for place in (2, 0, 1, 2, 1)]
    whole = server.answer(0, 10)
    server.instead = lambda after: whole
    assert names(list(source.read(shard).records)) == ["e2", "e3"]
    assert source.repeats == 3


def test_updates_that_were_replaced_and_dropped_are_no_loss(server: FeedServer, source: FeedSource) -> None:
    server.append(*(event(f"e{number}") for number in range(1, 9)))
    server.entries = [entry for entry in server.entries if entry[0] in (3, 6)]
    server.oldest = 9
    assert names(read_all(source, begin(source))) == ["e3", "e6"]
    server.append(event("next"))
    assert names(read_all(source, "feed@feed-1")) == ["next"]


def test_the_end_of_something_that_the_feed_dropped_before_it_was_read_is_a_hole_and_said_once(
    server: FeedServer, source: FeedSource
) -> None:
    server.append(*(event(f"e{number}") for number in range(1, 9)))
    server.entries = [entry for entry in server.entries if entry[0] in (6, 8)]
    server.oldest, server.ended_from = 7, 6
    shard = begin(source, "3")
    read = source.read(shard)
    assert names(list(read.records)) == ["e6", "e8"]
    assert read.unread == Unread("3", "6", certain=True)
    assert source.read(shard).unread is None


@pytest.mark.parametrize(
    ("position", "ended_from", "certain"),
    [("5", 6, None), (None, 6, None), ("3", 1, None), ("3", None, False), ("6", None, None)],
    ids=[
        "all that ended was read",
        "it was never read",
        "only replaced ones went",
        "it does not say what ended",
        "every update is held",
    ],
)
def test_what_is_a_hole_in_a_feed(
    server: FeedServer, source: FeedSource, position: str | None, ended_from: int | None, certain: bool | None
) -> None:
    server.append(*(event(f"e{number}") for number in range(1, 9)))
    server.entries = [entry for entry in server.entries if entry[0] in (6, 7, 8)]
    server.oldest, server.ended_from = 7, ended_from
    unread = source.read(begin(source, position)).unread
    assert (unread.certain if unread is not None else None) is certain


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (503, b"the journal can't be read", "status 503: the journal can't be read"),
        (404, b'{"detail":"not here"}', "status 404"),
        (302, b"", "status 302"),
        (200, b"<html>welcome</html>", "no answer of a feed"),
        (200, b"", "no answer of a feed"),
        (200, b"[]", "no answer of a feed"),
        (200, b'{"feed_id":"feed-1","newest":-1,"updates":[]}', "no answer of a feed"),
        (200, b'{"feed_id":"two words","newest":1,"updates":[]}', "no answer of a feed"),
        (
            200,
            b'{"feed_id":"feed-1","oldest":1,"newest":9,"updates":[]}',
            "nothing follows cursor 0, although",
        ),
        (200, b"[" * 100_000, "no answer of a feed"),
    ],
)
def test_an_answer_that_is_none_is_trouble_and_reading_goes_on_after_it(
    server: FeedServer, source: FeedSource, status: int, body: bytes, reason: str
) -> None:
    server.append(event("e1"))
    shard = begin(source)
    server.instead = lambda after: (status, body)
    with pytest.raises(SourceUnavailable, match=reason):
        read_all(source, shard)
    server.instead = lambda after: None
    assert begin(source) == shard
    assert names(read_all(source, shard)) == ["e1"]


def test_a_feed_that_falls_silent_is_trouble_and_is_read_on_when_it_speaks_again(server: FeedServer) -> None:
    source = source_at(server, silent_after_s=0.2)
    shard = begin(source)
    server.silent.set()
    began = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"silent for 0\.2 s"):
        source.read(shard)
    assert time.monotonic() - began < 3
    server.speak_again()
    server.append(event("e1"))
    assert names(read_all(source, begin(source))) == ["e1"]
    source.close()


def test_a_feed_that_is_not_there_is_trouble_with_pauses_that_grow() -> None:
    source = FeedSource("http://127.0.0.1:1", name="exchange-feed")
    pauses = []
    for _ in range(8):
        with pytest.raises(SourceUnavailable, match=r"http://127\.0\.0\.1:1/feed: ") as caught:
            source.shards()
        pauses.append(caught.value.retry_after_s)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.2, 5.0)
    source.close()


def test_without_an_exchange_it_says_what_to_set() -> None:
    with pytest.raises(SourceUnavailable, match="set EXCHANGE_PLATFORM_EXCHANGE_URL"):
        FeedSource(None, name="exchange-feed").shards()


@pytest.mark.parametrize("poison", [b"nonsense", b'{"kind":', b"\xff\xfe", b'"', b"}]}"])
def test_an_update_that_is_no_json_is_handed_on_alone_and_all_others_as_they_are(
    server: FeedServer, source: FeedSource, poison: bytes
) -> None:
    server.append(*(event(f"e{number}") for number in range(1, 40)))
    server.append(poison, event("e41"), poison, poison)
    server.append(*(event(f"e{number}") for number in range(44, 50)))
    records = read_all(source, begin(source))
    assert [record.position for record in records] == [str(number) for number in range(1, 50)]
    dead = {}
    for record in records:
        try:
            decode_update(record.data)
        except UndecodableRecord as reason:
            dead[record.position] = str(reason)
            assert poison in record.data
    assert dead.keys() == {"40", "42", "43"}
    assert all(dead.values())


def test_the_gateway_s_feed_is_read_as_its_journal_holds_it(tmp_path: Path) -> None:
    journal = FeedJournal(tmp_path / FEED_FILE)
    with running_gateway(tmp_path) as url:
        source = FeedSource(url, name="exchange-feed", wait_s=0.2)
        shard = begin(source)
        assert shard == f"feed@{journal.feed_id}"
        assert not source.read(shard).records
        journal.append([b'{"kind":"event","event_id":"e1"}', b"{}"])
        read = source.read(shard)
        assert [(record.position, record.data) for record in read.records] == [
            ("1", b'{"kind":"event","event_id":"e1"}'),
            ("2", b"{}"),
        ]
        assert read.behind_ms == 0
        source.close()
    journal.close()
