"""Events, markets and selections: what a batch of the feed's updates changes, in the caller's transaction.
Not here: reading them (reader.py), the checkpoint and the dead letters of the same transaction
(sinks/operational.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.domain.events import (
    EventUpdate,
    FeedUpdate,
    MarketStatus,
    MarketUpdate,
    SelectionState,
    SelectionStatus,
)
from exchange_platform.stores.operational.bets.rows import decimal_text
from exchange_platform.stores.operational.database import to_us
from exchange_platform.stores.operational.tables.events import events, markets, selections
from exchange_platform.stores.operational.upsert import ByKey, chunks, upsert
from exchange_platform.stores.operational.verdicts import APPLIED, REPEATED, Verdict

_encoder = msgspec.json.Encoder()

_upsert_events = upsert(events, replace=[column.name for column in events.columns if not column.primary_key])
_upsert_markets = upsert(
    markets, replace=[column.name for column in markets.columns if not column.primary_key]
)
_upsert_selections = upsert(selections, replace=["place", "name", "status"])
_delete_selections = ByKey(selections, ["market_id", "selection_id", "handicap"])


def apply_feed_updates(
    connection: sa.Connection, updates: Sequence[FeedUpdate], *, now_us: int
) -> list[Verdict]:
    """Apply updates in order; one verdict each.

    A version not newer than what is known changes nothing. A market's update that contradicts what is known
    (another event, another currency, a market that takes bets again after it was closed) is dead, with a
    reason, and changes nothing. A market may come before its event. Each event that changed, or a market of
    which did, has a higher `index_version` on return: `now_us`, or one more where that is not higher.
    """
    if not updates:
        return []
    fold = _Fold(connection, updates)
    verdicts = [fold.apply(update) for update in updates]
    fold.write(connection, now_us)
    return verdicts


@dataclass(slots=True)
class _KnownMarket:
    event_id: str
    version: int
    status: str
    currency: str


class _Fold:
    """A batch's updates over what is stored: the last of each event and market is written."""

    def __init__(self, connection: sa.Connection, updates: Sequence[FeedUpdate]) -> None:
        event_ids = sorted({update.event_id for update in updates})
        market_ids = sorted({update.market_id for update in updates if isinstance(update, MarketUpdate)})
        self._events: dict[str, int] = {}
        self._index_versions: dict[str, int] = {}
        self._markets: dict[str, _KnownMarket] = {}
        self._changed_events: dict[str, EventUpdate] = {}
        self._changed_markets: dict[str, MarketUpdate] = {}
        for some in chunks(event_ids):
            for row in connection.execute(
                sa.select(events.c.event_id, events.c.version, events.c.index_version).where(
                    events.c.event_id.in_(some)
                )
            ):
                self._events[row.event_id] = row.version
                self._index_versions[row.event_id] = row.index_version
        for some in chunks(market_ids):
            for market in connection.execute(
                sa.select(
                    markets.c.market_id,
                    markets.c.event_id,
                    markets.c.version,
                    markets.c.status,
                    markets.c.currency,
                ).where(markets.c.market_id.in_(some))
            ):
                self._markets[market.market_id] = _KnownMarket(
                    market.event_id, market.version, market.status, market.currency
                )

    def apply(self, update: FeedUpdate) -> Verdict:
        if isinstance(update, EventUpdate):
            if update.version <= self._events.get(update.event_id, 0):
                return REPEATED
            self._events[update.event_id] = update.version
            self._changed_events[update.event_id] = update
            return APPLIED
        known = self._markets.get(update.market_id)
        if known is not None:
            if update.version <= known.version:
                return REPEATED
            reason = _contradiction(known, update)
            if reason is not None:
                return Verdict(False, reason)
        self._markets[update.market_id] = _KnownMarket(
            update.event_id, update.version, update.status.value, update.currency
        )
        self._changed_markets[update.market_id] = update
        return APPLIED

    def write(self, connection: sa.Connection, now_us: int) -> None:
        _upsert_events.execute(
            connection,
            [
                _event_row(event, now_us, max(now_us, self._index_versions.get(event.event_id, 0) + 1))
                for event in self._changed_events.values()
            ],
        )
        _upsert_markets.execute(
            connection, [_market_row(market, now_us) for market in self._changed_markets.values()]
        )
        self._write_selections(connection)
        grown = {market.event_id for market in self._changed_markets.values()} - self._changed_events.keys()
        for some in chunks(sorted(grown)):
            connection.execute(
                sa.update(events)
                .where(events.c.event_id.in_(some))
                .values(
                    index_version=sa.case(
                        (events.c.index_version < now_us, now_us), else_=events.c.index_version + 1
                    )
                )
            )

    def _write_selections(self, connection: sa.Connection) -> None:
        stored: dict[tuple[str, int, str], tuple[int, str, str]] = {}
        for some in chunks(list(self._changed_markets)):
            for held in connection.execute(sa.select(selections).where(selections.c.market_id.in_(some))):
                stored[held.market_id, held.selection_id, held.handicap] = (
                    held.place,
                    held.name,
                    held.status,
                )
        changed: list[dict[str, Any]] = []
        for market in self._changed_markets.values():
            for place, selection in enumerate(market.selections):
                row = _selection_row(market.market_id, place, selection)
                known = stored.pop((market.market_id, selection.selection_id, row["handicap"]), None)
                if known != (place, row["name"], row["status"]):
                    changed.append(row)
        _delete_selections.execute(
            connection,
            [
                {"market_id": market_id, "selection_id": selection_id, "handicap": handicap}
                for market_id, selection_id, handicap in stored
            ],
        )
        _upsert_selections.execute(connection, changed)


