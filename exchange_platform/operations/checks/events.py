"""Is the event index what the database says, and are events consistent with their markets? Not here: the feed
(stream.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa

from exchange_platform.domain.events import EventStatus, MarketStatus
from exchange_platform.operations.checks.outcomes import EVERY_EVENT, MAX_NAMED, CheckOutcome, Events, listed
from exchange_platform.process.clock import Clock
from exchange_platform.stores.event_index.index import EventIndex
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.events.documents import count_events
from exchange_platform.stores.operational.tables.events import events, markets
from exchange_platform.stores.operational.upsert import chunks

SETTLED_FOR = timedelta(seconds=60)
"""How long an event may be over before its markets must have followed."""
_LOOKS, _PAUSE_S = 6, 0.5


def some_events(database: Database, after: str | None, count: int) -> Events:
    """So many of the next events in the order of their ids; `upto` is None when they include the last one."""
    ids = sa.select(events.c.event_id).order_by(events.c.event_id).limit(1)
    if after is not None:
        ids = ids.where(events.c.event_id > after)
    with database.read() as connection:
        upto = connection.execute(ids.offset(count - 1)).scalar()
        more = (
            upto is not None
            and connection.execute(
                sa.select(events.c.event_id).where(events.c.event_id > upto).limit(1)
            ).scalar()
        )
    return Events(after, upto if more else None)


def index_agrees(
    database: Database, index: EventIndex, share: Events = EVERY_EVENT, *, wait: Callable[[float], None]
) -> CheckOutcome:
    """The event index holds as many events as the database, and those looked at in their newest version.

    The index follows the database; what it lacks is looked at again until it has had some seconds. Raises
    `StoreUnavailable`.
    """
    count = count_events(database)
    if not index.is_filled():
        figures: dict[str, int | float | str] = {"events": count, "documents": 0, "compared": 0}
        return CheckOutcome(
            not count, "the event index was deleted, or never filled" if count else "no events yet", figures
        )
    wanted = _versions(database, share)
    suspects: Sequence[str] = list(wanted)
    wrong: list[str] = []
    held_count = 0
    for look in range(_LOOKS):
        held = index.versions(suspects)
        now = _versions_of(database, suspects)
        wrong = [
            event_id
            for event_id in suspects
            if not wanted[event_id] <= held.get(event_id, 0) <= now.get(event_id, 0)
        ]
        held_count = index.count()
        if not wrong and count <= held_count <= count_events(database):
            break
        suspects = wrong
        if look + 1 < _LOOKS:
            wait(_PAUSE_S)
    figures = {"events": count, "documents": held_count, "compared": len(wanted)}
    if wrong:
        reasons = (f"{event_id} is not at version {wanted[event_id]}" for event_id in wrong)
        return CheckOutcome(False, f"in the event index {listed(reasons)}", figures, tuple(wrong[:MAX_NAMED]))
    if not count <= held_count <= count_events(database):
        return CheckOutcome(
            False, f"the event index holds {held_count} events, the database {count}", figures
        )
    return CheckOutcome(
        True, f"{count} events, the index has them in their newest versions{share.share}", figures
    )


def finished_events_take_no_bets(database: Database, clock: Clock) -> CheckOutcome:
    """No market is open whose event has been over for a minute."""
    before_us = clock.now_us() - int(SETTLED_FOR.total_seconds() * 1e6)
    over = (EventStatus.FINISHED.value, EventStatus.ABANDONED.value)
    with database.read() as connection:
        open_markets = connection.execute(
            sa.select(sa.func.count()).where(markets.c.status == MarketStatus.OPEN.value)
        ).scalar_one()
        wrong = connection.execute(
            sa.select(markets.c.market_id, events.c.event_id, events.c.status)
            .join_from(markets, events, markets.c.event_id == events.c.event_id)
            .where(
                markets.c.status == MarketStatus.OPEN.value,
                events.c.status.in_(over),
                markets.c.changed_at_us < before_us,
                events.c.changed_at_us < before_us,
            )
            .order_by(markets.c.market_id)
            .limit(MAX_NAMED)
        ).all()
    figures = {"open_markets": open_markets}
    if wrong:
        reasons = (f"{row.market_id} is open, its event {row.event_id} {row.status}" for row in wrong)
        return CheckOutcome(False, listed(reasons), figures, tuple(row.market_id for row in wrong))
    return CheckOutcome(True, f"{open_markets} open markets, all of events that go on", figures)


def _versions(database: Database, share: Events) -> Mapping[str, int]:
    with database.read() as connection:
        return {
            row.event_id: row.index_version
            for row in connection.execute(
                sa.select(events.c.event_id, events.c.index_version).where(share.where(events.c.event_id))
            )
        }


def _versions_of(database: Database, event_ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    with database.read() as connection:
        for some in chunks(event_ids):
            rows = connection.execute(
                sa.select(events.c.event_id, events.c.index_version).where(events.c.event_id.in_(some))
            )
            found.update((row.event_id, row.index_version) for row in rows)
    return found
