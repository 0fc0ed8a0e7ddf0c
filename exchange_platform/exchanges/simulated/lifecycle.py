"""What happens to a market and when: kick-off, suspensions, the end, results, corrections. Not here: what
that does to bets (market.py), how the event goes (programme.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from exchange_platform.exchanges.simulated.fixtures import adding_up_to_winners
from exchange_platform.exchanges.simulated.markets.market import LiveMarket
from exchange_platform.exchanges.simulated.markets.waiting import place_due, refuse_waiting
from exchange_platform.exchanges.simulated.states import TRADED, EventState, Fate, MarketState, Phase

_S = 1_000_000
_DRIFT_PRE_PLAY, _DRIFT_IN_PLAY = 0.006, 0.03
"""Standard deviation, each second, of the logarithm of a selection's chance."""
_DRIFT_KEPT = 0.97
"""How much of the traders' error of a second ago is left: they come back to what the play says."""


class Play(Protocol):
    """What the play says of a market."""

    def chances(self, market_id: str) -> Sequence[float] | None:
        """Each selection's chance to win as it stands, not scaled; None where nothing is known of the
        play.
        """
        ...

    def winners(self, market_id: str) -> Sequence[int] | None:
        """The places of the selections that win; None where nothing is known of the play."""
        ...


class Lifecycle:
    """Decides, by a seeded `Random`, what becomes of markets, and makes it happen when its time has come."""

    def __init__(self, chance: random.Random, play: Play, *, bets_a_step: int, pace: float = 1.0) -> None:
        """`bets_a_step` bounds how many bets of a market are settled, taken back or voided in one call.

        At `pace` 2 everything takes half as long.
        """
        self._chance = chance
        self._play = play
        self._bets_a_step = bets_a_step
        self._pace = pace

    def open_markets(self, state: EventState, now_us: int) -> list[MarketState]:
        """The event's markets as they open."""
        return [
            MarketState(
                market=market,
                event_name=state.event.name,
                sport=state.event.sport.value,
                fate=fate,
                in_play_at_us=state.starts_at_us,
                closes_at_us=state.ends_at_us,
                next_drift_at_us=now_us + self._chance.randrange(_S),
                chances=[selection.chance for selection in market.selections],
                bet_delay_s=round(market.bet_delay_s / self._pace, 1),
                feed_version=state.version,
            )
            for market, fate in zip(state.event.markets, state.fates, strict=True)
        ]

    def advance(self, live: LiveMarket, now_us: int, now: datetime) -> None:
        """Do what is due. A market that was away for long catches up over the next calls."""
        if live.state.phase in TRADED:
            self._trade(live, now_us, now)
        elif now_us >= live.state.next_step_at_us:
            self._conclude(live, now_us, now)

    def interrupt(self, live: LiveMarket, now_us: int, now: datetime) -> None:
        """Suspend a market in play: something happened."""
        if live.state.phase is Phase.IN_PLAY:
            live.state.next_drift_at_us = now_us  # its chances are others now
            self._suspend(live, now_us, now, "market suspended in play")

    def abandon(self, live: LiveMarket, now_us: int, now: datetime) -> None:
        """Stop a market whose event is abandoned; all of it will be void."""
        state = live.state
        if state.phase in TRADED:
            state.phase = Phase.VOIDING
            state.suspended_until_us = 0
            state.next_step_at_us = now_us
            refuse_waiting(live, now, "event abandoned")

    def _trade(self, live: LiveMarket, now_us: int, now: datetime) -> None:
        state = live.state
        if now_us >= state.closes_at_us:
            state.phase = Phase.CLOSED
            state.suspended_until_us = 0
            refuse_waiting(live, now, "market closed")
            live.lapse(now, "market closed")
            state.next_step_at_us = now_us + self._seconds(2, 6)
            return
        if state.phase is Phase.PRE_PLAY and now_us >= state.in_play_at_us:
            state.phase = Phase.IN_PLAY
            self._suspend(live, now_us, now, "market turned in play")
        elif state.suspended_until_us:
            if now_us >= state.suspended_until_us:
                state.suspended_until_us = 0
        else:
            place_due(live, now_us, now)
        if now_us >= state.next_drift_at_us:
            self._drift(state)
            state.next_drift_at_us = now_us + _S

    def _drift(self, state: MarketState) -> None:
        """Let the traders' idea of the chances be what the play says, and a little off."""
        says = self._play.chances(state.market.market_id) or [one.chance for one in state.market.selections]
        spread = _DRIFT_IN_PLAY if state.phase is Phase.IN_PLAY else _DRIFT_PRE_PLAY
        noise = state.noise or [0.0] * len(says)
        state.noise = [_DRIFT_KEPT * one + self._chance.gauss(0, spread) for one in noise]
        off = [chance * math.exp(error) for chance, error in zip(says, state.noise, strict=True)]
        state.chances = adding_up_to_winners(off, state.market.number_of_winners)

    def _conclude(self, live: LiveMarket, now_us: int, now: datetime) -> None:
        state = live.state
        most = self._bets_a_step
        if state.phase is Phase.CLOSED:
            if state.fate in (Fate.VOID, Fate.ABANDONED):
                state.phase = Phase.VOIDING
            else:
                right = self._result(state)
                state.winners = self._draw(state, right) if state.fate is Fate.CORRECTED else right
                state.phase = Phase.SETTLING
        elif state.phase is Phase.SETTLING:
            if live.settle_some(most, now):
                state.settlements += 1
                state.settled_at_us = now_us
                state.phase = Phase.SETTLED
                state.next_step_at_us = now_us + self._seconds(5, 15)
        elif state.phase is Phase.SETTLED:
            corrected = state.fate in (Fate.CORRECTED, Fate.ANNULLED) and state.settlements == 1
            state.phase = Phase.UNSETTLING if corrected else Phase.FINISHED
        elif state.phase is Phase.UNSETTLING:
            state.settled_at_us = 0
            if live.unsettle_some(most, now):
                if state.fate is Fate.ANNULLED:
                    state.phase = Phase.VOIDING
                else:
                    right = self._result(state)
                    state.winners = right if right != state.winners else self._draw(state, right)
                    state.phase = Phase.SETTLING
                state.next_step_at_us = now_us + self._seconds(3, 8)
        elif state.phase is Phase.VOIDING and live.void_some(most, now, "market void"):
            state.void = True
            state.settled_at_us = now_us
            state.phase = Phase.FINISHED

    def _suspend(self, live: LiveMarket, now_us: int, now: datetime, reason: str) -> None:
        live.state.suspended_until_us = now_us + self._seconds(1.5, 4)
        refuse_waiting(live, now, "market suspended")
        if live.state.market.lapses_in_play:
            live.lapse(now, reason)

    def _result(self, state: MarketState) -> list[int]:
        known = self._play.winners(state.market.market_id)
        return sorted(known) if known is not None else self._draw(state)

    def _draw(self, state: MarketState, other_than: Sequence[int] = ()) -> list[int]:
        while True:
            left = list(range(len(state.chances)))
            winners: list[int] = []
            for _ in range(state.market.number_of_winners):
                place = self._chance.choices(
                    left, weights=[state.market.selections[one].chance for one in left]
                )[0]
                left.remove(place)
                winners.append(place)
            if sorted(winners) != sorted(other_than):
                return sorted(winners)

    def _seconds(self, least: float, most: float) -> int:
        return int(self._chance.uniform(least, most) * _S / self._pace)
