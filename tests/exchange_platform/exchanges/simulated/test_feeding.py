"""What the feed is told in half an hour of the exchange: whole states at growing versions that never lag
behind the markets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from exchange_platform.domain.events import (
    EventStatus,
    EventUpdate,
    FeedUpdate,
    MarketStatus,
    MarketUpdate,
    SelectionStatus,
    encode_update,
)
from exchange_platform.domain.records import Execution, decode
from exchange_platform.exchanges.feed_journal import FEED_FILE, FeedJournal
from exchange_platform.exchanges.simulated import process
from exchange_platform.exchanges.simulated.exchange import Exchange
from exchange_platform.exchanges.simulated.states import Phase
from tests.exchange_platform.exchanges.simulated.running import MadeUpTime, RunningExchange


@pytest.fixture(scope="module")
def events(half_an_hour: RunningExchange) -> dict[str, list[EventUpdate]]:
    told: dict[str, list[EventUpdate]] = defaultdict(list)
    for update in half_an_hour.feed:
        if isinstance(update, EventUpdate):
            told[update.event_id].append(update)
    return told


@pytest.fixture(scope="module")
def markets(half_an_hour: RunningExchange) -> dict[str, list[MarketUpdate]]:
    told: dict[str, list[MarketUpdate]] = defaultdict(list)
    for update in half_an_hour.feed:
        if isinstance(update, MarketUpdate):
            told[update.market_id].append(update)
    return told


def test_versions_of_each_entity_grow_and_time_never_goes_back(
    events: dict[str, list[EventUpdate]], markets: dict[str, list[MarketUpdate]]
) -> None:
    histories: list[Sequence[EventUpdate | MarketUpdate]] = [*events.values(), *markets.values()]
    for history in histories:
        for before, after in pairwise(history):
            assert after.version == before.version + 1
            assert after.updated_at >= before.updated_at


def test_every_event_is_announced_before_its_markets_with_who_plays_and_when(
    half_an_hour: RunningExchange, events: dict[str, list[EventUpdate]]
) -> None:
    seen: set[str] = set()
    for update in half_an_hour.feed:
        if isinstance(update, EventUpdate):
            seen.add(update.event_id)
        else:
            assert update.event_id in seen
    for history in events.values():
        first = history[0]
        assert first.status is EventStatus.SCHEDULED
        assert first.starts_at is not None
        assert first.competition
        assert len(first.participants) in (2, 8)
        assert all(name in first.name for name in first.participants) or first.sport == "horse racing"


def test_there_are_always_dozens_of_events_ahead_in_the_order_of_their_start(
    half_an_hour: RunningExchange,
) -> None:
    upcoming = half_an_hour.exchange._programme.upcoming
    assert 30 <= len(upcoming) <= 60
    assert [one.opens_at_us for one in upcoming] == sorted(one.opens_at_us for one in upcoming)
    ahead_s = [(one.starts_at_us - half_an_hour.clock.us) / 1e6 for one in upcoming]
    assert max(ahead_s) > 200  # at thrice the pace
    playing = [name for one in upcoming for name in one.event.participants]
    assert len(playing) - len(set(playing)) < 0.1 * len(playing)


def test_a_market_is_inactive_then_open_and_once_closed_it_stays_so(
    markets: dict[str, list[MarketUpdate]],
) -> None:
    order = {
        MarketStatus.INACTIVE: 0,
        MarketStatus.OPEN: 1,
        MarketStatus.SUSPENDED: 1,
        MarketStatus.CLOSED: 2,
    }
    at_once = 0  # of the very first events, which begin in the middle
    for history in markets.values():
        stages = [order[update.status] for update in history]
        assert stages == sorted(stages)
        assert [update.traded_minor for update in history] == sorted(
            update.traded_minor for update in history
        )
        for update in history:
            if update.status is MarketStatus.INACTIVE:
                assert update.traded_minor == 0
            assert (update.bet_delay_s > 0) == update.in_play
            assert not (update.in_play and update.status not in (MarketStatus.OPEN, MarketStatus.SUSPENDED))
        at_once += stages[0] == 1
    assert at_once <= 18 < len(markets)


def _shown(update: MarketUpdate) -> list[SelectionStatus]:
    return [selection.status for selection in update.selections]


def test_results_their_correction_and_voids_are_seen(markets: dict[str, list[MarketUpdate]]) -> None:
    taken_back = voids = placed = 0
    for history in markets.values():
        for before, after in pairwise(history):
            if before.settled_at is not None and after.settled_at is None:
                taken_back += 1
                assert set(_shown(after)) == {SelectionStatus.ACTIVE}
        for update in history:
            statuses = _shown(update)
            if update.settled_at is None:
                assert set(statuses) == {SelectionStatus.ACTIVE}
                continue
            assert update.status is MarketStatus.CLOSED
            if SelectionStatus.REMOVED in statuses:
                voids += 1
                assert set(statuses) == {SelectionStatus.REMOVED}
                continue
            won = statuses.count(SelectionStatus.WINNER) + statuses.count(SelectionStatus.PLACED)
            assert won == update.number_of_winners
            assert won + statuses.count(SelectionStatus.LOSER) == len(statuses)
            placed += SelectionStatus.PLACED in statuses
        settled = [_shown(update) for update in history if update.settled_at is not None]
        for before_shown, after_shown in pairwise(settled):
            assert before_shown != after_shown, "a correction changes the result"
    assert taken_back > 2
    assert voids > 2
    assert placed > 2


def test_scores_only_rise_and_the_result_is_the_scores(
    events: dict[str, list[EventUpdate]], markets: dict[str, list[MarketUpdate]]
) -> None:
    finished = 0
    for history in events.values():
        if history[0].sport != "football":
            continue
        goals = [[int(score.value) for score in update.scores] for update in history if update.scores]
        for before, after in pairwise(goals):
            assert all(one <= other for one, other in zip(before, after, strict=True))
        if history[-1].status is not EventStatus.FINISHED:
            continue
        home, away = goals[-1]
        right = {0 if home > away else 1 if away > home else 2}
        for market in markets.values():
            last = market[-1]
            if (
                last.event_id != history[0].event_id
                or last.market_type != "MATCH_ODDS"
                or last.settled_at is None
            ):
                continue
            won = {place for place, status in enumerate(_shown(last)) if status is SelectionStatus.WINNER}
            if won:
                assert won == right
                finished += 1
    assert finished > 10


def test_events_go_from_scheduled_to_in_play_to_their_end(events: dict[str, list[EventUpdate]]) -> None:
    stage = {
        EventStatus.SCHEDULED: 0,
        EventStatus.IN_PLAY: 1,
        EventStatus.FINISHED: 2,
        EventStatus.ABANDONED: 2,
    }
    ends: set[EventStatus] = set()
    for history in events.values():
        stages = [stage[update.status] for update in history]
        assert stages == sorted(stages)
        ends.add(history[-1].status)
        for update in history:
            assert bool(update.phase) == (update.status is not EventStatus.SCHEDULED)
    assert ends == set(EventStatus)


def test_volume_is_the_stake_matched_and_told_within_seconds(
    half_an_hour: RunningExchange, markets: dict[str, list[MarketUpdate]]
) -> None:
    traded: dict[str, int] = defaultdict(int)
    for _, data in half_an_hour.pairs:
        record = decode(data)
        if isinstance(record, Execution):
            traded[record.market_id] += int(record.stake * 100)
    for market_id, history in markets.items():
        if market_id in half_an_hour.exchange.markets:
            assert half_an_hour.exchange.markets[market_id].state.traded_minor == traded[market_id]
        elif history[-1].settled_at is not None:
            assert history[-1].traded_minor == traded[market_id]


def test_a_suspension_is_in_the_feed_before_any_record_of_its_tick_is_published(tmp_path: Path) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime(), rate=5)
    feed = FeedJournal(tmp_path / FEED_FILE)
    told: dict[str, MarketStatus] = {}
    suspended = 0
    for _ in range(20 * 60):
        running.run(0.05)
        for update in running.feed:
            feed_bytes = encode_update(update)
            assert feed_bytes
            if isinstance(update, MarketUpdate):
                told[update.market_id] = update.status
        running.feed.clear()
        for market_id, live in running.exchange.markets.items():
            assert (told[market_id] is MarketStatus.OPEN) == live.state.open
            suspended += live.state.suspended
    assert suspended
    feed.close()


def _newest(updates: list[FeedUpdate]) -> dict[str, FeedUpdate]:
    newest: dict[str, FeedUpdate] = {}
    for update in updates:
        key = update.event_id if isinstance(update, EventUpdate) else update.market_id
        assert key not in newest or update.version >= newest[key].version
        newest[key] = update
    return newest


def test_a_death_between_the_journal_and_the_feed_loses_no_update_and_state_is_told_anew(
    tmp_path: Path,
) -> None:
    clock = MadeUpTime()
    path = tmp_path / "journal.sqlite"
    running = RunningExchange(path, clock, rate=5)
    running.run(60, tick_s=0.2)
    fed = list(running.feed)
    # The last ticks are committed and not fed: among them an event that ends.
    exchange: Exchange = running.exchange
    live = next(iter(exchange.markets.values()))
    live.state.phase, live.state.next_step_at_us = Phase.SETTLED, 0
    for _ in range(3):
        exchange.tick(running.journal.progress)
        clock.us += 50_000
    lost = running.journal.unfed
    assert lost
    del running, exchange
    again = RunningExchange(path, clock, rate=5)
    assert again.journal.unfed[: len(lost)] == lost
    again.run(0.05)
    fed += again.feed
    newest = _newest(fed)
    for market_id, one in again.exchange.markets.items():
        update = newest[market_id]
        assert isinstance(update, MarketUpdate)
        assert (update.status is MarketStatus.OPEN) == one.state.open
    assert {one.event.event_id for one in again.exchange._programme.upcoming} <= set(newest)


def test_what_was_fed_is_not_kept(tmp_path: Path) -> None:
    running = RunningExchange(tmp_path / "journal.sqlite", MadeUpTime(), rate=5)
    feed = FeedJournal(tmp_path / FEED_FILE)
    for _ in range(50):
        running.exchange.tick(running.journal.progress)
        process._feed(running.journal, feed)
        running.clock.us += 50_000
    rows = running.journal._db.execute("SELECT count(*) FROM feed_outbox").fetchone()[0]
    assert rows <= 1
    assert feed.newest() > 100