def _contradiction(known: _KnownMarket, update: MarketUpdate) -> str | None:
    market = f"market {update.market_id}"
    if known.event_id != update.event_id:
        return f"{market} belongs to event {known.event_id}; version {update.version} says {update.event_id}"
    if known.currency != update.currency:
        return f"{market} is in {known.currency}; version {update.version} says {update.currency}"
    if known.status == MarketStatus.CLOSED.value and update.status is not MarketStatus.CLOSED:
        return (
            f"{market} is CLOSED since version {known.version}, and takes bets never again;"
            f" version {update.version} says {update.status.value}"
        )
    return None


def _event_row(event: EventUpdate, now_us: int, index_version: int) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "version": event.version,
        "name": event.name,
        "sport": event.sport,
        "competition": event.competition,
        "country": event.country,
        "status": event.status.value,
        "phase": event.phase,
        "participants": _encoder.encode(event.participants).decode(),
        "scores": _encoder.encode(event.scores).decode(),
        "starts_at_us": to_us(event.starts_at) if event.starts_at is not None else None,
        "updated_at_us": to_us(event.updated_at),
        "changed_at_us": now_us,
        "index_version": index_version,
    }


def _market_row(market: MarketUpdate, now_us: int) -> dict[str, Any]:
    return {
        "market_id": market.market_id,
        "event_id": market.event_id,
        "version": market.version,
        "name": market.name,
        "market_type": market.market_type,
        "status": market.status.value,
        "in_play": market.in_play,
        "bet_delay_s": market.bet_delay_s,
        "number_of_winners": market.number_of_winners,
        "number_of_selections": sum(
            selection.status is not SelectionStatus.REMOVED for selection in market.selections
        ),
        "commission_rate": decimal_text(market.commission_rate),
        "currency": market.currency,
        "traded_minor": market.traded_minor,
        "starts_at_us": to_us(market.starts_at) if market.starts_at is not None else None,
        "settled_at_us": to_us(market.settled_at) if market.settled_at is not None else None,
        "updated_at_us": to_us(market.updated_at),
        "changed_at_us": now_us,
    }


def _selection_row(market_id: str, place: int, selection: SelectionState) -> dict[str, Any]:
    return {
        "market_id": market_id,
        "selection_id": selection.selection_id,
        "handicap": decimal_text(selection.handicap),
        "place": place,
        "name": selection.name,
        "status": selection.status.value,
    }
