"""An event's course from start to end: what a sport's play makes, and what the exchange walks along. Not
here: any sport.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from exchange_platform.domain.events import Score

Chances = tuple[tuple[float, ...], ...]
"""For each of the event's markets, in order, each selection's chance to be among the winners; not scaled."""


@dataclass(frozen=True, slots=True)
class CourseStep:
    """From `at`, a share of the time of play, this is how it stands. `jump` says that something happened that
    suspends markets.
    """

    at: float
    phase: str
    scores: tuple[Score, ...]
    chances: Chances
    jump: bool = False


@dataclass(frozen=True, slots=True)
class Course:
    """All of an event: the first step is the start, the last one the result. `winners` are places of
    selections, by market.
    """

    steps: tuple[CourseStep, ...]
    winners: tuple[tuple[int, ...], ...]


def normal(value: float) -> float:
    """The standard normal distribution's share below `value`."""
    return 0.5 * (1 + math.erf(value / math.sqrt(2)))


def poisson(mean: float, most: int) -> list[float]:
    """The chances of 0 to `most` of something that is to be expected `mean` times."""
    chances = [math.exp(-mean)]
    for number in range(1, most + 1):
        chances.append(chances[-1] * mean / number)
    return chances


def solve(target: float, low: float, high: float, of: Callable[[float], float]) -> float:
    """Where between `low` and `high` the rising function `of` comes to `target`, nearly."""
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if of(middle) < target else (low, middle)
    return (low + high) / 2
