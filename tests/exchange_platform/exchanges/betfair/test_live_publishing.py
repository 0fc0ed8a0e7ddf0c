"""What following live derived is published in order, once what takes it is there; what the journal keeps
until then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from exchange_platform.exchanges.betfair.connection import Envelope
from exchange_platform.exchanges.betfair.live_book import LiveBook
from exchange_platform.exchanges.betfair.live_journal import LiveJournal
from exchange_platform.exchanges.betfair.live_publishing import LivePublishing, PublishingWaits
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.bets.restatements import Restatement
from exchange_platform.streams.sources.kinesis import StreamUnavailable
from tests.exchange_platform.exchanges.betfair.messages import definition, line, rc
from tests.exchange_platform.exchanges.betfair.test_live import made_lines, of_recording
from tests.exchange_platform.exchanges.betfair.test_replay import Fed, Published

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
    stream, feed, restated = Published(), Fed(), Restated()
    publishing = LivePublishing(journal, publisher=stream, feed=feed, restatements=restated)
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

    stream, feed, restated = Published(after=0, then=away), Fed(), Restated()
    with pytest.raises(PublishingWaits, match="the stream took nothing"):
        LivePublishing(journal, publisher=stream, feed=feed, restatements=restated).publish_waiting()
    assert len(journal.waiting(10**6)) == waiting
    restated.away = True
    stream = Published()
    with pytest.raises(PublishingWaits, match="the database is away"):
        LivePublishing(journal, publisher=stream, feed=feed, restatements=restated).publish_waiting()
    assert len(journal.waiting(10**6)) == waiting
    restated.away = False
    assert LivePublishing(journal, publisher=stream, feed=feed, restatements=restated).publish_waiting()
    assert journal.waiting() == []


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
