"""The log of security events: rows are added, in the transaction of what they say or on their own, read, and
purged. Nothing secret is in it.

No text that a caller typed is in it either: details are the platform's own words, ids and amounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from exchange_platform.domain.actors import Actor
from exchange_platform.stores.operational.database import Database
from exchange_platform.stores.operational.purge_rounds import ROWS_AT_ONCE, Budget, Purged, counted
from exchange_platform.stores.operational.tables.security import security_events

MAX_DETAIL = 200


class SecurityKind(StrEnum):
    """What happened."""

    MADE = "token_made"
    REVOKED = "token_revoked"
    AUTHENTICATED = "authenticated"
    """A token was used from a network address where this process had not seen it within a day."""
    AUTHENTICATION_FAILED = "authentication_failed"
    SCOPE_MISSING = "scope_missing"
    ACCOUNT_OUT_OF_REACH = "account_out_of_reach"
    """A token asked for an account that it may not act for, or that does not exist."""
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    LIMIT_CHANGED = "limit_changed"
    ACCOUNT_CLOSED = "account_closed"


class SecurityEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `occurrences` is how often it happened since the row before of its kind, application, token
    and client.
    """

    event_id: int = 0
    at_us: int
    kind: SecurityKind
    application: str | None = None
    token_id: str | None = None
    account_id: str | None = None
    client: str | None = None
    detail: str = ""
    occurrences: int = 1


def write_event(
    connection: sa.Connection, kind: SecurityKind, actor: Actor, account_id: str, detail: str, now_us: int
) -> None:
    """Add what an actor did to an account, in the transaction that does it."""
    write_events(
        connection,
        [
            SecurityEvent(
                at_us=now_us,
                kind=kind,
                application=actor.application,
                token_id=actor.token_id,
                account_id=account_id,
                client=actor.client,
                detail=detail,
            )
        ],
    )


def write_events(connection: sa.Connection, events: Sequence[SecurityEvent]) -> None:
    """Add rows, in the caller's transaction."""
    if events:
        connection.execute(sa.insert(security_events), [_row(event) for event in events])


@dataclass(frozen=True, slots=True)
class WantedEvents:
    """Which events are asked for: those of the application and of the kind, where these are given."""

    application: str | None = None
    kind: SecurityKind | None = None


def read_events(database: Database, wanted: WantedEvents, *, limit: int) -> list[SecurityEvent]:
    """The newest events that are asked for, newest first. Raises `StoreUnavailable`."""
    query = sa.select(security_events).order_by(security_events.c.event_id.desc()).limit(limit)
    if wanted.application is not None:
        query = query.where(security_events.c.application == wanted.application)
    if wanted.kind is not None:
        query = query.where(security_events.c.kind == wanted.kind.value)
    with database.read() as connection:
        return [
            SecurityEvent(**{**row._mapping, "kind": SecurityKind(row.kind)})
            for row in connection.execute(query)
        ]


def purge_events(database: Database, *, before_us: int, budget: Budget) -> Purged:
    """Delete events of before an instant. Each transaction is short."""
    due = sa.select(security_events.c.event_id).where(security_events.c.at_us < before_us)

    def step() -> int | None:
        with database.write() as connection:
            oldest = due.order_by(security_events.c.at_us).limit(ROWS_AT_ONCE)
            old = connection.execute(oldest).scalars().all()
            connection.execute(sa.delete(security_events).where(security_events.c.event_id.in_(old)))
        return len(old) or None

    deleted = budget.repeat(step)
    with database.read() as connection:
        left = counted(connection, due)
        oldest_us = connection.execute(due.with_only_columns(sa.func.min(security_events.c.at_us)))
        return Purged(deleted, left, before_us - (oldest_us.scalar() or before_us))


def _row(event: SecurityEvent) -> dict[str, Any]:
    row = msgspec.structs.asdict(event)
    del row["event_id"]
    return {**row, "kind": event.kind.value, "detail": event.detail[:MAX_DETAIL]}
