"""What Betfair's streams say of events and markets, as updates of the exchange's feed. Pure. Not here: files
and sockets, executions.

An update is published when something of it changed. Its version grows with the message's time, and is the
same whenever the same messages come in the same order; what is published with sports data is newer than the
same without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import msgspec

from exchange_platform.domain.events import (
    EventStatus,
    EventUpdate,
    FeedUpdate,
    MarketStatus,
    MarketUpdate,
    Score,
    SelectionState,
    SelectionStatus,
)
from exchange_platform.exchanges.betfair import catalogue, wording
from exchange_platform.exchanges.betfair.messages import (
    Fixture,
    Innings,
    MarketDefinition,
    MatchStatistics,
    Message,
    SportsChange,
    SportsMessage,
    Team,
)

TRADED_EVERY_MS = 15_000
"""How often, in the stream's time, the volume that was traded in a market is published when nothing else
changes.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSIONS_A_MS = 1000
_WITH_SPORTS_DATA = 500
_MAX_SELECTIONS, _MAX_PARTICIPANTS = 1000, 100
_MAX_TRADED = Decimal(10) ** 13
_MARKET_STATUS = {status.value: status for status in MarketStatus}
_SELECTION_STATUS = {status.value: status for status in SelectionStatus} | {
    "REMOVED_VACANT": SelectionStatus.REMOVED,
    "HIDDEN": SelectionStatus.REMOVED,
}

_U = TypeVar("_U", EventUpdate, MarketUpdate)


@dataclass(slots=True)
class _Market:
    definition: MarketDefinition
    traded: Decimal = Decimal(0)
    traded_told: Decimal = Decimal(0)
    told_at_ms: int = 0
    told: MarketUpdate | None = None

    @property
    def status(self) -> MarketStatus:
        """A status that is not known here takes no bets."""
        return _MARKET_STATUS.get(self.definition.status or "", MarketStatus.SUSPENDED)


@dataclass(slots=True)
class _Event:
    event_id: str
    markets: dict[str, _Market] = field(default_factory=dict)
    fixture: Fixture = field(default_factory=Fixture)
    innings: Sequence[Innings] = ()
    teams: dict[str, Team] = field(default_factory=dict)
    phase: str = ""
    with_sports_data: bool = False
    told: EventUpdate | None = None

    @property
    def team_names(self) -> tuple[str, ...]:
        """Home and away, as far as they are known."""
        names = (
            (self.teams.get(side, Team()).name or told)
            for side, told in (("home", self.fixture.home_team), ("away", self.fixture.away_team))
        )
        return tuple(wording.cut(name or "", 200) for name in names if wording.is_known(name))

    def selection_name(self, selection_id: int) -> str | None:
        """What the sports data, or every market, calls the selection."""
        for team in self.teams.values():
            if team.selection_id == selection_id and wording.is_known(team.name):
                return team.name
        return catalogue.SELECTIONS.get(selection_id)


