"""Invented events: plausible, endless, the same for the same seed."""

from __future__ import annotations

import random

import pytest

from exchange_platform.exchanges.simulated.fixtures import Event, Fixtures, Sport


@pytest.fixture(scope="module")
def events() -> list[Event]:
    fixtures = Fixtures(random.Random(3), 1000)
    return [fixtures.next_event() for _ in range(2000)]


def test_all_sports_are_played_between_different_sides(events: list[Event]) -> None:
    assert {event.sport for event in events} == set(Sport)
    for event in events:
        for market in event.markets:
            keys = {(one.selection_id, one.handicap) for one in market.selections}
            assert len(keys) == len({one.name for one in market.selections}) == len(market.selections)


def test_chances_add_up_to_the_number_of_winners(events: list[Event]) -> None:
    for market in (market for event in events for market in event.markets):
        assert all(0 < one.chance < 1 for one in market.selections)
        total = sum(one.chance for one in market.selections)
        assert total == pytest.approx(market.number_of_winners, abs=0.01)


def test_a_race_has_eight_runners_one_winner_and_three_placed(events: list[Event]) -> None:
    races = [event for event in events if event.sport is Sport.HORSE_RACING]
    for race in races:
        win, place = race.markets
        assert (win.number_of_winners, place.number_of_winners) == (1, 3)
        assert len(win.selections) == len(place.selections) == 8
        assert [one.selection_id for one in win.selections] == [one.selection_id for one in place.selections]


def test_no_id_of_an_event_or_market_recurs_and_a_name_keeps_its_selection_id(events: list[Event]) -> None:
    markets = [market for event in events for market in event.markets]
    ids = [event.event_id for event in events] + [market.market_id for market in markets]
    assert len(ids) == len(set(ids))
    names: dict[int, set[str]] = {}
    for market in markets:
        for selection in market.selections:
            names.setdefault(selection.selection_id, set()).add(selection.name)
    assert all(len(many) == 1 for many in names.values())


def test_the_same_seed_makes_the_same_events(events: list[Event]) -> None:
    again = Fixtures(random.Random(3), 1000)
    assert [again.next_event() for _ in range(50)] == events[:50]
