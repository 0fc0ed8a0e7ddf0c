"""What is played: events of five sports, their markets and selections. Not here: how one goes (play/), a
market's life (market.py).
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from exchange_platform.exchanges.simulated.names import (
    BASKETBALL,
    COURSES,
    CRICKET,
    FIRST_NAMES,
    FOOTBALL,
    HORSE_FIRST,
    HORSE_LAST,
    SURNAMES,
    TENNIS,
    Competition,
)

_MIN_CHANCE, _MAX_CHANCE = 0.012, 0.96


class Sport(enum.Enum):
    """A sport that the exchange offers."""

    FOOTBALL = "football"
    TENNIS = "tennis"
    HORSE_RACING = "horse racing"
    CRICKET = "cricket"
    BASKETBALL = "basketball"


class Selection(msgspec.Struct, frozen=True):
    """What can be backed or laid; `chance` is its probability at the start, of being among the winners."""

    selection_id: int
    name: str
    chance: float
    handicap: Decimal = Decimal(0)


class Market(msgspec.Struct, frozen=True):
    """A question about an event: `number_of_winners` of its selections win."""

    market_id: str
    event_id: str
    name: str
    selections: tuple[Selection, ...]
    number_of_winners: int = 1
    scores: bool = True
    """Whether play can move it in jumps (a goal, a wicket), for which it is suspended; the others are at
    breaks of play.
    """
    market_type: str = ""
    bet_delay_s: float = 0.0
    """How long a customer's order waits while the market is in play."""
    lapses_in_play: bool = True
    """Whether what rests lapses at the turn in play and at each suspension in play; at the close it does
    anyway.
    """


class Event(msgspec.Struct, frozen=True):
    """A match or race with its markets. `participants` in the order of the name, as scores are given."""

    event_id: str
    name: str
    sport: Sport
    markets: tuple[Market, ...]
    competition: str = ""
    country: str = ""
    participants: tuple[str, ...] = ()


_DRAW, _UNDER, _OVER = 58805, 47972, 47973
_CLUB_IDS, _COUNTY_IDS, _FRANCHISE_IDS, _PLAYER_IDS, _HORSE_IDS = 10_000, 11_000, 12_000, 20_000, 30_000
_RUNNERS = 8
_A_COMPETITION = 100
"""Ids set aside for the teams of each competition."""

_DELAYS_S = {
    Sport.FOOTBALL: 5.0,
    Sport.TENNIS: 3.0,
    Sport.HORSE_RACING: 1.0,
    Sport.CRICKET: 5.0,
    Sport.BASKETBALL: 4.0,
}


def adding_up_to_winners(chances: Sequence[float], winners: int) -> list[float]:
    """The chances scaled so that they sum to the number of winners, none nearer to certain than the ladder
    shows well.
    """
    scaled = list(chances)
    for _ in range(
        8
    ):  # each round spreads what the bounds cut off; the sum is then right to a thousandth or so
        factor = winners / sum(scaled)
        scaled = [min(_MAX_CHANCE, max(_MIN_CHANCE, one * factor)) for one in scaled]
    return scaled


