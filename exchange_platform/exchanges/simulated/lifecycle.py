"""What happens to a market and when: kick-off, goals, the end, results, corrections. Not here: what that does to bets (market.py)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import datetime

from exchange_platform.exchanges.simulated.fixtures import Event, adding_up_to_winners
from exchange_platform.exchanges.simulated.market import TRADED, Fate, LiveMarket, MarketState, Phase

_S = 1_000_000
SHORTEST_LIFE_S, LONGEST_LIFE_S = 90, 360
_FATES = {
    Fate.SETTLED: 88,
    Fate.CORRECTED: 5,
    Fate.ANNULLED: 1,
    Fate.VOID: 3,
    Fate.ABANDONED: 3,
}
_DRIFT_PRE_PLAY, _DRIFT_IN_PLAY = 0.006, 0.03
"""Standard deviation, each second, of the logarithm of a selection's chance."""


class Lifecycle:
    """Decides, by a seeded `Random`, what becomes of markets, and makes it happen when its time has come."""

    def __init__(self, chance: random.Random, *, bets_a_step: int, pace: float = 1.0) -> None:
        """`bets_a_step` bounds how many bets of a market are settled, taken back or voided in one call.

        At `pace` 2 everything takes half as long: markets live 45 to 180 s instead of 90 to 360.
        """
        self._chance = chance
        self._bets_a_step = bets_a_step
        self._pace = pace

    def open_markets(self, event: Event, now_us: int, *, elapsed: float = 0.0) -> list[MarketState]:
        """The event's markets as they open; `elapsed` is the share of their lives that has passed (at the very first start)."""
        life_us = self._seconds(SHORTEST_LIFE_S, LONGEST_LIFE_S)
        opened_at_us = now_us - int(life_us * elapsed)
        fates = list(_FATES)
        states: list[MarketState] = []
        for market in event.markets:
            pre_play = self._chance.uniform(0.3, 0.5)
            fate = self._chance.choices(fates, weights=[_FATES[one] for one in fates])[0]
            in_play_at_us = opened_at_us + int(life_us * pre_play)
            states.append(
                MarketState(
                    market=market,
                    event_name=event.name,
                    sport=event.sport.value,
                    fate=fate,
                    in_play_at_us=in_play_at_us,
                    closes_at_us=opened_at_us + life_us,
                    next_drift_at_us=now_us + self._chance.randrange(_S),
                    chances=[selection.chance for selection in market.selections],
                )
            )
        return states

    def advance(self, live: LiveMarket, now_us: int, now: datetime) -> None:
        """Do what is due. A market that was away for long catches up over the next calls."""
        state = live.state
        if state.phase in TRADED:
            self._play(live, now_us, now)
        elif now_us >= state.next_step_at_us:
            self._conclude(live, now_us, now)

    def _play(self, live: LiveMarket, now_us: int, now: datetime) -> None:
        state = live.state
        if now_us >= state.closes_at_us:
            state.phase = Phase.CLOSED
            state.suspended_until_us = 0
            live.lapse(now, "market closed")
            state.next_step_at_us = now_us + self._seconds(2, 6)
        elif state.phase is Phase.PRE_PLAY and now_us >= state.in_play_at_us:
            state.phase = Phase.IN_PLAY
            self._suspend(live, now_us, now, "market turned in play")
        elif state.suspended_until_us:
            if now_us >= state.suspended_until_us:
                state.suspended_until_us = 0
        elif state.phase is Phase.IN_PLAY and 0 < state.next_score_at_us <= now_us:
            if state.fate is Fate.ABANDONED:
                state.phase = Phase.VOIDING
                state.next_step_at_us = now_us
                return
            self._score(state)
            self._suspend(live, now_us, now, "suspended in play")
        if state.phase in TRADED and now_us >= state.next_drift_at_us:
            spread = _DRIFT_IN_PLAY if state.phase is Phase.IN_PLAY else _DRIFT_PRE_PLAY
            drifted = [one * math.exp(self._chance.gauss(0, spread)) for one in state.chances]
            state.chances = adding_up_to_winners(drifted, state.market.number_of_winners)
            state.next_drift_at_us = now_us + _S

    def _conclude(self, live: LiveMarket, now_us: int, now: datetime) -> None:
        state = live.state
        most = self._bets_a_step
        if state.phase is Phase.CLOSED:
            if state.fate in (Fate.VOID, Fate.ABANDONED):
                state.phase = Phase.VOIDING
            else:
                state.winners = self._draw(state)
                state.phase = Phase.SETTLING
        elif state.phase is Phase.SETTLING:
            if live.settle_some(most, now):
                state.settlements += 1
                state.phase = Phase.SETTLED
                state.next_step_at_us = now_us + self._seconds(5, 15)
        elif state.phase is Phase.SETTLED:
            corrected = state.fate in (Fate.CORRECTED, Fate.ANNULLED) and state.settlements == 1
            state.phase = Phase.UNSETTLING if corrected else Phase.FINISHED
        elif state.phase is Phase.UNSETTLING:
            if live.unsettle_some(most, now):
                if state.fate is Fate.ANNULLED:
                    state.phase = Phase.VOIDING
                else:
                    state.winners = self._draw(state, other_than=state.winners)
                    state.phase = Phase.SETTLING
                state.next_step_at_us = now_us + self._seconds(3, 8)
        elif state.phase is Phase.VOIDING and live.void_some(most, now, "market void"):
            state.phase = Phase.FINISHED

    def _suspend(self, live: LiveMarket, now_us: int, now: datetime, reason: str) -> None:
        state = live.state
        state.suspended_until_us = now_us + self._seconds(1.5, 4)
        apart = (15, 60) if state.market.scores else (30, 120)
        state.next_score_at_us = state.suspended_until_us + self._seconds(*apart)
        live.lapse(now, reason)

    def _score(self, state: MarketState) -> None:
        place = self._chance.randrange(len(state.chances))
        moved = list(state.chances)
        moved[place] *= self._chance.uniform(1.4, 2.6)
        state.chances = adding_up_to_winners(moved, state.market.number_of_winners)

    def _draw(self, state: MarketState, other_than: Sequence[int] = ()) -> list[int]:
        while True:
            left = list(range(len(state.chances)))
            winners: list[int] = []
            for _ in range(state.market.number_of_winners):
                place = self._chance.choices(left, weights=[state.chances[one] for one in left])[0]
                left.remove(place)
                winners.append(place)
            if sorted(winners) != sorted(other_than):
                return winners

    def _seconds(self, least: float, most: float) -> int:
        return int(self._chance.uniform(least, most) * _S / self._pace)
