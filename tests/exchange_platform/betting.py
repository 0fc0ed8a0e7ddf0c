"""What a bet needs: accounts with money, an event with markets, orders. Not here: the exchange that answers
(tests/exchange_platform/answering.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.accounts import MailChoice, parse_address
from exchange_platform.domain.bet_requests import BetOrder
from exchange_platform.domain.bets import Side
from exchange_platform.stores.operational.accounts import accounts
from exchange_platform.stores.operational.bets.rows import decimal_text
from exchange_platform.stores.operational.database import Database, to_us
from exchange_platform.stores.operational.tables import accounts as account_tables
from exchange_platform.stores.operational.tables.events import events, markets, selections
from exchange_platform.stores.operational.wallets.wallets import Wallets

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOW_US = to_us(NOW)
MARKET, EVENT = "m1", "e1"


class SetClock:
    """A clock that stands until it is set. Waits return at once."""

    def __init__(self, now_us: int = NOW_US) -> None:
        self.us = now_us

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / 1e6

    def wait(self, wake: Any, timeout_s: float) -> bool:
        return bool(wake.is_set())

    def pass_s(self, seconds: float) -> None:
        self.us += int(seconds * 1e6)


def add_account(
    database: Database,
    account_id: str = "a1",
    *,
    funds_minor: int = 0,
    state: str = "CONFIRMED",
    currency: str = "GBP",
    now_us: int = NOW_US,
) -> None:
    """An account, confirmed unless said otherwise, with money."""
    with database.write() as connection:
        address = parse_address(f"{account_id}@example.org")
        accounts.insert(connection, account_id, address, account_id, currency, MailChoice.ALL, now_us)
        if state != "PENDING":
            accounts.confirm(connection, accounts.lock(connection, account_id), now_us)
    if funds_minor:
        Wallets(database, clock=SetClock(now_us)).deposit(
            account_id, "funds", funds_minor, currency, authorised_by="a test"
        )
    if state not in ("PENDING", "CONFIRMED"):
        with database.write() as connection:
            connection.execute(
                sa.update(account_tables.accounts)
                .where(account_tables.accounts.c.account_id == account_id)
                .values(state=state)
            )


def add_event(database: Database, event_id: str = EVENT, status: str = "SCHEDULED") -> None:
    """An event."""
    with database.write() as connection:
        connection.execute(
            sa.insert(events).values(
                event_id=event_id,
                version=1,
                name=event_id,
                sport="cricket",
                status=status,
                participants="[]",
                scores="[]",
                updated_at_us=NOW_US,
                changed_at_us=NOW_US,
                index_version=1,
            )
        )


def add_market(
    database: Database,
    market_id: str = MARKET,
    *,
    event_id: str = EVENT,
    status: str = "OPEN",
    currency: str = "GBP",
    winners: int = 1,
    of_selections: Mapping[int, str] | Sequence[int] = (1, 2, 3),
    handicap: Decimal = Decimal(0),
) -> None:
    """A market whose selections are active, unless a mapping says otherwise."""
    known = (
        dict(of_selections) if isinstance(of_selections, Mapping) else dict.fromkeys(of_selections, "ACTIVE")
    )
    with database.write() as connection:
        connection.execute(
            sa.insert(markets).values(
                market_id=market_id,
                event_id=event_id,
                version=1,
                name=market_id,
                market_type="match_odds",
                status=status,
                in_play=False,
                bet_delay_s=0.0,
                number_of_winners=winners,
                number_of_selections=sum(one != "REMOVED" for one in known.values()),
                commission_rate="0.05",
                currency=currency,
                updated_at_us=NOW_US,
                changed_at_us=NOW_US,
            )
        )
        for place, (selection_id, selection_status) in enumerate(known.items()):
            connection.execute(
                sa.insert(selections).values(
                    market_id=market_id,
                    selection_id=selection_id,
                    handicap=decimal_text(handicap),
                    place=place,
                    name=f"selection {selection_id}",
                    status=selection_status,
                )
            )


def set_market(database: Database, market_id: str, status: str) -> None:
    """Let the market have another status."""
    with database.write() as connection:
        connection.execute(sa.update(markets).where(markets.c.market_id == market_id).values(status=status))


def order(submission_id: str = "s1", **changes: Any) -> BetOrder:
    """A back of 10.00 at 3.0, by the account a1."""
    values: dict[str, Any] = {
        "account_id": "a1",
        "market_id": MARKET,
        "selection_id": 1,
        "side": Side.BACK,
        "odds": Decimal(3),
        "currency": "GBP",
        "stake_minor": 1000,
    }
    return BetOrder(submission_id=submission_id, **(values | changes))