class FeedStates:
    """The events and markets of a stream, or of several merged by time. For one thread."""

    def __init__(self, *, of_sports_data_alone: bool = False) -> None:
        """With `of_sports_data_alone`, events are published of which there is no market, too."""
        self._of_sports_data_alone = of_sports_data_alone
        self._events: dict[str, _Event] = {}
        self._event_of: dict[str, str] = {}

    def after(self, message: Message, traded: Callable[[str], Decimal]) -> list[FeedUpdate]:
        """What a message of the market stream changes; `traded` gives a market's backers' stake as of after
        the message.
        """
        at_ms = message.pt or 0
        updates: list[FeedUpdate] = []
        for change in message.mc or ():
            definition = change.definition
            event_id = (definition.event_id if definition is not None else None) or self._event_of.get(
                change.id
            )
            if event_id is None:
                continue  # nothing is known of the market yet
            event = self._events.setdefault(event_id, _Event(event_id))
            market = event.markets.get(change.id)
            if market is None:
                if definition is None:
                    continue
                market = event.markets[change.id] = _Market(definition)
                self._event_of[change.id] = event_id
            if definition is not None:
                market.definition = definition
            if (
                market.status is MarketStatus.OPEN
            ):  # Betfair clears the volume of a market before it closes it
                market.traded = traded(change.id)
            due = market.traded != market.traded_told and at_ms - market.told_at_ms >= TRADED_EVERY_MS
            if definition is not None or due:
                updates += self._told(event, at_ms, [change.id])
        return updates

    def after_sports(self, message: SportsMessage) -> list[FeedUpdate]:
        """What a message of the sports data changes."""
        updates: list[FeedUpdate] = []
        for change in message.cc or ():
            event = self._events.setdefault(change.event_id, _Event(change.event_id))
            renamed = _learn(event, change)
            updates += self._told(event, message.pt, list(event.markets) if renamed else ())
        return updates

    def forget_closed(self, before_ms: int) -> list[str]:
        """Forget markets that were closed before then in the stream's time, and events of which nothing else
        is known; which markets.
        """
        forgotten: list[str] = []
        for event_id, event in list(self._events.items()):
            over = [
                market_id
                for market_id, market in event.markets.items()
                if market.status is MarketStatus.CLOSED and market.told_at_ms < before_ms
            ]
            for market_id in over:
                del event.markets[market_id], self._event_of[market_id]
            if over and not event.markets:
                del self._events[event_id]
            forgotten += over
        return forgotten

    def _told(self, event: _Event, at_ms: int, market_ids: Iterable[str]) -> list[FeedUpdate]:
        """The event and these of its markets, those that are not what was published last."""
        if not event.markets and not self._of_sports_data_alone:
            return []
        markets: list[FeedUpdate] = []
        turned = False
        for market_id in market_ids:
            market = event.markets[market_id]
            update = _if_changed(
                _market_update(market_id, market, event, at_ms), market.told, event.with_sports_data
            )
            if update is not None:
                turned = turned or market.told is None or market.told.status is not update.status
                market.told, market.told_at_ms, market.traded_told = update, at_ms, market.traded
                markets.append(update)
        is_new = event.told is None
        # Published again when a market opens or closes: so its newest version is as new as theirs, with or
        # without sports data.
        changed = _if_changed(_event_update(event, at_ms), event.told, event.with_sports_data, or_not=turned)
        if changed is None:
            return markets
        event.told = changed
        # A market that closes stops bets before its event is over; an event is named before its first market.
        return [changed, *markets] if is_new else [*markets, changed]


def _learn(event: _Event, change: SportsChange) -> bool:
    """Take over what the sports data says of an event; whether it names its sides otherwise than before."""
    event.with_sports_data = True
    if change.fixture_info is not None:
        told = {
            name: value
            for name in Fixture.__struct_fields__
            if (value := getattr(change.fixture_info, name)) not in (None, "")
        }
        event.fixture = msgspec.structs.replace(event.fixture, **told)
    before = dict(event.teams)
    for side, team in (("home", change.home_team), ("away", change.away_team)):
        if team is not None and wording.is_known(team.name):
            event.teams[side] = team
    if change.match_stats is not None:
        event.innings = _begun(change.match_stats)
        if event.innings and change.match_stats.current_innings is not None:
            event.phase = f"{wording.ordinal(change.match_stats.current_innings)} innings"
    return event.teams != before


def _if_changed(update: _U, told: _U | None, with_sports_data: bool, *, or_not: bool = False) -> _U | None:
    """The update at its version, unless it says what was published last."""
    if told is None:
        known = 0
    else:
        same = msgspec.structs.replace(update, version=told.version, updated_at=told.updated_at) == told
        if same and not or_not:
            return None
        known = told.version
    version = update.version + (_WITH_SPORTS_DATA if with_sports_data else 0)
    return msgspec.structs.replace(update, version=max(version, known + 1))


def _market_update(market_id: str, market: _Market, event: _Event, at_ms: int) -> MarketUpdate:
    definition = market.definition
    return MarketUpdate(
        market_id=market_id,
        event_id=event.event_id,
        version=at_ms * _VERSIONS_A_MS,
        name=wording.cut(definition.name or catalogue.market_name(definition.market_type), 200),
        market_type=wording.cut(definition.market_type or "", 60),
        status=market.status,
        in_play=bool(definition.in_play),
        bet_delay_s=float(min(max(definition.bet_delay or Decimal(0), Decimal(0)), Decimal(60))),
        number_of_winners=min(max(definition.number_of_winners or 0, 0), 100),
        commission_rate=_commission(definition.market_base_rate),
        traded_minor=int(min(market.traded, _MAX_TRADED) * 100),
        selections=_selections(definition, event),
        starts_at=wording.instant(definition.market_time),
        settled_at=wording.instant(definition.settled_time),
        updated_at=_at(at_ms),
    )


def _commission(percent: Decimal | None) -> Decimal:
    if percent is None or not percent.is_finite() or not 0 <= percent <= 100:
        return Decimal("0.05")
    return round(percent / 100, 6).normalize() + Decimal(0)


