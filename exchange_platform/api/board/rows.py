"""What the board shows of events: rows of lists, headings, labels, all derived from the events' states. Pure.
Not here: the pages (board.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from exchange_platform.domain.events import (
    EventStatus,
    EventUpdate,
    MarketStatus,
    MarketUpdate,
    SelectionState,
    SelectionStatus,
)
from exchange_platform.stores.operational.events.reader import StoredEvent

SelectionKey = tuple[int, Decimal]
LastOdds = Mapping[str, Mapping[SelectionKey, Decimal]]
"""By market and selection."""

_MAIN = ("MATCH_ODDS", "WIN", "MONEYLINE", "MONEY_LINE", "MATCH ODDS")
_MAX_PRICES = 3
_WON = (SelectionStatus.WINNER, SelectionStatus.PLACED)
_ICONS = {
    "football": "football",
    "soccer": "football",
    "tennis": "tennis",
    "cricket": "cricket",
    "basketball": "basketball",
    "horse racing": "racing",
    "greyhound racing": "racing",
    "greyhounds": "racing",
}


@dataclass(frozen=True, slots=True)
class Label:
    """A status in words; `tone` is how it looks: live, open, warning, over, quiet."""

    text: str
    tone: str


EVENT_LABELS = {
    EventStatus.SCHEDULED: Label("Scheduled", "quiet"),
    EventStatus.IN_PLAY: Label("In play", "live"),
    EventStatus.FINISHED: Label("Finished", "over"),
    EventStatus.ABANDONED: Label("Abandoned", "over"),
}
MARKET_LABELS = {
    MarketStatus.INACTIVE: Label("Not yet open", "quiet"),
    MarketStatus.OPEN: Label("Open", "open"),
    MarketStatus.SUSPENDED: Label("Suspended", "warning"),
    MarketStatus.CLOSED: Label("Closed", "over"),
}
IN_PLAY_LABEL = Label("In play", "live")
SETTLED_LABEL = Label("Settled", "over")
SELECTION_LABELS = {
    SelectionStatus.ACTIVE: Label("", "quiet"),
    SelectionStatus.WINNER: Label("Winner", "won"),
    SelectionStatus.PLACED: Label("Placed", "won"),
    SelectionStatus.LOSER: Label("Lost", "quiet"),
    SelectionStatus.REMOVED: Label("Removed", "over"),
}


@dataclass(frozen=True, slots=True)
class ScoreSide:
    """A participant with its score; `won` once the event's main market says so."""

    name: str
    value: str = ""
    detail: str = ""
    won: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """What a selection was last matched at."""

    label: str
    name: str
    odds: Decimal | None
    won: bool


@dataclass(frozen=True, slots=True)
class Row:
    """An event in a list."""

    event_id: str
    name: str
    sport: str
    icon: str
    competition: str
    phase: str
    label: Label
    sides: tuple[ScoreSide, ...]
    prices: tuple[Price, ...]
    suspended: bool
    starts_at: datetime | None
    traded: tuple[tuple[int, str], ...]
    won: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SportGroup:
    """The rows of one sport."""

    sport: str
    icon: str
    rows: tuple[Row, ...]


def row_of(stored: StoredEvent, last: LastOdds) -> Row:
    """The event's row."""
    event = stored.event
    main = main_market(stored.markets)
    suspended = main is not None and main.status is MarketStatus.SUSPENDED
    return Row(
        event_id=event.event_id,
        name=event.name,
        sport=event.sport,
        icon=icon_of(event.sport),
        competition=event.competition,
        phase=event.phase,
        label=event_label(event, main),
        sides=sides_of(event, main),
        prices=() if main is None else _prices(event, main, last.get(main.market_id, {})),
        suspended=suspended,
        starts_at=event.starts_at,
        traded=traded_of(stored.markets),
        won=() if main is None else winners(main),
    )


