"""What is played: invented events of five sports, their markets and selections. Not here: a market's life (market.py)."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

_LEAST_CHANCE, _MOST_CHANCE = 0.012, 0.96


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
    """Whether play can move it in jumps (a goal, a wicket), for which it is suspended."""


class Event(msgspec.Struct, frozen=True):
    """A match or race with its markets."""

    event_id: str
    name: str
    sport: Sport
    markets: tuple[Market, ...]


_TOWNS = (
    "Ashbury", "Brackwell", "Carnmoor", "Dunholm", "Eastmere", "Farrowby", "Glenhaven", "Harwick", "Inverlyn",
    "Kestlebridge", "Langport", "Marlow Vale", "Netherfield", "Oakhampton", "Penrose", "Queensferry", "Rothwell",
    "Stanmoor", "Thornbury", "Wexcombe",
)  # fmt: skip
_CLUBS = ("Rovers", "United", "Athletic", "Town", "Wanderers")
_FRANCHISES = ("Hawks", "Comets", "Bison", "Mariners", "Foxes")
_COUNTIES = ("Royals", "Strikers", "Eagles", "Lancers", "Falcons")
_SURNAMES = (
    "Abelov", "Brandt", "Castellan", "Dahlberg", "Estrada", "Fontaine", "Grigoriou", "Halloran", "Ivanisin", "Jansky",
    "Kowalczyk", "Lindqvist", "Moreau", "Nakagawa", "Okafor", "Petrescu", "Quintero", "Rasmussen", "Silvestri", "Tanaka",
)  # fmt: skip
_INITIALS = "ABCDEFGHJKLMNPRSTV"
_COURSES = ("Aldercote", "Beckingham", "Chalford", "Dunmore Park", "Elmsley", "Fernhill")
_HORSE_FIRST = (
    "Silver", "Midnight", "Golden", "Brave", "Quiet", "Northern", "Crimson", "Lucky", "Velvet", "Wandering", "Storm",
    "Distant", "Hidden", "Royal", "Bold",
)  # fmt: skip
_HORSE_LAST = (
    "Lantern", "Harbour", "Echo", "Falcon", "Verdict", "Meadow", "Dancer", "Crusade", "Whisper", "Anthem", "Compass",
    "Orchard", "Sovereign", "Tide", "Rumour",
)  # fmt: skip

_DRAW, _UNDER, _OVER = 58805, 47972, 47973
_CLUB_IDS, _COUNTY_IDS, _FRANCHISE_IDS, _PLAYER_IDS, _HORSE_IDS = 10_000, 11_000, 12_000, 20_000, 30_000


def adding_up_to_winners(chances: Sequence[float], winners: int) -> list[float]:
    """The chances scaled so that they sum to the number of winners, none nearer to certain than the ladder shows well."""
    scaled = list(chances)
    for _ in range(
        8
    ):  # each round spreads what the bounds cut off; the sum is then right to a thousandth or so
        factor = winners / sum(scaled)
        scaled = [min(_MOST_CHANCE, max(_LEAST_CHANCE, one * factor)) for one in scaled]
    return scaled


class Fixtures:
    """Endless events; the same `Random` and first number give the same ones.

    Ids are made of `first_number` and up, one for an event and one for each of its markets, so they never recur as
    long as numbers don't. A selection's id is that of its team, player or horse, and recurs with it.
    """

    def __init__(self, chance: random.Random, first_number: int) -> None:
        self._chance = chance
        self.next_number = first_number

    def next_event(self) -> Event:
        """Make up the next event."""
        sport = self._chance.choices(list(Sport), weights=(35, 20, 20, 10, 15))[0]
        event_id = str(self._number())
        make = {
            Sport.FOOTBALL: self._football,
            Sport.TENNIS: self._tennis,
            Sport.HORSE_RACING: self._race,
            Sport.CRICKET: self._cricket,
            Sport.BASKETBALL: self._basketball,
        }[sport]
        name, markets = make(event_id)
        return Event(event_id, name, sport, markets)

    def _number(self) -> int:
        number = self.next_number
        self.next_number += 1
        return number

    def _market(
        self,
        event_id: str,
        name: str,
        selections: tuple[Selection, ...],
        *,
        winners: int = 1,
        scores: bool = True,
    ) -> Market:
        return Market(f"1.{self._number()}", event_id, name, selections, winners, scores)

    def _football(self, event_id: str) -> tuple[str, tuple[Market, ...]]:
        (home_id, home), (away_id, away) = self._teams(_CLUBS, _CLUB_IDS)
        strength = self._chance.uniform(0.2, 0.7)
        draw = 0.27 - 0.1 * abs(strength - 0.45)
        home_wins = (1 - draw) * strength
        odds = self._market(
            event_id,
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
            "Over/Under 2.5 Goals",
            (Selection(_UNDER, "Under 2.5 Goals", under), Selection(_OVER, "Over 2.5 Goals", 1 - under)),
        )
        return f"{home} v {away}", (odds, goals)

    def _tennis(self, event_id: str) -> tuple[str, tuple[Market, ...]]:
        one, other = self._chance.sample(range(len(_SURNAMES) * len(_INITIALS)), 2)
        strength = self._chance.uniform(0.15, 0.85)
        selections = (
            Selection(_PLAYER_IDS + one, _player(one), strength),
            Selection(_PLAYER_IDS + other, _player(other), 1 - strength),
        )
        name = f"{selections[0].name} v {selections[1].name}"
        return name, (self._market(event_id, "Match Odds", selections, scores=False),)

    def _race(self, event_id: str) -> tuple[str, tuple[Market, ...]]:
        horses = self._chance.sample(range(len(_HORSE_FIRST) * len(_HORSE_LAST)), 8)
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
        time = f"{self._chance.randrange(13, 21)}:{self._chance.randrange(0, 60, 5):02d}"
        return f"{time} {self._chance.choice(_COURSES)}", (
            self._market(event_id, "WIN", wins, scores=False),
            self._market(event_id, "PLACE", places, winners=3, scores=False),
        )

    def _cricket(self, event_id: str) -> tuple[str, tuple[Market, ...]]:
        (home_id, home), (away_id, away) = self._teams(_COUNTIES, _COUNTY_IDS)
        strength = self._chance.uniform(0.25, 0.75)
        selections = (Selection(home_id, home, strength), Selection(away_id, away, 1 - strength))
        return f"{home} v {away}", (self._market(event_id, "Match Odds", selections),)

    def _basketball(self, event_id: str) -> tuple[str, tuple[Market, ...]]:
        (home_id, home), (away_id, away) = self._teams(_FRANCHISES, _FRANCHISE_IDS)
        strength = self._chance.uniform(0.2, 0.8)
        line = Decimal(round((0.5 - strength) * 30)) + Decimal("0.5")
        money = (Selection(home_id, home, strength), Selection(away_id, away, 1 - strength))
        spread = (Selection(home_id, home, 0.5, line), Selection(away_id, away, 0.5, -line))
        return f"{away} @ {home}", (
            self._market(event_id, "Moneyline", money, scores=False),
            self._market(event_id, "Point Spread", spread, scores=False),
        )

    def _teams(self, suffixes: tuple[str, ...], first_id: int) -> Iterator[tuple[int, str]]:
        for number in self._chance.sample(range(len(_TOWNS) * len(suffixes)), 2):
            town, suffix = divmod(number, len(suffixes))
            yield first_id + number, f"{_TOWNS[town]} {suffixes[suffix]}"


def _player(number: int) -> str:
    surname, initial = divmod(number, len(_INITIALS))
    return f"{_INITIALS[initial]}. {_SURNAMES[surname]}"


def _horse(number: int) -> str:
    first, last = divmod(number, len(_HORSE_LAST))
    return f"{_HORSE_FIRST[first]} {_HORSE_LAST[last]}"
