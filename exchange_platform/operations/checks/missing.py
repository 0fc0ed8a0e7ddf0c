"""Bringing back what a store lacks: the exchange is asked to publish it again, the profile view is written
from the database.

What is published again goes through the stream as ever; whoever has it already changes nothing. The comparing
lives in exchange.py and view.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from exchange_platform.domain.exchange_reports import MissingSpan
from exchange_platform.operations.checks.exchange import (
    compared_until,
    differing_bets,
    differing_minutes,
    listed_minutes,
    portions,
)
from exchange_platform.operations.checks.view import differing_users
from exchange_platform.process.clock import Clock
from exchange_platform.stores.dynamodb.profile_view import ProfileView
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.bets.profiles import Profiles
from exchange_platform.stores.operational.database import Database, from_us
from exchange_platform.submission.exchange_asking import ReportsExchange


@dataclass(frozen=True, slots=True)
class Requested:
    """What was asked for: market minutes, each named with what it lacked; and what the exchange no longer
    has.
    """

    reported: bool = True
    """False: the exchange gives no report, so nothing is known of what is missing."""
    spans: dict[tuple[str, str], str] = field(default_factory=dict)
    not_held: dict[tuple[str, str], str] = field(default_factory=dict)
    """Its sums differ, and the exchange no longer holds the records: a copy of the lake or of the database
    may.
    """


def request_missing(database: Database, lake: Lake, exchange: ReportsExchange, clock: Clock) -> Requested:
    """Compare everything that the exchange reports, and ask it for what a store lacks. Asking twice does no
    harm.

    Raises `StoreUnavailable` and `ExchangeUnavailable`.
    """
    now = from_us(clock.now_us())
    head = exchange.report(now, now)
    if head is None:
        return Requested(reported=False)
    until = compared_until(head, now)
    requested = Requested()
    for since, to in portions(head, until):
        report = exchange.report(since, to)
        for one in differing_minutes(report, lake, since, to) if report is not None else ():
            held = requested.spans if one.minute >= head.records_since else requested.not_held
            held[one.market_id, one.minute.isoformat()] = one.said
    for minute in listed_minutes(head, until):
        for one in differing_bets(database, minute, exchange.report_bets(minute) or ()):
            requested.spans.setdefault((one.market_id, one.minute.isoformat()), one.said)
    exchange.request_missing(
        [
            MissingSpan(market_id=market_id, minute=datetime.fromisoformat(minute))
            for market_id, minute in requested.spans
        ]
    )
    return requested


def restore_view(database: Database, view: ProfileView, *, wait: Callable[[float], None]) -> list[str]:
    """Write the items of users that the view holds otherwise than the database; whose these were. Raises
    `StoreUnavailable`.
    """
    profiles = Profiles(database)
    restored: list[str] = []
    for page in profiles.pages():
        users = sorted(differing_users(database, view, [profile.user_id for profile in page], wait=wait))
        view.replace(profiles.read(users))
        restored += users
    return restored