def by_sport(rows: Iterable[Row]) -> tuple[SportGroup, ...]:
    """The rows by their sport, the one with most of them first; in each those most traded first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.sport, []).append(row)
    return tuple(
        SportGroup(
            sport,
            icon_of(sport),
            tuple(sorted(its, key=lambda row: -sum(amount for amount, _ in row.traded))),
        )
        for sport, its in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    )


def main_market(markets: Sequence[MarketUpdate]) -> MarketUpdate | None:
    """The market that says who wins; where none is known as that, the one most traded."""
    named = [
        market for market in markets if market.market_type.upper() in _MAIN or market.name.upper() in _MAIN
    ]
    return max(
        named or markets,
        key=lambda market: (market.status is not MarketStatus.CLOSED, market.traded_minor),
        default=None,
    )


def event_label(event: EventUpdate, main: MarketUpdate | None) -> Label:
    """How the event stands: suspended while its main market is."""
    live = event.status in (EventStatus.IN_PLAY, EventStatus.SCHEDULED)
    if live and main is not None and main.status is MarketStatus.SUSPENDED:
        return MARKET_LABELS[MarketStatus.SUSPENDED]
    return EVENT_LABELS[event.status]


def market_label(market: MarketUpdate) -> Label:
    """How the market stands."""
    if market.status is MarketStatus.OPEN and market.in_play:
        return IN_PLAY_LABEL
    if market.status is MarketStatus.CLOSED and market.settled_at is not None:
        return SETTLED_LABEL
    return MARKET_LABELS[market.status]


def sides_of(event: EventUpdate, main: MarketUpdate | None) -> tuple[ScoreSide, ...]:
    """Who plays, with the score: those with a score, else the participants of a match of two; nobody where
    neither is known.
    """
    won = {
        selection.name
        for selection in (main.selections if main is not None else ())
        if selection.status is SelectionStatus.WINNER
    }
    if event.scores:
        return tuple(
            ScoreSide(score.name, score.value, score.detail, score.name in won) for score in event.scores
        )
    if len(event.participants) == 2:
        return tuple(ScoreSide(name, won=name in won) for name in event.participants)
    return ()


def traded_of(markets: Iterable[MarketUpdate]) -> tuple[tuple[int, str], ...]:
    """(amount in minor units, currency) matched in these markets, the largest first."""
    sums: dict[str, int] = {}
    for market in markets:
        if market.traded_minor:
            sums[market.currency] = sums.get(market.currency, 0) + market.traded_minor
    return tuple(sorted(((amount, currency) for currency, amount in sums.items()), reverse=True))


def selection_name(selection: SelectionState) -> str:
    """The selection's name with its handicap; its number where it has no name."""
    name = selection.name or f"Selection {selection.selection_id}"
    return f"{name} {selection.handicap:+}" if selection.handicap else name


def winners(market: MarketUpdate) -> tuple[str, ...]:
    """The names of those that won or were placed."""
    return tuple(selection_name(selection) for selection in market.selections if selection.status in _WON)


def icon_of(sport: str) -> str:
    """The name of the sport's picture."""
    return _ICONS.get(sport.lower(), "other")


def _prices(
    event: EventUpdate, market: MarketUpdate, last: Mapping[SelectionKey, Decimal]
) -> tuple[Price, ...]:
    """The prices of a match's two or three outcomes; of many, those of the shortest odds."""
    shown = [one for one in market.selections if one.status is not SelectionStatus.REMOVED]
    priced = [(selection, last.get((selection.selection_id, selection.handicap))) for selection in shown]
    if len(shown) > _MAX_PRICES:
        priced.sort(key=lambda pair: (pair[1] is None, pair[1]))
        return tuple(
            Price(selection_name(selection), selection_name(selection), odds, selection.status in _WON)
            for selection, odds in priced[:_MAX_PRICES]
        )
    return tuple(
        Price(_short(event, selection), selection_name(selection), odds, selection.status in _WON)
        for selection, odds in sorted(priced, key=lambda pair: _place(event, pair[0]))
    )


def _place(event: EventUpdate, selection: SelectionState) -> int:
    """Where scoreboards have it: the draw between the sides, the sides in the event's order."""
    if _is_draw(selection):
        return 1
    names = event.participants
    return 2 * names.index(selection.name) if selection.name in names else 0


def _short(event: EventUpdate, selection: SelectionState) -> str:
    if _is_draw(selection):
        return "Draw"
    names = event.participants
    if len(names) == 2 and selection.name in names:
        return str(1 + names.index(selection.name))
    return selection_name(selection)


def _is_draw(selection: SelectionState) -> bool:
    return selection.name.strip().lower() in ("the draw", "draw")
