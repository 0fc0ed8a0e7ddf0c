"""Each sport's course of play: whole from start to result, with chances that mean what they say."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import pytest

from exchange_platform.exchanges.simulated.fixtures import Event, Fixtures, Sport
from exchange_platform.exchanges.simulated.play.course import Course
from exchange_platform.exchanges.simulated.play.sports import course_of

START_US = 1_795_000_000_000_000


@pytest.fixture(scope="module")
def played() -> list[tuple[Event, Course]]:
    fixtures = Fixtures(random.Random(11), 1)
    events = [fixtures.next_event(START_US) for _ in range(700)]
    return [(event, course_of(event, 3)) for event in events]


def test_a_course_runs_from_the_start_to_the_result(played: list[tuple[Event, Course]]) -> None:
    for event, course in played:
        times = [step.at for step in course.steps]
        assert (times[0], times[-1]) == (0.0, 1.0)
        assert times == sorted(times)
        assert all(step.phase for step in course.steps)
        for market, winners in zip(event.markets, course.winners, strict=True):
            assert len(winners) == market.number_of_winners
            assert set(winners) <= set(range(len(market.selections)))


def test_chances_are_some_at_every_step_and_those_of_the_result_at_the_end(
    played: list[tuple[Event, Course]],
) -> None:
    for event, course in played:
        for step in course.steps:
            for market, chances in zip(event.markets, step.chances, strict=True):
                assert len(chances) == len(market.selections)
                assert all(0 <= chance <= 1.000001 for chance in chances)
                assert sum(chances) > 0
        for winners, chances in zip(course.winners, course.steps[-1].chances, strict=True):
            likeliest = sorted(range(len(chances)), key=lambda place: -chances[place])
            assert sorted(likeliest[: len(winners)]) == sorted(winners)


def test_selections_win_as_often_as_the_odds_at_the_start_and_half_way_say(
    played: list[tuple[Event, Course]],
) -> None:
    said: dict[tuple[Sport, str], list[tuple[float, bool]]] = defaultdict(list)
    for event, course in played:
        half = next(step for step in course.steps if step.at >= 0.45)
        for place, market in enumerate(event.markets):
            for number, selection in enumerate(market.selections):
                won = number in course.winners[place]
                said[event.sport, "start"].append((selection.chance, won))
                said[event.sport, "half way"].append((half.chances[place][number], won))
    for (_, when), ones in said.items():
        for low, high in ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.01)):
            group = [(chance, won) for chance, won in ones if low <= chance < high]
            if len(group) > 100:
                expected = sum(chance for chance, _ in group) / len(group)
                seen = sum(won for _, won in group) / len(group)
                assert seen == pytest.approx(expected, abs=0.1 if when == "start" else 0.16)


def test_goals_wickets_and_sets_suspend_and_scores_follow_them(played: list[tuple[Event, Course]]) -> None:
    jumps: dict[Sport, int] = defaultdict(int)
    for event, course in played:
        for before, after in pairwise(course.steps):
            jumps[event.sport] += after.jump
            if event.sport is Sport.FOOTBALL:
                assert after.jump == (before.scores != after.scores)
    assert all(jumps[sport] > 0 for sport in Sport if sport is not Sport.HORSE_RACING)


def test_the_same_event_and_seed_have_the_same_course(played: list[tuple[Event, Course]]) -> None:
    for event, course in played[:50]:
        assert course_of(event, 3) == course
    assert any(course_of(event, 4) != course for event, course in played[:50])