def _selections(definition: MarketDefinition, event: _Event) -> tuple[SelectionState, ...]:
    runners = sorted(
        definition.runners or (), key=lambda runner: (runner.sort_priority is None, runner.sort_priority or 0)
    )
    states: dict[tuple[int, Decimal], SelectionState] = {}
    for runner in runners:
        handicap = wording.handicap(runner.hc)
        if handicap is None:
            continue
        name = runner.name or event.selection_name(runner.id) or f"Selection {runner.id}"
        states[runner.id, handicap] = SelectionState(
            selection_id=runner.id,
            handicap=handicap,
            name=wording.cut(name, 200),
            status=_SELECTION_STATUS.get(runner.status or "", SelectionStatus.ACTIVE),
        )
    return tuple(states.values())[:_MAX_SELECTIONS]


def _event_update(event: _Event, at_ms: int) -> EventUpdate:
    first = next(iter(event.markets.values()), None)
    definition = first.definition if first is not None else MarketDefinition()
    sport = catalogue.sport_of(definition.event_type_id) if first is not None else catalogue.CRICKET
    teams = event.team_names
    starts_at = (
        wording.instant_of_ms(event.fixture.expected_start_time)
        if event.fixture.expected_start_time is not None
        else min(
            (
                start
                for market in event.markets.values()
                if (start := wording.instant(market.definition.market_time)) is not None
            ),
            default=None,
        )
    )
    country = definition.country_code or ""
    return EventUpdate(
        event_id=event.event_id,
        version=at_ms * _VERSIONS_A_MS,
        name=wording.cut(_event_name(event, definition, sport), 200),
        sport=sport,
        country=country if len(country) == 2 else "",
        status=_event_status(event),
        phase=event.phase,
        participants=teams or _runners(event, sport),
        scores=tuple(_score(one, of=len(event.innings)) for one in event.innings),
        starts_at=starts_at,
        updated_at=_at(at_ms),
    )


def _event_name(event: _Event, definition: MarketDefinition, sport: str) -> str:
    for market in event.markets.values():
        if wording.is_known(market.definition.event_name):
            return market.definition.event_name or ""
    if len(event.team_names) == 2:
        return " v ".join(event.team_names)
    if sport in catalogue.RACING and definition.venue:
        return wording.race_meeting(definition.venue, definition.open_date, definition.timezone)
    return f"{sport} event {event.event_id}"


def _event_status(event: _Event) -> EventStatus:
    """By the markets and the fixture. While a market takes bets the event is not over, whatever the sports
    data says.
    """
    markets = event.markets.values()
    statuses = {market.status for market in markets}
    fixture = event.fixture
    if statuses == {MarketStatus.CLOSED}:
        results = {
            runner.status for market in markets for runner in market.definition.runners or () if runner.status
        }
        return EventStatus.ABANDONED if results and results <= {"REMOVED"} else EventStatus.FINISHED
    if MarketStatus.OPEN not in statuses:
        if "ABANDON" in (fixture.event_status or "") or "ABANDON" in (fixture.fixture_status or ""):
            return EventStatus.ABANDONED
        if fixture.fixture_status == "FINISHED":
            return EventStatus.FINISHED
    if fixture.fixture_status in ("IN_RUNNING", "FINISHED") or any(
        market.definition.in_play for market in markets
    ):
        return EventStatus.IN_PLAY
    return EventStatus.SCHEDULED


def _runners(event: _Event, sport: str) -> tuple[str, ...]:
    """The names of those who compete, where no teams are known: of a race's runners, or of both sides of a
    match.
    """
    names: dict[str, None] = {}
    for market in event.markets.values():
        if market.definition.market_type not in ("MATCH_ODDS", "WIN"):
            continue
        for runner in market.definition.runners or ():
            name = runner.name or event.selection_name(runner.id)
            if name and name != catalogue.THE_DRAW:
                shown = wording.without_number(name) if sport in catalogue.RACING else name
                names[wording.cut(shown, 200)] = None
    return tuple(names)[:_MAX_PARTICIPANTS]


def _begun(statistics: MatchStatistics) -> list[Innings]:
    """The innings that were begun, in their order."""
    begun = [one for one in statistics.innings_stats or () if wording.is_known(one.batting_team)]
    return sorted(begun, key=lambda one: one.innings_num)[:20]


def _score(innings: Innings, *, of: int) -> Score:
    overs = wording.overs(innings.innings_overs)
    which = f"{wording.ordinal(innings.innings_num)} innings, " if of > 2 else ""
    return Score(
        name=wording.cut(innings.batting_team or "", 200),
        value=f"{innings.innings_runs}/{innings.innings_wickets}"[:60],
        detail=wording.cut(f"{which}{overs} overs" if overs else which.rstrip(", "), 60),
    )


def _at(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)
