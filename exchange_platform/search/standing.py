"""What an event is worth beside the words that found it: whether it can be bet on, is in play, how near its
start is, how much was traded. Pure.
"""

from __future__ import annotations

from exchange_platform.search.documents import EventDocument
from exchange_platform.search.expressions import Field, SearchPlan, Term, Within
from exchange_platform.search.terms import one_word

_OPEN, _IN_PLAY = 2000, 800
_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_DAY_US = 24 * _HOUR_US
_LATE_US = 6 * _HOUR_US
"""An event that is so late has not lost its place yet."""
_WEEK_US = 7 * _DAY_US
_NEAR = (
    (_HOUR_US, 100),
    (6 * _HOUR_US, 100),
    (_DAY_US, 150),
    (3 * _DAY_US, 100),
    (7 * _DAY_US, 100),
    (30 * _DAY_US, 50),
)
"""Points of events that can be bet on and start within so long."""
_RECENT_DAYS = ((1, 150), (3, 100), (7, 100))
_RECENT_WEEKS, _RECENT_WEEK = 4, 50
"""Points of events that can't be bet on and began on one of the last days or weeks, which are counted in
whole ones of UTC.
"""
_TRADED_LEVELS = tuple(int(10 ** (half / 2)) for half in range(8, 19))
"""Minor units: 100 to 10,000,000 pounds, two steps a factor of ten."""
_TRADED_STEP = 25
_TRADED_MOST = _TRADED_STEP * len(_TRADED_LEVELS)
_OPEN_FLAG, _CLOSED_FLAG, _IN_PLAY_FLAG = "open", "closed", "in-play"


def flags(document: EventDocument) -> tuple[str, ...]:
    """The terms of a document's `flags`: its state, its sport and how much was traded."""
    state = _OPEN_FLAG if document.open else _CLOSED_FLAG
    found = [state, sport_flag(document.sport)]
    if document.open and document.in_play:
        found.append(_IN_PLAY_FLAG)
    level = sum(1 for least in _TRADED_LEVELS if document.traded_minor >= least)
    if level:
        found.append(_traded_flag(state, level))
    if not document.open and document.starts_at_us is not None:
        found += [_day_flag(document.starts_at_us), _week_flag(document.starts_at_us)]
    return tuple(found)


def start_that_counts(document: EventDocument) -> int | None:
    """The instant that `Within` is about; None for events that can't be bet on, whose `flags` say when they
    began.
    """
    return document.starts_at_us if document.open else None


def sport_flag(sport: str) -> str:
    """The term of a sport's events in `flags`."""
    return f"sport-{one_word(sport)}"


def standing_of_open(now_us: int) -> SearchPlan:
    """For events that can be bet on: those in play before those that start soon, before those on which much
    was traded.
    """
    minute_us = now_us - now_us % _MINUTE_US
    near = tuple(
        Within(minute_us - max(near_us, _LATE_US), minute_us + near_us, points) for near_us, points in _NEAR
    )
    return SearchPlan(
        (Term(Field.FLAGS, _OPEN_FLAG, _OPEN),),
        (Term(Field.FLAGS, _IN_PLAY_FLAG, _IN_PLAY), *near, *_traded(_OPEN_FLAG)),
        _OPEN + _IN_PLAY + sum(points for _, points in _NEAR) + _TRADED_MOST,
    )


def standing_of_closed(now_us: int) -> SearchPlan:
    """For events that can't be bet on: those that began lately before those on which much was traded."""
    days = tuple(
        Term(
            Field.FLAGS,
            _day_flag(now_us - ago * _DAY_US),
            sum(points for within, points in _RECENT_DAYS if ago <= within),
        )
        for ago in range(_RECENT_DAYS[-1][0] + 1)
    )
    weeks = tuple(
        Term(Field.FLAGS, _week_flag(now_us - ago * _WEEK_US), _RECENT_WEEK)
        for ago in range(_RECENT_WEEKS + 1)
    )
    return SearchPlan(
        (Term(Field.FLAGS, _CLOSED_FLAG, 0),),
        (*days, *weeks, *_traded(_CLOSED_FLAG)),
        sum(points for _, points in _RECENT_DAYS) + _RECENT_WEEK + _TRADED_MOST,
    )


def standing_of_any(now_us: int) -> SearchPlan:
    """For all events at once: each has what it has in the plan that is for it."""
    of_open, of_closed = standing_of_open(now_us), standing_of_closed(now_us)
    is_open = Term(Field.FLAGS, _OPEN_FLAG, _OPEN)
    return SearchPlan(
        (), (is_open, *of_open.preferred, *of_closed.preferred), max(of_open.most, of_closed.most)
    )


def _traded(state: str) -> tuple[Term, ...]:
    return tuple(
        Term(Field.FLAGS, _traded_flag(state, level), level * _TRADED_STEP)
        for level in range(1, len(_TRADED_LEVELS) + 1)
    )


def _traded_flag(state: str, level: int) -> str:
    return f"{state}-traded-{level}"


def _day_flag(at_us: int) -> str:
    return f"{_CLOSED_FLAG}-day-{at_us // _DAY_US}"


def _week_flag(at_us: int) -> str:
    return f"{_CLOSED_FLAG}-week-{at_us // _WEEK_US}"
