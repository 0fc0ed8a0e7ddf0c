"""What the exchange's feed is given: the newest update of each event and market whose public face changed.
Pure, save for versions.

Not here: the feed's journal (feed_journal.py), and when it is written (exchange.py commits, process.py
appends).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from exchange_platform.domain.events import (
    EventUpdate,
    MarketStatus,
    MarketUpdate,
    SelectionState,
    SelectionStatus,
    encode_update,
)
from exchange_platform.exchanges.simulated.fixtures import Market
from exchange_platform.exchanges.simulated.markets.market import CURRENCY
from exchange_platform.exchanges.simulated.markets.settlement import COMMISSION_RATE
from exchange_platform.exchanges.simulated.programme import Programme
from exchange_platform.exchanges.simulated.states import TRADED, EventState, MarketState, Phase

VOLUME_EVERY_S = 3.0
"""How often a market's traded volume is published where nothing else is new."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Feeding:
    """Remembers what each event and market was last published as. After a start everything is published
    again, as a newer version.
    """

    def __init__(self, programme: Programme) -> None:
        self._programme = programme
        self._events: dict[str, Any] = {}
        self._markets: dict[str, Any] = {}
        self._volumes: dict[str, tuple[int, int]] = {}
        """When a market's volume is looked at next, and what it was."""
        self._begun = False

    def updates(self, markets: Iterable[MarketState], now_us: int) -> list[bytes]:
        """The updates that are due; the versions in the states have grown by them. Events come before their
        markets.
        """
        programme = self._programme
        told: list[bytes] = []
        begun, self._begun = self._begun, True
        changed = programme.touched if begun else _by_id([*programme.upcoming, *programme.live.values()])
        for event_id, state in changed.items():
            face = self._event_face(state)
            if self._events.get(event_id) == face:
                continue
            self._events[event_id] = face
            state.version += 1
            programme.touched[event_id] = state
            told.append(encode_update(self._event_update(state, now_us)))
            if not state.opened:
                told += [encode_update(_announced(market, state, now_us)) for market in state.event.markets]
        for market in markets:
            update = self._market_update(market, now_us)
            if update is not None:
                told.append(encode_update(update))
        return told

    def forget(self, events: Iterable[str], markets: Iterable[str]) -> None:
        """Forget what is done with."""
        for event_id in events:
            self._events.pop(event_id, None)
        for market_id in markets:
            self._markets.pop(market_id, None)
            self._volumes.pop(market_id, None)

    def _event_face(self, state: EventState) -> Any:
        step = self._programme.standing(state)
        return state.status, state.starts_at_us, step and (step.phase, step.scores)

    def _event_update(self, state: EventState, now_us: int) -> EventUpdate:
        event = state.event
        step = self._programme.standing(state)
        return EventUpdate(
            event_id=event.event_id,
            version=state.version,
            name=event.name,
            sport=event.sport.value,
            competition=event.competition,
            country=event.country,
            status=state.status,
            phase=step.phase if step is not None else "",
            participants=event.participants,
            scores=step.scores if step is not None else (),
            starts_at=_instant(state.starts_at_us),
            updated_at=_instant(now_us),
        )

    def _market_update(self, state: MarketState, now_us: int) -> MarketUpdate | None:
        market = state.market
        market_id = market.market_id
        winners = tuple(state.winners) if state.settled_at_us and not state.void else None
        status = _status(state)
        face = (status, state.phase is Phase.IN_PLAY, state.settled_at_us, state.void, winners)
        if self._markets.get(market_id) == face:
            due_us, volume = self._volumes[market_id]
            if now_us < due_us or volume == state.traded_minor:
                return None
        self._markets[market_id] = face
        self._volumes[market_id] = (now_us + int(VOLUME_EVERY_S * 1e6), state.traded_minor)
        state.feed_version += 1
        in_play = state.phase is Phase.IN_PLAY
        return MarketUpdate(
            market_id=market_id,
            event_id=market.event_id,
            version=state.feed_version,
            name=market.name,
            market_type=market.market_type,
            status=status,
            in_play=in_play,
            bet_delay_s=state.bet_delay_s if in_play else 0.0,
            number_of_winners=market.number_of_winners,
            commission_rate=COMMISSION_RATE,
            currency=CURRENCY,
            traded_minor=state.traded_minor,
            selections=_selections(market, state.void, winners),
            starts_at=_instant(state.in_play_at_us),
            settled_at=_instant(state.settled_at_us) if state.settled_at_us else None,
            updated_at=_instant(now_us),
        )


def _announced(market: Market, state: EventState, now_us: int) -> MarketUpdate:
    return MarketUpdate(
        market_id=market.market_id,
        event_id=market.event_id,
        version=state.version,
        name=market.name,
        market_type=market.market_type,
        status=MarketStatus.INACTIVE,
        number_of_winners=market.number_of_winners,
        commission_rate=COMMISSION_RATE,
        currency=CURRENCY,
        selections=_selections(market, void=False, winners=None),
        starts_at=_instant(state.starts_at_us),
        updated_at=_instant(now_us),
    )


def _status(state: MarketState) -> MarketStatus:
    if state.phase not in TRADED:
        return MarketStatus.CLOSED
    return MarketStatus.SUSPENDED if state.suspended_until_us else MarketStatus.OPEN


def _selections(market: Market, void: bool, winners: tuple[int, ...] | None) -> tuple[SelectionState, ...]:
    won = SelectionStatus.PLACED if market.number_of_winners > 1 else SelectionStatus.WINNER
    states: list[SelectionState] = []
    for place, selection in enumerate(market.selections):
        if void:
            status = SelectionStatus.REMOVED
        elif winners is None:
            status = SelectionStatus.ACTIVE
        else:
            status = won if place in winners else SelectionStatus.LOSER
        states.append(
            SelectionState(
                selection_id=selection.selection_id,
                handicap=selection.handicap,
                name=selection.name,
                status=status,
            )
        )
    return tuple(states)


def _by_id(states: Iterable[EventState]) -> dict[str, EventState]:
    return {state.event.event_id: state for state in states}


def _instant(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
