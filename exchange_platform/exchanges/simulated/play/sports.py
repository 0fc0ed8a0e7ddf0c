"""Which sport is played how."""

from __future__ import annotations

import random

from exchange_platform.exchanges.simulated.fixtures import Event, Sport
from exchange_platform.exchanges.simulated.play import basketball, cricket, football, racing, tennis
from exchange_platform.exchanges.simulated.play.course import Course

_PLAY = {
    Sport.FOOTBALL: football.play,
    Sport.TENNIS: tennis.play,
    Sport.HORSE_RACING: racing.play,
    Sport.CRICKET: cricket.play,
    Sport.BASKETBALL: basketball.play,
}


def course_of(event: Event, seed: int) -> Course:
    """The event's whole course: the same event and seed have the same, whoever asks and when."""
    return _PLAY[event.sport](event, random.Random(f"{seed}/{event.event_id}"))
