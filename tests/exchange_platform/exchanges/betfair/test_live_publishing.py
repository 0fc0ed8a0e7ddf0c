"""What following live derived is published in order, once what takes it is there; what the journal keeps
until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from exchange_platform.exchanges.betfair.connection import Envelope
from exchange_platform.exchanges.betfair.live_book import LiveBook
from exchange_platform.exchanges.betfair.live_journal import LiveJournal
from exchange_platform.exchanges.betfair.live_publishing import (
    RETAINED_S,
    STREAM_CHECK_EVERY_S,
    LivePublishing,
    PublishingWaits,
)
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.bets.restatements import Restatement
from exchange_platform.streams.sources.kinesis import StreamUnavailable
from tests.exchange_platform.exchanges.betfair.messages import definition, line, rc
from tests.exchange_platform.exchanges.betfair.test_live import made_lines, of_recording
from tests.exchange_platform.exchanges.betfair.test_replay import Fed, Published
from tests.exchange_platform.local.conftest import MovedClock

UPDATE = Envelope(op="mcm", clk="c", initial_clk="i")


class Restated:
    """Takes restatements; may be away."""

    def __init__(self) -> None:
        self.rows: list[Restatement] = []
        self.away = False

    def add(self, rows: Sequence[Restatement]) -> None:
        if self.away:
            raise StoreUnavailable("the database is away")
        self.rows += rows


class Stream(Published):
    """One shard, which may be lost and made again; knows where what was published lies in it."""

    def __init__(self, after: int = -1, then: Callable[[], None] | None = None) -> None:
        super().__init__(after=after, then=then)
        self.positions: dict[str, str] = {}
        self.made_at = 1

    def created_at(self) -> int:
        return self.made_at

    def publish(self, records: Sequence[tuple[str, bytes]]) -> None:
        super().publish(records)
        self.positions["shard-0"] = str(int(self.positions.get("shard-0", "0")) + len(records))

    def make_again(self) -> None:
        """As an emulator that was killed: nothing is in it."""
        self.made_at += 1
        self.calls.clear()


def publishing_to(
    journal: LiveJournal,
    stream: Stream,
    feed: Fed | None = None,
    restated: Restated | None = None,
    *,
    committed: Callable[[], dict[str, str]] = dict,
    clock: MovedClock | None = None,
) -> LivePublishing:
    return LivePublishing(
        journal,
        publisher=stream,
        feed=feed or Fed(),
        restatements=restated or Restated(),
        committed=committed,
        clock=clock or MovedClock(),
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[LiveJournal]:
    journal = LiveJournal(tmp_path / "live.sqlite", "these")
    yield journal
    journal.close()


def taken(journal: LiveJournal, lines: Sequence[bytes]) -> LiveBook:
    book = LiveBook(journal)
    for each in lines:
        book.take(each, UPDATE)
    return book


def test_everything_is_published_once_and_in_order(journal: LiveJournal) -> None:
    lines = made_lines()
    book = taken(journal, lines)
    stream, feed, restated = Stream(), Fed(), Restated()
    publishing = publishing_to(journal, stream, feed, restated)
    assert publishing.publish_waiting() == book.executions + book.updates + book.restatements
    expected = of_recording(lines)
    assert stream.ids == [one.execution_id for one in expected.executions]
    assert stream.keys == [one.market_id for one in expected.executions]
    assert {
        getattr(update, "market_id", update.event_id): update for update in feed.updates
    } == expected.newest
    assert len(restated.rows) == book.restatements > 0
    assert publishing.publish_waiting() == 0


def test_what_can_t_be_published_waits_and_is_published_later(journal: LiveJournal) -> None:
    taken(journal, made_lines())
    waiting = len(journal.waiting(10**6))

    def away() -> None:
        raise StreamUnavailable("the stream took nothing")

    stream, feed, restated = Stream(after=0, then=away), Fed(), Restated()
    with pytest.raises(PublishingWaits, match="the stream took nothing"):
        publishing_to(journal, stream, feed, restated).publish_waiting()
    assert len(journal.waiting(10**6)) == waiting
    restated.away = True
    stream = Stream()
    with pytest.raises(PublishingWaits, match="the database is away"):
        publishing_to(journal, stream, feed, restated).publish_waiting()
    assert len(journal.waiting(10**6)) == waiting
    restated.away = False
    assert publishing_to(journal, stream, feed, restated).publish_waiting()
    assert journal.waiting() == []


def test_a_stream_that_was_lost_gets_again_what_not_every_store_has_committed(journal: LiveJournal) -> None:
    """Betfair sends no trade twice: what an emulator held when it was killed was gone for good."""
    taken(journal, made_lines())
    stream, clock = Stream(), MovedClock()
    publishing = publishing_to(journal, stream, clock=clock)
    publishing.publish_waiting()
    published = stream.ids
    assert published
    clock.pass_s(3600)  # however long ago it was
    publishing.publish_waiting()
    stream.make_again()
    clock.pass_s(STREAM_CHECK_EVERY_S)
    publishing.publish_waiting()
    assert stream.ids == published
    clock.pass_s(STREAM_CHECK_EVERY_S)
    publishing.publish_waiting()
    assert stream.ids == published


def test_who_starts_later_notices_that_the_stream_was_lost(journal: LiveJournal) -> None:
    taken(journal, made_lines())
    stream = Stream()
    publishing_to(journal, stream).publish_waiting()
    published = stream.ids
    stream.make_again()
    publishing_to(journal, stream).publish_waiting()
    assert stream.ids == published


def test_a_stream_that_dies_while_it_gets_everything_again_gets_it_again(journal: LiveJournal) -> None:
    taken(journal, made_lines())
    stream = Stream()
    publishing_to(journal, stream).publish_waiting()
    published = stream.ids
    stream.make_again()

    def die() -> None:
        raise StreamUnavailable("killed again")

    stream._after, stream._then = 0, die
    publishing = publishing_to(journal, stream)
    with pytest.raises(PublishingWaits, match="killed again"):
        publishing.publish_waiting()
    stream._then = None
    stream.make_again()
    publishing.publish_waiting()
    assert stream.ids == published


def test_what_every_store_has_committed_is_forgotten_ten_minutes_after_it_was_published(
    journal: LiveJournal,
) -> None:
    taken(journal, made_lines())
    stream, clock, held = Stream(), MovedClock(), dict[str, str]()
    publishing = publishing_to(journal, stream, committed=lambda: held, clock=clock)
    publishing.publish_waiting()
    count = len(journal.kept(limit=10**6))
    assert count == len(stream.ids)

    def kept_after(seconds: float) -> int:
        clock.pass_s(seconds)
        publishing.publish_waiting()
        return len(journal.kept(limit=10**6))

    assert kept_after(RETAINED_S + 60) == count
    held["shard-0@1"] = str(count - 1)
    assert kept_after(60) == count
    held["shard-0@2"] = str(count)  # of another stream
    assert kept_after(60) == count
    held["shard-0@1"] = str(count)
    assert kept_after(60) == 0


def test_what_is_committed_is_kept_for_ten_minutes(journal: LiveJournal) -> None:
    taken(journal, made_lines())
    stream, clock = Stream(), MovedClock()
    publishing = publishing_to(journal, stream, committed=lambda: {"shard-0@1": "1000000"}, clock=clock)
    publishing.publish_waiting()
    clock.pass_s(RETAINED_S - 60)
    publishing.publish_waiting()
    assert len(journal.kept(limit=10**6)) == len(stream.ids) > 0


def test_too_much_that_is_kept_goes_and_is_counted(journal: LiveJournal) -> None:
    taken(journal, made_lines())
    stream = Stream()
    publishing_to(journal, stream).publish_waiting()
    assert journal.settle({}, before_us=0, max_kept=10) == len(stream.ids) - 10
    assert len(journal.kept(limit=10**6)) == 10


def test_a_journal_that_is_opened_again_knows_what_it_knew(tmp_path: Path) -> None:
    lines = made_lines()
    journal = LiveJournal(tmp_path / "live.sqlite", "these")
    before = taken(journal, lines[:100])
    waiting = journal.waiting(10**6)
    journal.close()
    journal = LiveJournal(tmp_path / "live.sqlite", "these")
    after = LiveBook(journal)
    assert after.tokens == ("i", "c")
    assert journal.messages == 100
    assert journal.waiting(10**6) == waiting
    assert {
        market_id: {place: ladder for place, ladder in market.volumes.items() if ladder}
        for market_id, market in after.ladders._markets.items()
    } == {
        market_id: {place: ladder for place, ladder in market.volumes.items() if ladder}
        for market_id, market in before.ladders._markets.items()
    }
    journal.close()


def test_a_price_that_comes_twice_in_a_message_counts_as_it_came_last(tmp_path: Path) -> None:
    journal = LiveJournal(tmp_path / "live.sqlite", "these")
    lines = [
        line(0, marketDefinition=definition("OPEN", r7="ACTIVE"), img=True),
        line(1, rc(7, [("2", "4"), ("2.0", "0"), ("3", "0"), ("3.00", "5")])),
    ]
    before = taken(journal, lines)
    journal.close()
    journal = LiveJournal(tmp_path / "live.sqlite", "these")
    assert LiveBook(journal).ladders.traded("1.2") == before.ladders.traded("1.2") == 5 / 2
    journal.close()


def test_markets_that_are_over_are_forgotten_after_an_hour(tmp_path: Path) -> None:
    journal = LiveJournal(tmp_path / "live.sqlite", "these")
    hour = 3_600_000
    lines = [
        line(
            0, rc(7, [("2", "4")]), marketDefinition=definition("CLOSED", r7="WINNER"), img=True, market="1.9"
        ),
        *(line(hour + ms, rc(7, [("2", f"{ms}")])) for ms in range(1, 1000)),
    ]
    book = taken(journal, lines)
    assert journal.messages == 1000
    assert book.ladders.traded("1.9") == 0
    assert [one.mc[0].id for one in journal.markets() if one.mc] == ["1.2"]
    journal.close()
