"""The programme of events: announced ahead, opened when there is room, played along their courses, dropped
when done with.

Not here: who plays (fixtures.py), how play goes (play/), what becomes of markets (lifecycle.py).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from exchange_platform.domain.events import EventStatus
from exchange_platform.exchanges.simulated.fixtures import Fixtures
from exchange_platform.exchanges.simulated.play.course import Course, CourseStep
from exchange_platform.exchanges.simulated.play.sports import course_of
from exchange_platform.exchanges.simulated.states import EventState, Fate

LIVE_MARKETS = 16
"""How many markets are traded at once, or one more."""
UPCOMING_EVENTS = 45
SHORTEST_LIFE_S, LONGEST_LIFE_S = 90, 360
"""From a market's opening to its close."""
_LATE_S, _PUT_OFF_S = 2.0, 5
_ABANDONED_ONE_IN = 33
_FATES = {Fate.SETTLED: 91, Fate.CORRECTED: 5, Fate.ANNULLED: 1, Fate.VOID: 3}
_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Happening:
    """What an event's markets are to know: something happened that suspends them, or the event was
    abandoned.
    """

    event: EventState
    abandoned: bool = False


class Programme:
    """All events from their announcement on. One thread. `touched` are those whose state is to be stored,
    `gone` those done with.
    """

    def __init__(
        self,
        fixtures: Fixtures,
        chance: random.Random,
        events: Iterable[EventState] = (),
        *,
        pace: float = 1.0,
    ) -> None:
        self._fixtures = fixtures
        self._chance = chance
        self._pace = pace
        self._places: dict[str, tuple[str, int]] = {}
        self._courses: dict[str, Course] = {}
        self._begun_before: set[str] = set()
        self.upcoming: list[EventState] = []
        """In the order of their opening."""
        self.live: dict[str, EventState] = {}
        self.touched: dict[str, EventState] = {}
        self.gone: list[str] = []
        for state in sorted(events, key=lambda one: (one.opens_at_us, one.event.event_id)):
            if state.opened:
                self._begin(state)
            else:
                self.upcoming.append(state)

    def plan(self, now_us: int) -> None:
        """Announce events, so that there are always enough ahead."""
        if not self.live and not self.upcoming:
            self._start_in_the_middle(now_us)
        missing = UPCOMING_EVENTS - len(self.upcoming)
        if missing <= 0:
            return
        ends = [
            (state.ends_at_us, len(state.event.markets)) for state in [*self.live.values(), *self.upcoming]
        ]
        heapq.heapify(ends)
        open_markets = sum(markets for _, markets in ends)
        busy = {name for state in [*self.live.values(), *self.upcoming] for name in state.event.participants}
        last = self.upcoming[-1].opens_at_us if self.upcoming else now_us
        for _ in range(missing):
            opens_at_us = max(last, now_us)
            while ends and (open_markets >= LIVE_MARKETS or ends[0][0] <= opens_at_us):
                ended_at_us, markets = heapq.heappop(ends)
                opens_at_us = max(opens_at_us, ended_at_us)
                open_markets -= markets
            state = self._announce(opens_at_us, busy)
            busy.update(state.event.participants)
            heapq.heappush(ends, (state.ends_at_us, len(state.event.markets)))
            open_markets += len(state.event.markets)
            last = opens_at_us

    def due(self, now_us: int, *, room: bool) -> EventState | None:
        """The next event whose markets are to open now, if there is room for them. Call `opened` when they
        are.

        Where it can't be, or was not for long, all that is announced is put off.
        """
        if not self.upcoming or self.upcoming[0].opens_at_us > now_us:
            return None
        first = self.upcoming[0]
        late_us = now_us - first.opens_at_us
        if late_us > _LATE_S * _S and first.event.event_id not in self._begun_before:
            self._put_off(late_us + (0 if room else _PUT_OFF_S * _S))
        return first if room else None

    def opened(self, state: EventState) -> None:
        """Its markets are open."""
        self.upcoming.remove(state)
        state.opened = True
        self._touch(state)
        self._begin(state)

    def play(self, now_us: int) -> list[Happening]:
        """Let all live events go on to now; what their markets are to know of it."""
        happened: list[Happening] = []
        for state in self.live.values():
            if state.status in (EventStatus.FINISHED, EventStatus.ABANDONED) or now_us < state.starts_at_us:
                continue
            share = (now_us - state.starts_at_us) / max(1, state.ends_at_us - state.starts_at_us)
            if state.abandoned_at and share >= state.abandoned_at:
                state.status = EventStatus.ABANDONED
                self._touch(state)
                happened.append(Happening(state, abandoned=True))
                continue
            steps = self._course(state).steps
            before = state.step
            while state.step + 1 < len(steps) and steps[state.step + 1].at <= share:
                state.step += 1
            if state.step != before:
                state.status = EventStatus.FINISHED if state.step + 1 == len(steps) else EventStatus.IN_PLAY
                self._touch(state)
                if any(step.jump for step in steps[before + 1 : state.step + 1]):
                    happened.append(Happening(state))
        return happened

    def drop(self, markets: Collection[str]) -> None:
        """Forget the events of these finished markets of which no market is left."""
        for market_id in markets:
            event_id, _ = self._places.pop(market_id, ("", 0))
            state = self.live.get(event_id)
            if state is not None and not any(one.market_id in self._places for one in state.event.markets):
                del self.live[event_id]
                self._courses.pop(event_id, None)
                self.gone.append(event_id)

    def standing(self, state: EventState) -> CourseStep | None:
        """Where the event is in its course; None before its start."""
        return None if state.step < 0 else self._course(state).steps[state.step]

    def chances(self, market_id: str) -> Sequence[float] | None:
        """As `lifecycle.Play` has it."""
        found = self._found(market_id)
        if found is None:
            return None
        state, place = found
        step = self.standing(state)
        return None if step is None else step.chances[place]

    def winners(self, market_id: str) -> Sequence[int] | None:
        """As `lifecycle.Play` has it."""
        found = self._found(market_id)
        return None if found is None else self._course(found[0]).winners[found[1]]

    def is_announced(self, market_id: str) -> bool:
        """Whether the market is to open later."""
        return any(market.market_id == market_id for state in self.upcoming for market in state.event.markets)

    def _found(self, market_id: str) -> tuple[EventState, int] | None:
        event_id, place = self._places.get(market_id, ("", 0))
        state = self.live.get(event_id)
        return None if state is None else (state, place)

    def _begin(self, state: EventState) -> None:
        self.live[state.event.event_id] = state
        for place, market in enumerate(state.event.markets):
            self._places[market.market_id] = (state.event.event_id, place)

    def _course(self, state: EventState) -> Course:
        event_id = state.event.event_id
        course = self._courses.get(event_id)
        if course is None:
            course = self._courses[event_id] = course_of(state.event, state.seed)
        return course

    def _start_in_the_middle(self, now_us: int) -> None:
        """Announce as many events as are traded at once, as if each had begun some time ago."""
        markets = 0
        busy: set[str] = set()
        while markets < LIVE_MARKETS:
            state = self._announce(now_us, busy, elapsed=self._chance.uniform(0, 0.8))
            self._begun_before.add(state.event.event_id)
            busy.update(state.event.participants)
            markets += len(state.event.markets)

    def _announce(self, opens_at_us: int, busy: Collection[str], *, elapsed: float = 0.0) -> EventState:
        life_us = int(self._chance.uniform(SHORTEST_LIFE_S, LONGEST_LIFE_S) * _S / self._pace)
        opens_at_us -= int(life_us * elapsed)
        starts_at_us = opens_at_us + int(life_us * self._chance.uniform(0.3, 0.5))
        event = self._fixtures.next_event(starts_at_us, busy)
        abandoned = self._chance.randrange(_ABANDONED_ONE_IN) == 0
        fates = list(_FATES)
        state = EventState(
            event=event,
            seed=self._chance.getrandbits(62),
            opens_at_us=opens_at_us,
            starts_at_us=starts_at_us,
            ends_at_us=opens_at_us + life_us,
            fates=[
                Fate.ABANDONED if abandoned else self._chance.choices(fates, weights=list(_FATES.values()))[0]
                for _ in event.markets
            ],
            abandoned_at=self._chance.uniform(0.1, 0.9) if abandoned else 0.0,
        )
        self.upcoming.append(state)
        self._touch(state)
        return state

    def _put_off(self, by_us: int) -> None:
        for state in self.upcoming:
            state.opens_at_us += by_us
            state.starts_at_us += by_us
            state.ends_at_us += by_us
            self._touch(state)

    def _touch(self, state: EventState) -> None:
        self.touched[state.event.event_id] = state
