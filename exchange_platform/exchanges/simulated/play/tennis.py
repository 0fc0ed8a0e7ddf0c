"""Tennis: games and sets, the best of three. Chances follow from one chance a game that fits the
first odds.
"""

from __future__ import annotations

import functools
import random

from exchange_platform.domain.events import Score
from exchange_platform.exchanges.simulated.fixtures import Event
from exchange_platform.exchanges.simulated.play.course import Course, CourseStep, solve


def play(event: Event, chance: random.Random) -> Course:
    """Play a match with the market Match Odds."""
    (market,) = event.markets
    game = solve(
        market.selections[0].chance, 0.3, 0.7, lambda one: _match(0, 0, _set(0, 0, one), _set(0, 0, one))
    )
    fresh_set = _set(0, 0, game)
    sets: list[list[int]] = [[0, 0]]
    won = [0, 0]
    played: list[tuple[str, tuple[Score, ...], float, bool]] = [
        ("set 1", _scores(event, won, sets), market.selections[0].chance, False)
    ]
    while max(won) < 2:
        games = sets[-1]
        games[0 if chance.random() < game else 1] += 1
        ended = (max(games) >= 6 and abs(games[0] - games[1]) >= 2) or max(games) == 7
        if ended:
            won[0 if games[0] > games[1] else 1] += 1
            if max(won) < 2:
                sets.append([0, 0])
        over = max(won) == 2
        now = (
            (1.0 if won[0] == 2 else 0.0)
            if over
            else _match(won[0], won[1], _set(sets[-1][0], sets[-1][1], game), fresh_set)
        )
        phase = "finished" if over else f"set {len(sets)}"
        played.append((phase, _scores(event, won, sets), now, ended and not over))
    last = len(played) - 1
    steps = tuple(
        CourseStep(number / last, phase, scores, ((now, 1 - now),), jump)
        for number, (phase, scores, now, jump) in enumerate(played)
    )
    return Course(steps, ((0 if won[0] == 2 else 1,),))


def _scores(event: Event, won: list[int], sets: list[list[int]]) -> tuple[Score, ...]:
    return tuple(
        Score(name=name, value=str(won[side]), detail=" ".join(str(games[side]) for games in sets))
        for side, name in enumerate(event.participants)
    )


def _match(one: int, other: int, this_set: float, fresh_set: float) -> float:
    """The first player's chance at so many sets each, with that chance in the set under way."""
    if one == 2:
        return 1.0
    if other == 2:
        return 0.0
    return this_set * _match(one + 1, other, fresh_set, fresh_set) + (1 - this_set) * _match(
        one, other + 1, fresh_set, fresh_set
    )


@functools.lru_cache(maxsize=20_000)
def _set(one: int, other: int, game: float) -> float:
    """The first player's chance of the set at so many games each; a tie-break is a game."""
    if one == 7 or (one >= 6 and one - other >= 2):
        return 1.0
    if other == 7 or (other >= 6 and other - one >= 2):
        return 0.0
    return game * _set(one + 1, other, game) + (1 - game) * _set(one, other + 1, game)
