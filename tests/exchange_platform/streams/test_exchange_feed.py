"""The feed's consumer from the exchange to the index: what is told is stored and found, whatever the feed or
the index does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.domain.events import EventStatus, MarketStatus, decode_update, encode_update
from exchange_platform.process.clock import SYSTEM_CLOCK
from exchange_platform.streams.replay.dead_letters import Replayed, replay_dead_letters
from tests.exchange_platform.stores.event_index_parts import delete_directory
from tests.exchange_platform.stores.event_store import applied
from tests.exchange_platform.streams.feed_consumers import FeedPlatform, feed_platform
from tests.exchange_platform.streams.feed_server import FeedServer, feed_server
from tests.support.feed_fuzz import fuzzed_messages
from tests.support.feed_updates import event, market
from tests.support.platform_parts import wait_for


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with feed_server() as server:
        yield server


@pytest.fixture
def platform(tmp_path: Path, server: FeedServer) -> Iterator[FeedPlatform]:
    with feed_platform(tmp_path / "data", server.url) as platform:
        yield platform


def test_an_update_is_found_with_its_new_state_soon_after_the_exchange_told_it(
    server: FeedServer, platform: FeedPlatform
) -> None:
    running = platform.consume()
    running.until(lambda: platform.is_caught_up(0), "caught up")
    took: list[float] = []
    for version, status in enumerate([EventStatus.SCHEDULED, EventStatus.IN_PLAY] * 2, start=1):
        server.append(event(version=version, status=status), market(version=version, in_play=True))
        began = time.monotonic()
        wait_for(lambda: platform.found("papua new") == [("e1", status)])  # noqa: B023
        took.append(time.monotonic() - began)
    assert sorted(took)[len(took) // 2] < 1, took
    running.stop()
    assert platform.index_agrees()


def test_a_market_that_closes_is_not_open_any_more(server: FeedServer, platform: FeedPlatform) -> None:
    server.append(event(), market(), market(version=2, status=MarketStatus.SUSPENDED))
    platform.consume_all()
    assert platform.reader.market("1.1") == market(version=2, status=MarketStatus.SUSPENDED)
    assert platform.found("papua new", open_only=True)
    server.append(
        market(version=3, status=MarketStatus.CLOSED), event(version=2, status=EventStatus.FINISHED)
    )
    platform.consume_all()
    assert platform.found("papua new") == [("e1", EventStatus.FINISHED)]
    assert platform.found("papua new", open_only=True) == []


def test_a_successor_goes_on_with_the_index_and_the_gap_is_short(
    server: FeedServer, platform: FeedPlatform
) -> None:
    older = platform.consume()
    server.append(event())
    older.until(lambda: platform.found("neth"), "found")
    newer = platform.consume()
    took: list[float] = []
    for version in range(2, 12):
        status = EventStatus.IN_PLAY if version % 2 else EventStatus.SCHEDULED
        server.append(event(version=version, status=status))
        began = time.monotonic()
        wait_for(lambda: platform.found("neth") == [("e1", status)])  # noqa: B023
        took.append(time.monotonic() - began)
        if older.is_over and version > 4:
            break
    older.join()
    assert older.consumer.superseded
    assert max(took) < 2.5, took  # on an idle machine some 0.5 s
    newer.stop()
    assert platform.index_agrees()


def test_an_idle_consumer_lets_the_index_go_to_its_successor(
    server: FeedServer, platform: FeedPlatform
) -> None:
    older = platform.consume()
    server.append(event())
    older.until(lambda: platform.found("neth"), "found")
    newer = platform.consume()
    older.join()
    server.append(event("e2", name="Kenya v Nepal", participants=("Kenya", "Nepal")))
    newer.until(lambda: platform.found("nepal"), "found")
    newer.stop()


def test_an_index_that_is_deleted_meanwhile_is_filled_again(
    server: FeedServer, platform: FeedPlatform
) -> None:
    server.append(*(event(f"e{number}") for number in range(1, 30)))
    running = platform.consume_hastily()
    running.until(lambda: platform.status("e29") and platform.index_agrees(), "indexed")
    delete_directory(platform.settings.data_dir / "event-index")
    server.append(event("e30"))
    running.until(lambda: platform.status("e30") and platform.index_agrees(), "filled again")
    running.stop()


def test_an_index_that_was_never_filled_gets_the_events_of_before(
    server: FeedServer, platform: FeedPlatform
) -> None:
    server.append(event(), event("e2"))
    platform.consume_all()
    delete_directory(platform.settings.data_dir / "event-index")
    running = platform.consume()
    running.until(platform.index_agrees, "filled")
    running.stop()


def test_a_silent_feed_is_seen_and_followed_again(server: FeedServer, platform: FeedPlatform) -> None:
    running = platform.consume(silent_after_s=0.5)
    server.append(event())
    running.until(platform.status, "stored")
    server.silent.set()
    running.until(lambda: "silent for" in platform.trouble, "seen")
    server.speak_again()
    server.append(event(version=2, status=EventStatus.IN_PLAY))
    running.until(lambda: platform.status() is EventStatus.IN_PLAY, "followed again")
    running.until(lambda: not platform.trouble, "no trouble any more")
    running.stop()


def test_a_feed_that_goes_back_is_seen_and_read_again(server: FeedServer, platform: FeedPlatform) -> None:
    server.append(event(), market(), event(version=2))
    running = platform.consume_hastily()
    running.until(lambda: platform.position == "feed@feed-1 3", "stored")
    server.go_back_to(1)
    running.until(lambda: "went back" in platform.trouble, "seen")
    server.append(event(version=3, status=EventStatus.IN_PLAY))
    running.until(lambda: platform.position == "feed@feed-1 1:2", "read again")
    running.until(lambda: not platform.trouble, "no trouble any more")
    running.stop()
    assert platform.status() is EventStatus.IN_PLAY
    assert platform.reader.market("1.1") == market()
    server.append(event("e2"))
    platform.consume_all()
    assert platform.position == "feed@feed-1 1:3"
    assert platform.dead == []


def test_another_feed_is_read_from_its_beginning(server: FeedServer, platform: FeedPlatform) -> None:
    server.append(event(), market())
    running = platform.consume()
    running.until(lambda: platform.position == "feed@feed-1 2", "stored")
    server.restart_as("feed-2")
    server.append(event(version=2, status=EventStatus.FINISHED), event("e2"))
    running.until(lambda: platform.status("e2"), "the other's are stored")
    running.stop()
    assert platform.position == "feed@feed-2 2"
    assert platform.status() is EventStatus.FINISHED


def test_what_others_change_in_the_database_is_found_soon(server: FeedServer, platform: FeedPlatform) -> None:
    running = platform.consume_hastily()
    server.append(event())
    running.until(lambda: platform.found("neth"), "found")
    applied(platform.database, [event(version=2, status=EventStatus.FINISHED)], now_us=SYSTEM_CLOCK.now_us())
    running.until(lambda: platform.found("neth") == [("e1", EventStatus.FINISHED)], "found as it is now")
    running.stop()


@pytest.mark.parametrize("beside_a_run", [False, True])
def test_a_dead_update_is_applied_after_all_when_the_decoder_was_mended(
    server: FeedServer, platform: FeedPlatform, monkeypatch: pytest.MonkeyPatch, *, beside_a_run: bool
) -> None:
    server.append(
        event(),
        market(),
        encode_update(event("e2", name="Kenya v Nepal")).replace(b'"v":1', b'"v":2'),
        market(version=2, event_id="e2"),
        b"nonsense",
    )
    platform.consume_all()
    assert sorted(letter.position for letter in platform.dead) == ["3", "4", "5"]
    assert replay_dead_letters(platform.settings) == Replayed(still_dead=3)
    monkeypatch.setattr(
        "exchange_platform.streams.replay.dead_updates.decode_update",
        lambda data: decode_update(data.replace(b'"v":2', b'"v":1')),
    )
    since_us = SYSTEM_CLOCK.now_us()
    running = platform.consume_hastily() if beside_a_run else None
    if running is not None:
        running.until(lambda: platform.is_caught_up(since_us), "caught up")
    assert replay_dead_letters(platform.settings) == Replayed(applied=1, still_dead=2)
    assert replay_dead_letters(platform.settings) == Replayed(still_dead=2)
    wait_for(lambda: ("e2", EventStatus.SCHEDULED) in platform.found("kenya"))
    assert platform.index_agrees()
    if running is not None:
        running.stop()


def check_fuzzed(server: FeedServer, platform: FeedPlatform, count: int) -> None:
    """All good ones are applied, all others are dead letters with reasons, and nothing is lost."""
    messages = fuzzed_messages(count, seed=count)
    server.append(*(data for data, _ in messages))
    platform.consume_all()
    dead = {int(letter.position): letter for letter in platform.dead}
    assert all(
        letter.reason and letter.stage in ("decode", "operational_database") for letter in dead.values()
    )
    assert len(dead) > count // 2
    contradicting = 0
    for cursor, (data, update) in enumerate(messages, start=1):
        if cursor in dead:
            contradicting += update is not None
            assert data in dead[cursor].data
            assert update is None or dead[cursor].stage == "operational_database"
    assert 0 < contradicting < count / 4
    server.append(event("after-all-of-it"))
    platform.consume_all()
    assert platform.status("after-all-of-it") is EventStatus.SCHEDULED
    assert platform.index_agrees()


def test_fuzzed_messages_are_dead_letters_with_reasons_and_the_feed_goes_on(
    server: FeedServer, platform: FeedPlatform
) -> None:
    check_fuzzed(server, platform, 150)


@pytest.mark.faults
def test_ten_thousand_fuzzed_messages_are_dead_letters_with_reasons_and_the_feed_goes_on(
    server: FeedServer, platform: FeedPlatform
) -> None:
    check_fuzzed(server, platform, 10_000)
