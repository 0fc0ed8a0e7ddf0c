"""Horse racing: who comes in when. The order is drawn by the first odds; on the way it shows through, and the
chances are what can be concluded from that.

Each horse is seen as noise of a Brownian motion, and one that will win as such a motion with a drift: then
the chance of each is its first one times exp(drift x what is seen of it), scaled (Bayes). The motion's own
time runs ever faster, so that the finish leaves no doubt.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise

from exchange_platform.domain.events import Score
from exchange_platform.exchanges.simulated.fixtures import Event
from exchange_platform.exchanges.simulated.play.course import Course, CourseStep

_PHASES = (
    (0.0, "off"),
    (0.25, "first bend"),
    (0.5, "halfway"),
    (0.75, "home straight"),
    (0.9, "final furlong"),
    (1.0, "finished"),
)
_BETWEEN = 4
_DRIFT = 1.3


def play(event: Event, chance: random.Random) -> Course:
    """Run a race with the markets Win and To Be Placed, whose selections are the same horses."""
    win, place = event.markets
    first_chances = [selection.chance for selection in win.selections]
    paid = place.number_of_winners
    order: list[int] = []
    left = list(range(len(first_chances)))
    while left:
        drawn = chance.choices(left, weights=[first_chances[horse] for horse in left])[0]
        left.remove(drawn)
        order.append(drawn)
    place_odds = [selection.chance / (1 - selection.chance) for selection in place.selections]
    winning, placing = _Seen(order[:1], len(order), chance), _Seen(order[:paid], len(order), chance)
    steps: list[CourseStep] = []
    for (begins, phase), (ends, _) in pairwise((*_PHASES, (2.0, ""))):
        for part in range(1 if begins == 1.0 else _BETWEEN):
            at = begins + (ends - begins) * part / _BETWEEN
            if at == 1.0:
                finish = tuple(
                    Score(name=win.selections[horse].name, value=str(number))
                    for number, horse in enumerate(order[:paid], 1)
                )
                known = tuple(
                    tuple(float(horse in some) for horse in range(len(order)))
                    for some in (order[:1], order[:paid])
                )
                steps.append(CourseStep(at, phase, finish, known))
                continue
            wins = winning.weigh(first_chances, at)
            total = sum(wins)
            odds = placing.weigh(place_odds, at)
            steps.append(
                CourseStep(
                    at,
                    phase,
                    (),
                    (tuple(one / total for one in wins), tuple(one / (1 + one) for one in odds)),
                )
            )
    return Course(tuple(steps), ((order[0],), tuple(sorted(order[:paid]))))


class _Seen:
    """What is seen of each horse as time goes on."""

    def __init__(self, drifting: Sequence[int], horses: int, chance: random.Random) -> None:
        self._drifting = drifting
        self._chance = chance
        self._time = 0.0
        self._seen = [0.0] * horses

    def weigh(self, firsts: Sequence[float], at: float) -> list[float]:
        """Each horse's first weight times what is seen of it at this share of the race."""
        time = at / (1 - at)
        passed, self._time = time - self._time, time
        for horse in range(len(self._seen)):
            drift = _DRIFT if horse in self._drifting else 0.0
            self._seen[horse] += drift * passed + self._chance.gauss(0, math.sqrt(passed))
        return [
            first * math.exp(_DRIFT * seen - _DRIFT * _DRIFT * time / 2)
            for first, seen in zip(firsts, self._seen, strict=True)
        ]
