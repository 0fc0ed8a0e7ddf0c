"""Generated events over real names, and what people might type to find them; the same seed gives the same.
Not here: measuring (search.py).
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import event_names
from exchange_platform.domain.events import EventStatus
from exchange_platform.search.aliases import OPTIONAL
from exchange_platform.search.documents import EventDocument
from exchange_platform.search.terms import compounds

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
_COUNTRIES = {
    "English": "GB", "Scottish": "GB", "Spanish": "ES", "Italian": "IT", "German": "DE", "French": "FR", "Dutch": "NL",
    "Portuguese": "PT", "Turkish": "TR", "Brazilian": "BR", "Argentine": "AR", "Major": "US", "NBA": "US", "NFL": "US",
}  # fmt: skip
_HORSES_FIRST = [
    "Desert",
    "Silver",
    "Midnight",
    "Golden",
    "Brave",
    "Quiet",
    "Northern",
    "Crimson",
    "Lucky",
    "Velvet",
    "Storm",
    "Distant",
    "Hidden",
    "Royal",
    "Bold",
]
_HORSES_LAST = [
    "Crown",
    "Lantern",
    "Harbour",
    "Echo",
    "Falcon",
    "Verdict",
    "Meadow",
    "Dancer",
    "Crusade",
    "Whisper",
    "Anthem",
    "Compass",
    "Orchard",
    "Tide",
    "Rumour",
]


@dataclass(frozen=True)
class Calendar:
    """A competition: who plays, how often everybody does, how far ahead its matches are known."""

    sport: str
    competition: str
    sides: tuple[str, ...]
    days_between: float
    days_ahead: float


@dataclass(frozen=True)
class Typed:
    """What was typed, and the event that was meant."""

    text: str
    event_id: str
    fitting: tuple[str, str]
    """The beginnings of words as they would be without a typo."""


def calendars() -> Iterator[Calendar]:
    """Every competition of the names."""
    for sport, names, between, ahead in (
        ("football", event_names.FOOTBALL, 3.5, 30.0),
        ("cricket", event_names.CRICKET, 3.0, 20.0),
        ("basketball", event_names.BASKETBALL, 2.0, 10.0),
        ("american football", event_names.AMERICAN_FOOTBALL, 7.0, 30.0),
        ("rugby", event_names.RUGBY, 7.0, 30.0),
        ("tennis", event_names.TENNIS, 1.5, 2.0),
    ):
        for competition, line in names.items():
            sides = tuple(side.strip() for side in line.split(";"))
            yield Calendar(sport, competition, sides, between, ahead)


def generated_events(number: int, now_us: int, seed: int = 20) -> list[EventDocument]:
    """So many events around now: those known ahead, and as long a past as it takes."""
    chance = random.Random(seed)
    found: list[EventDocument] = []
    drawn: list[Iterator[EventDocument]] = [_matches(calendar, now_us, chance) for calendar in calendars()]
    drawn.append(_races(now_us, chance))
    day_us = now_us + 31 * DAY_US
    waiting: list[EventDocument | None] = [next(matches) for matches in drawn]
    while len(found) < number:  # day by day into the past, all competitions abreast
        for place, matches in enumerate(drawn):
            while (first := waiting[place]) is not None and (first.starts_at_us or 0) >= day_us:
                found.append(first)
                waiting[place] = next(matches)
        day_us -= DAY_US
    return [_with_id(document, place) for place, document in enumerate(found[:number])]


def typed(
    events: Sequence[EventDocument],
    number: int,
    *,
    seed: int,
    first_words: bool = False,
    least_begun: int = 3,
    typo: bool = False,
) -> list[Typed]:
    """Three letters or more of a word of one side, and a word of the other side begun, in any order; with
    `typo` one edit in a word of four letters or more.

    What is meant is a match that can be bet on, each as likely as the other. Words such as FC and the are not
    typed; with `first_words` only the first words of the sides are.
    """
    chance = random.Random(seed)
    matches = [event for event in events if event.open and len(event.participants) == 2]
    found: list[Typed] = []
    while len(found) < number:
        event = chance.choice(matches)
        one, other = (_words(side, first_words) for side in chance.sample(event.participants, 2))
        long_enough = [word for word in one if len(word) >= (4 if typo else 3)]
        if not long_enough or not other:
            continue
        word, begun = chance.choice(long_enough), chance.choice(other)
        word = word[: chance.randint(4 if typo else 3, len(word))]
        begun = begun[: chance.randint(min(least_begun, len(begun)), len(begun))]
        texts = [mistyped(word, chance) if typo else word, begun]
        chance.shuffle(texts)
        found.append(Typed(" ".join(texts), event.event_id, fitting=(word, begun)))
    return found


def mistyped(word: str, chance: random.Random) -> str:
    """The word with a letter too many, too few, wrong, or swapped with the next."""
    place = chance.randrange(len(word))
    letter = chance.choice(string.ascii_lowercase.replace(word[place].lower(), ""))
    kind = chance.choice(("more", "less", "wrong", "swapped"))
    if kind == "more":
        return word[:place] + letter + word[place:]
    if kind == "less":
        return word[:place] + word[place + 1 :]
    if kind == "wrong" or len(word) == place + 1 or word[place] == word[place + 1]:
        return word[:place] + letter + word[place + 1 :]
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _words(side: str, first_only: bool) -> list[str]:
    words = [side[part.start : part.end] for parts in compounds(side) for part in parts]
    telling = [word for word in words if word.lower() not in OPTIONAL]
    return telling[:1] if first_only else telling


def _matches(calendar: Calendar, now_us: int, chance: random.Random) -> Iterator[EventDocument]:
    """Round after round into the past, everybody once in each."""
    big = chance.uniform(2, 6)
    round_us = now_us + int(calendar.days_ahead * DAY_US)
    country = _COUNTRIES.get(calendar.competition.split()[0], "")
    while True:
        sides = list(calendar.sides)
        chance.shuffle(sides)
        starts = sorted(
            (
                round_us - int(chance.random() * calendar.days_between * DAY_US)
                for _ in range(len(sides) // 2)
            ),
            reverse=True,
        )
        for starts_at_us, one, other in zip(starts, sides[::2], sides[1::2], strict=False):
            yield _event(
                f"{one} v {other}",
                calendar.sport,
                calendar.competition,
                country,
                (one, other),
                starts_at_us,
                now_us,
                big,
                chance,
            )
        round_us -= int(calendar.days_between * DAY_US)


def _races(now_us: int, chance: random.Random) -> Iterator[EventDocument]:
    """Seven races a day at each of eight courses, day after day into the past."""
    courses = [course.strip() for course in event_names.RACECOURSES.split(";")]
    day_us = now_us - now_us % DAY_US + DAY_US
    while True:
        races = [
            (day_us + (12 + race) * HOUR_US + chance.randrange(12) * 5 * 60_000_000, course)
            for course in chance.sample(courses, 8)
            for race in range(7)
        ]
        for starts_at_us, course in sorted(races, reverse=True):
            minutes = starts_at_us % DAY_US // 60_000_000
            runners = {f"{chance.choice(_HORSES_FIRST)} {chance.choice(_HORSES_LAST)}" for _ in range(9)}
            name = f"{minutes // 60}:{minutes % 60:02} {course}"
            yield _event(
                name,
                "horse racing",
                "2m4f Hcap Hrd",
                "",
                tuple(sorted(runners)),
                starts_at_us,
                now_us,
                4.0,
                chance,
            )
        day_us -= DAY_US


def _event(
    name: str, sport: str, competition: str, country: str, participants: tuple[str, ...], starts_at_us: int, now_us: int, big: float, chance: random.Random
) -> EventDocument:  # fmt: skip
    is_over = starts_at_us < now_us - 2 * HOUR_US
    in_play = not is_over and starts_at_us <= now_us
    ahead_days = max(0.0, (starts_at_us - now_us) / DAY_US)
    return EventDocument(
        event_id="",
        version=1,
        name=name,
        sport=sport,
        competition=competition,
        country=country,
        participants=participants,
        status=EventStatus.FINISHED if is_over else EventStatus.IN_PLAY if in_play else EventStatus.SCHEDULED,
        in_play=in_play,
        open=not is_over,
        starts_at_us=starts_at_us,
        traded_minor=int(100 * 10 ** (big + chance.gauss(0, 0.5)) / (1 + ahead_days)),
        markets=("Match Odds", "Over/Under 2.5 Goals") if sport == "football" else ("Match Odds",),
    )


def _with_id(document: EventDocument, place: int) -> EventDocument:
    import msgspec

    return msgspec.structs.replace(document, event_id=str(31_000_000 + place))
