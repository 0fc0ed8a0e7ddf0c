"""Cricket: twenty overs each. Chances compare what the side that bats will come to with what it has to."""

from __future__ import annotations

import math
import random

from exchange_platform.domain.events import Score
from exchange_platform.exchanges.simulated.fixtures import Event
from exchange_platform.exchanges.simulated.play.course import Course, CourseStep, normal, solve

_OVERS, _WICKETS = 20, 10
_RUNS_AN_OVER, _SPREAD_AN_OVER = 8.0, 3.6
_WICKET_AN_OVER = 0.32
_RUNS_A_WICKET = 5.0
"""How much less a side comes to for each wicket that it has lost early."""


def play(event: Event, chance: random.Random) -> Course:
    """Play a match with the market Match Odds."""
    (market,) = event.markets
    spread = _SPREAD_AN_OVER * math.sqrt(2 * _OVERS)
    edge = solve(market.selections[0].chance, -60.0, 60.0, lambda runs: normal(runs / spread))
    first = chance.randrange(2)  # the toss
    means = [_RUNS_AN_OVER + (edge if side == 0 else -edge) / (2 * _OVERS) for side in (0, 1)]
    innings = [[0, 0, 0.0], [0, 0, 0.0]]  # runs, wickets, overs by side
    steps = [_step(event, 0.0, "1st innings", innings, first, market.selections[0].chance)]
    for number, side in enumerate((first, 1 - first)):
        target = innings[first][0] + 1 if number else None
        name = "2nd innings" if number else "1st innings"
        batting = innings[side]
        for over in range(1, _OVERS + 1):
            wicket = chance.random() < _WICKET_AN_OVER
            batting[0] += max(
                0,
                round(
                    chance.gauss(means[side] + (_WICKET_AN_OVER - wicket) * _RUNS_A_WICKET, _SPREAD_AN_OVER)
                ),
            )
            batting[1] += wicket
            batting[2] = float(over)
            chased = target is not None and batting[0] >= target
            if chased:
                assert target is not None
                batting[0] = target + chance.randrange(4)
            left = 0 if chased or batting[1] == _WICKETS else _OVERS - over
            expected = (
                batting[0]
                + left * means[side]
                - _RUNS_A_WICKET * max(0.0, batting[1] - over * _WICKET_AN_OVER) * left / _OVERS
            )
            against = (target - 1) if target is not None else _OVERS * means[1 - side]
            uncertain = _SPREAD_AN_OVER * math.sqrt(left + (0 if number else _OVERS)) + 1e-9
            bats = normal((expected - against) / uncertain)
            at = (number * _OVERS + over) / (2 * _OVERS)
            steps.append(
                _step(event, at * 0.98, name, innings, first, bats if side == 0 else 1 - bats, jump=wicket)
            )
            if not left:
                break
        if not number:
            steps.append(_step(event, 0.49, "innings break", innings, first, steps[-1].chances[0][0]))
    home, away = innings[0][0], innings[1][0]
    winner = (
        (0 if home > away else 1) if home != away else int(chance.random() >= market.selections[0].chance)
    )
    steps.append(
        _step(
            event,
            1.0,
            "finished" if home != away else "finished after a super over",
            innings,
            first,
            1.0 - winner,
        )
    )
    return Course(tuple(steps), ((winner,),))


def _step(
    event: Event,
    at: float,
    phase: str,
    innings: list[list[float]],
    first: int,
    home: float,
    *,
    jump: bool = False,
) -> CourseStep:
    batted = (
        [True, True]
        if innings[1 - first][2] or phase not in ("1st innings", "innings break")
        else [side == first for side in (0, 1)]
    )
    scores = tuple(
        Score(name=name, value=f"{runs:.0f}/{wickets:.0f}", detail=f"{overs:.1f} overs")
        if bats
        else Score(name=name, value="yet to bat")
        for name, (runs, wickets, overs), bats in zip(event.participants, innings, batted, strict=True)
    )
    return CourseStep(at, phase, scores, ((home, 1 - home),), jump)
