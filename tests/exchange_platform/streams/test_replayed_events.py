"""A recorded match from its files to type-ahead: through the feed's journal, the gateway, the consumer, the
database and the index.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_platform.domain.events import EventStatus, MarketStatus, SelectionStatus
from exchange_platform.exchanges.betfair.replay import replay
from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from tests.exchange_platform.exchanges.betfair.test_replay import Forgotten, Published
from tests.exchange_platform.streams.feed_consumers import FeedPlatform, feed_platform
from tests.exchange_platform.streams.gateway import running_gateway

EVENT, MARKET = "31573045", "1.200806927"


@pytest.fixture(scope="module")
def recorded(feeds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a feed that was told the whole match. Only read it."""
    path = tmp_path_factory.mktemp("recorded") / FEED_FILE
    whole = FeedJournal(path)
    replayed(feeds, whole)
    whole.close()
    return path


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FeedJournal]:
    journal = FeedJournal(tmp_path / FEED_FILE)
    yield journal
    journal.close()


@pytest.fixture
def platform(tmp_path: Path, journal: FeedJournal) -> Iterator[FeedPlatform]:
    with running_gateway(tmp_path) as url, feed_platform(tmp_path / "data", url) as platform:
        yield platform


def replayed(feeds: Path, journal: FeedJournal) -> int:
    """Replay the cricket match with its sports data; how many updates there are in the feed by then."""
    files = [feeds / "1.200806927.bz2", feeds / "1.200806927.sportsdata.bz2"]
    replay(files, publisher=Published(), restatements=Forgotten(), feed=journal)
    return journal.newest()


def told_all(recorded: Path, journal: FeedJournal) -> int:
    """Tell the feed what the recorded one was told; how many updates there are in it by then."""
    whole = FeedJournal(recorded)
    after = 0
    while page := whole.read(after).updates:
        after = page[-1].cursor
        journal.append([entry.data for entry in page])
    whole.close()
    return journal.newest()


def test_the_match_is_found_by_what_people_type_and_is_over_with_its_winner(
    recorded: Path, journal: FeedJournal, platform: FeedPlatform
) -> None:
    updates = told_all(recorded, journal)
    platform.consume_all()
    for text in ("neth", "papua new", "png", "netherlnds"):
        assert platform.found(text) == [(EVENT, EventStatus.FINISHED)], text
        assert platform.found(text, open_only=True) == []
    stored = platform.reader.get(EVENT)
    assert stored is not None
    assert (stored.event.name, stored.event.phase) == ("Netherlands v Papua New Guinea", "2nd innings")
    assert [(score.name, score.value) for score in stored.event.scores] == [
        ("Netherlands", "163/7"),
        ("Papua New Guinea", "111/10"),
    ]
    (market,) = stored.markets
    assert (market.market_id, market.status, market.settled_at is None) == (
        MARKET,
        MarketStatus.CLOSED,
        False,
    )
    assert [(one.name, one.status) for one in market.selections] == [
        ("Netherlands", SelectionStatus.WINNER),
        ("Papua New Guinea", SelectionStatus.LOSER),
    ]
    assert platform.dead == []
    assert platform.index_agrees()
    assert updates > 1000


@pytest.mark.long
def test_the_match_replayed_again_changes_nothing(
    feeds: Path, recorded: Path, journal: FeedJournal, platform: FeedPlatform
) -> None:
    once = told_all(recorded, journal)
    platform.consume_all()
    before = platform.reader.get(EVENT)
    assert replayed(feeds, journal) == 2 * once
    platform.consume_all()
    assert platform.reader.get(EVENT) == before
    assert platform.dead == []


def test_while_the_match_is_on_it_is_offered_as_open_and_takes_no_bets_when_suspended(
    recorded: Path, journal: FeedJournal, platform: FeedPlatform
) -> None:
    whole = FeedJournal(recorded)
    seen: list[tuple[EventStatus | None, MarketStatus | None, bool]] = []
    turns = [b'"status":"SUSPENDED"', b'"in_play":true', b'"status":"SUSPENDED"', b'"status":"CLOSED"']
    after = 0
    for turn in turns:
        part: list[bytes] = []
        while not part or turn not in part[-1]:
            (entry,) = whole.read(after, 1).updates
            after = entry.cursor
            part.append(entry.data)
        journal.append(part)
        platform.consume_all()
        market = platform.reader.market(MARKET)
        seen.append(
            (
                platform.status(EVENT),
                market.status if market else None,
                bool(platform.found("neth", open_only=True)),
            )
        )
    whole.close()
    assert seen == [
        (EventStatus.SCHEDULED, MarketStatus.SUSPENDED, True),
        (EventStatus.SCHEDULED, MarketStatus.OPEN, True),  # its own update comes next
        (EventStatus.IN_PLAY, MarketStatus.SUSPENDED, True),
        (EventStatus.FINISHED, MarketStatus.CLOSED, False),
    ]
