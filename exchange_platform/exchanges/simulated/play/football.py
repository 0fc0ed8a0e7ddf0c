"""Football: goals of two teams in 90 minutes. Chances are those of Poisson goals at rates that fit the first
odds.
"""

from __future__ import annotations

import random

from exchange_platform.domain.events import Score
from exchange_platform.exchanges.simulated.fixtures import Event
from exchange_platform.exchanges.simulated.play.course import Chances, Course, CourseStep, poisson, solve

_MINUTES_A_STEP, _STEPS = 2, 45
_BREAK = 0.04
"""The half-time's share of the time."""
_MAX_GOALS = 9


def play(event: Event, chance: random.Random) -> Course:
    """Play a match with the markets Match Odds and Over/Under 2.5 Goals."""
    odds, goals = event.markets
    total = solve(goals.selections[1].chance, 0.3, 8.0, lambda mean: 1 - sum(poisson(mean, 2)))
    home_share = solve(
        odds.selections[0].chance, 0.02, 0.98, lambda one: _outcomes(0, 0, total * one, total * (1 - one))[0]
    )
    rates = (total * home_share, total * (1 - home_share))
    score = [0, 0]
    steps = [_step(event, 0.0, "1st half", score, rates, 1.0)]
    for number in range(1, _STEPS + 1):
        first_half = number * _MINUTES_A_STEP <= 45
        played = number / _STEPS
        at = played * (1 - _BREAK) + (0.0 if first_half else _BREAK)
        if number == _STEPS // 2 + 1:
            steps.append(_step(event, at - _BREAK, "half-time", score, rates, 1 - played))
        scored = [side for side in (0, 1) if chance.random() < rates[side] / _STEPS]
        for side in scored:
            score[side] += 1
        phase = "full time" if number == _STEPS else "1st half" if first_half else "2nd half"
        steps.append(_step(event, min(at, 1.0), phase, score, rates, 1 - played, jump=bool(scored)))
    home, away = score
    result = 0 if home > away else 1 if away > home else 2
    return Course(tuple(steps), ((result,), (int(home + away > 2),)))


def _step(
    event: Event,
    at: float,
    phase: str,
    score: list[int],
    rates: tuple[float, float],
    left: float,
    *,
    jump: bool = False,
) -> CourseStep:
    scores = tuple(
        Score(name=name, value=str(goals)) for name, goals in zip(event.participants, score, strict=True)
    )
    return CourseStep(at, phase, scores, _chances(score, rates, left), jump)


def _chances(score: list[int], rates: tuple[float, float], left: float) -> Chances:
    home, away = rates[0] * left, rates[1] * left
    missing = 2 - score[0] - score[1]
    under = sum(poisson(home + away, missing)) if missing >= 0 else 0.0
    return _outcomes(score[0], score[1], home, away), (under, 1 - under)


def _outcomes(home: int, away: int, home_rate: float, away_rate: float) -> tuple[float, float, float]:
    """The chances of home, away and draw, from a score and the goals that are still to be expected."""
    home_goals, away_goals = poisson(home_rate, _MAX_GOALS), poisson(away_rate, _MAX_GOALS)
    wins = [0.0, 0.0, 0.0]
    for more_home, home_chance in enumerate(home_goals):
        for more_away, away_chance in enumerate(away_goals):
            lead = home + more_home - away - more_away
            wins[0 if lead > 0 else 1 if lead < 0 else 2] += home_chance * away_chance
    return wins[0], wins[1], wins[2]