class Fixtures:
    """Endless events; the same `Random`, first number and arguments give the same ones.

    Ids are made of `first_number` and up, one for an event and one for each of its markets, so they never
    recur as long as numbers don't. A selection's id is that of its team, player or horse, and recurs with it.
    """

    def __init__(self, chance: random.Random, first_number: int) -> None:
        self._chance = chance
        self._busy: Collection[str] = ()
        self.next_number = first_number

    def next_event(self, starts_at_us: int = 0, busy: Collection[str] = ()) -> Event:
        """Make up the next event; nobody of `busy` plays in it, if that can be had."""
        self._busy = busy
        sport = self._chance.choices(list(Sport), weights=(35, 20, 20, 10, 15))[0]
        event_id = str(self._number())
        if sport is Sport.HORSE_RACING:
            return self._race(event_id, starts_at_us)
        make = {
            Sport.FOOTBALL: self._football,
            Sport.TENNIS: self._tennis,
            Sport.CRICKET: self._cricket,
            Sport.BASKETBALL: self._basketball,
        }[sport]
        return make(event_id)

    def _number(self) -> int:
        number = self.next_number
        self.next_number += 1
        return number

    def _market(
        self,
        event_id: str,
        sport: Sport,
        market_type: str,
        name: str,
        selections: tuple[Selection, ...],
        *,
        winners: int = 1,
    ) -> Market:
        return Market(
            f"1.{self._number()}",
            event_id,
            name,
            selections,
            winners,
            scores=sport in (Sport.FOOTBALL, Sport.CRICKET),
            market_type=market_type,
            bet_delay_s=_DELAYS_S[sport],
            lapses_in_play=sport not in (Sport.TENNIS, Sport.BASKETBALL),
        )

    def _football(self, event_id: str) -> Event:
        competition, (home_id, home), (away_id, away) = self._teams(FOOTBALL, _CLUB_IDS)
        strength = self._chance.uniform(0.2, 0.7)
        draw = 0.27 - 0.1 * abs(strength - 0.45)
        home_wins = (1 - draw) * strength
        odds = self._market(
            event_id,
            Sport.FOOTBALL,
            "MATCH_ODDS",
            "Match Odds",
            (
                Selection(home_id, home, home_wins),
                Selection(away_id, away, 1 - draw - home_wins),
                Selection(_DRAW, "The Draw", draw),
            ),
        )
        under = self._chance.uniform(0.35, 0.6)
        goals = self._market(
            event_id,
            Sport.FOOTBALL,
            "OVER_UNDER_25",
            "Over/Under 2.5 Goals",
            (Selection(_UNDER, "Under 2.5 Goals", under), Selection(_OVER, "Over 2.5 Goals", 1 - under)),
        )
        return _event(event_id, f"{home} v {away}", Sport.FOOTBALL, (odds, goals), competition, (home, away))

    def _tennis(self, event_id: str) -> Event:
        one, other = self._draw(2, len(FIRST_NAMES) * len(SURNAMES), _player)
        strength = self._chance.uniform(0.15, 0.85)
        selections = (
            Selection(_PLAYER_IDS + one, _player(one), strength),
            Selection(_PLAYER_IDS + other, _player(other), 1 - strength),
        )
        names = (selections[0].name, selections[1].name)
        market = self._market(event_id, Sport.TENNIS, "MATCH_ODDS", "Match Odds", selections)
        return _event(
            event_id, " v ".join(names), Sport.TENNIS, (market,), self._chance.choice(TENNIS), names
        )

    def _race(self, event_id: str, starts_at_us: int) -> Event:
        horses = self._draw(_RUNNERS, len(HORSE_FIRST) * len(HORSE_LAST), _horse)
        weights = [self._chance.lognormvariate(0, 0.7) for _ in horses]
        total = sum(weights)
        wins = tuple(
            Selection(_HORSE_IDS + horse, _horse(horse), weight / total)
            for horse, weight in zip(horses, weights, strict=True)
        )
        placed = adding_up_to_winners([horse.chance**0.8 for horse in wins], 3)
        places = tuple(
            Selection(horse.selection_id, horse.name, chance)
            for horse, chance in zip(wins, placed, strict=True)
        )
        course = self._chance.choice(COURSES)
        off = datetime.fromtimestamp(starts_at_us // 1_000_000, UTC)
        markets = (
            self._market(event_id, Sport.HORSE_RACING, "WIN", "Win", wins),
            self._market(event_id, Sport.HORSE_RACING, "PLACE", "To Be Placed", places, winners=3),
        )
        names = tuple(horse.name for horse in wins)
        return _event(event_id, f"{off:%H:%M} {course.name}", Sport.HORSE_RACING, markets, course, names)

    def _cricket(self, event_id: str) -> Event:
        competition, (home_id, home), (away_id, away) = self._teams(CRICKET, _COUNTY_IDS)
        strength = self._chance.uniform(0.25, 0.75)
        selections = (Selection(home_id, home, strength), Selection(away_id, away, 1 - strength))
        market = self._market(event_id, Sport.CRICKET, "MATCH_ODDS", "Match Odds", selections)
        return _event(event_id, f"{home} v {away}", Sport.CRICKET, (market,), competition, (home, away))

    def _basketball(self, event_id: str) -> Event:
        competition, (home_id, home), (away_id, away) = self._teams(BASKETBALL, _FRANCHISE_IDS)
        strength = self._chance.uniform(0.2, 0.8)
        line = Decimal(round((0.5 - strength) * 30)) + Decimal("0.5")
        money = (Selection(home_id, home, strength), Selection(away_id, away, 1 - strength))
        spread = (Selection(home_id, home, 0.5, line), Selection(away_id, away, 0.5, -line))
        markets = (
            self._market(event_id, Sport.BASKETBALL, "MONEY_LINE", "Moneyline", money),
            self._market(event_id, Sport.BASKETBALL, "HANDICAP", "Point Spread", spread),
        )
        return _event(event_id, f"{away} @ {home}", Sport.BASKETBALL, markets, competition, (away, home))

    def _teams(
        self, competitions: tuple[Competition, ...], first_id: int
    ) -> tuple[Competition, tuple[int, str], tuple[int, str]]:
        place = self._chance.randrange(len(competitions))
        competition = competitions[place]
        pair = self._draw(2, len(competition.teams), competition.teams.__getitem__)
        first_id += place * _A_COMPETITION
        home, away = ((first_id + team, competition.teams[team]) for team in pair)
        return competition, home, away

    def _draw(self, count: int, of: int, name: Callable[[int], str]) -> list[int]:
        free = [number for number in range(of) if name(number) not in self._busy]
        return self._chance.sample(free if len(free) >= count else range(of), count)


def _event(
    event_id: str,
    name: str,
    sport: Sport,
    markets: tuple[Market, ...],
    competition: Competition,
    participants: tuple[str, ...],
) -> Event:
    return Event(event_id, name, sport, markets, competition.name, competition.country, participants)


def _player(number: int) -> str:
    surname, first = divmod(number, len(FIRST_NAMES))
    return f"{FIRST_NAMES[first]} {SURNAMES[surname]}"


def _horse(number: int) -> str:
    first, last = divmod(number, len(HORSE_LAST))
    return f"{HORSE_FIRST[first]} {HORSE_LAST[last]}"
