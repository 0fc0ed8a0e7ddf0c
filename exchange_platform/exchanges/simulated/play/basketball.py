"""Basketball: four quarters of points, and overtime where they are equal. Chances are those of a normal
margin.
"""

from __future__ import annotations

import math
import random

from exchange_platform.domain.events import Score
from exchange_platform.exchanges.simulated.fixtures import Event
from exchange_platform.exchanges.simulated.play.course import Course, CourseStep, normal, solve

_MINUTES = 48
_STEPS = 24
_POINTS_A_STEP, _SPREAD_A_STEP = 4.6, 1.75


def play(event: Event, chance: random.Random) -> Course:
    """Play a match with the markets Moneyline and Point Spread, home first; the event's participants are away
    and home.
    """
    money, spread = event.markets
    line = float(spread.selections[0].handicap)
    whole = _SPREAD_A_STEP * math.sqrt(2 * _STEPS)
    edge = solve(money.selections[0].chance, -40.0, 40.0, lambda points: normal(points / whole)) / _STEPS
    home = away = 0
    steps = [_step(event, 0.0, "1st quarter", away, home, ((money.selections[0].chance,), (0.5,)))]
    for number in range(1, _STEPS + 1):
        home += max(0, round(chance.gauss(_POINTS_A_STEP + edge / 2, _SPREAD_A_STEP)))
        away += max(0, round(chance.gauss(_POINTS_A_STEP - edge / 2, _SPREAD_A_STEP)))
        left = _STEPS - number
        uncertain = _SPREAD_A_STEP * math.sqrt(2 * left) + 0.1
        margin = home - away + edge * left
        chances = ((normal(margin / uncertain),), (normal((margin + line) / uncertain),))
        quarter = number * 4 // _STEPS
        ends = number * 4 % _STEPS == 0
        phase = f"{('1st', '2nd', '3rd', '4th')[min(3, quarter - ends)]} quarter"
        if ends and left:
            phase = "half-time" if quarter == 2 else f"end of {phase}"
        steps.append(
            _step(event, 0.94 * number / _STEPS, phase, away, home, chances, jump=ends and bool(left))
        )
    if home == away:
        steps.append(
            _step(event, 0.95, "overtime", away, home, ((0.5,), (1.0 if line > 0 else 0.0,)), jump=True)
        )
        winner_scores = chance.randrange(6, 12), chance.randrange(1, 6)
        home, away = (
            (home + winner_scores[0], away + winner_scores[1])
            if chance.random() < 0.5
            else (home + winner_scores[1], away + winner_scores[0])
        )
    won, covered = home > away, home - away + line > 0
    steps.append(_step(event, 1.0, "finished", away, home, ((float(won),), (float(covered),))))
    return Course(tuple(steps), ((0 if won else 1,), (0 if covered else 1,)))


def _step(
    event: Event,
    at: float,
    phase: str,
    away: int,
    home: int,
    firsts: tuple[tuple[float], tuple[float]],
    *,
    jump: bool = False,
) -> CourseStep:
    scores = tuple(
        Score(name=name, value=str(points))
        for name, points in zip(event.participants, (away, home), strict=True)
    )
    return CourseStep(at, phase, scores, tuple((first, 1 - first) for (first,) in firsts), jump)
