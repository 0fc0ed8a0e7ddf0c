"""What is read to decide about bets, and what is written beside an accepted one. Not here: deciding
(acceptance.py), the bet itself (bets.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from exchange_platform.domain.accounts import AccountState
from exchange_platform.domain.bet_rules import AccountFacts, MarketFacts
from exchange_platform.domain.events import EventStatus, MarketStatus, SelectionStatus
from exchange_platform.stores.operational.accounts.limit_changes import read_limits
from exchange_platform.stores.operational.database import bets
from exchange_platform.stores.operational.tables.accounts import accounts
from exchange_platform.stores.operational.tables.events import events, markets, selections
from exchange_platform.stores.operational.tables.wallets import profile_view_due, submissions
from exchange_platform.stores.operational.upsert import Lookup, insert, upsert

_insert_submissions = insert(submissions)
_upsert_due = upsert(profile_view_due, replace=["cause"])


class KnownSubmission(NamedTuple):
    """What was submitted under an id before."""

    content_sha256: bytes
    answer: str
    application: str | None


class NewSubmission(NamedTuple):
    """What is accepted now, to be answered the same for ever."""

    account_id: str
    submission_id: str
    content_sha256: bytes
    bet_id: str
    answer: str
    application: str


def known_submissions(
    connection: sa.Connection, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], KnownSubmission]:
    """What was submitted before under these (account, submission) ids."""
    wanted = set(keys)
    account_ids = sorted({account_id for account_id, _ in wanted})
    submission_ids = sorted({submission_id for _, submission_id in wanted})
    return {
        (row.account_id, row.submission_id): KnownSubmission(row.content_sha256, row.answer, row.application)
        for row in _SUBMISSIONS.rows(connection, account_ids, submission_ids)
    }


def write_submissions(connection: sa.Connection, new: Sequence[NewSubmission], now_us: int) -> None:
    """Write what was accepted."""
    _insert_submissions.execute(connection, [{**one._asdict(), "submitted_at_us": now_us} for one in new])


def note_changed_profiles(connection: sa.Connection, causes: dict[str, str]) -> None:
    """Ask the profile view to take these users' profiles; `causes` are what changed them."""
    rows: list[dict[str, Any]] = [
        {"user_id": user_id, "cause": cause} for user_id, cause in sorted(causes.items())
    ]
    _upsert_due.execute(connection, rows)


def account_facts(
    connection: sa.Connection, account_ids: Iterable[str], now_us: int
) -> dict[str, AccountFacts]:
    """Those of the accounts that there are, with the limits that hold now. Their states stay as they are
    until the transaction ends.
    """
    wanted = sorted(set(account_ids))
    limits = read_limits(connection, wanted, now_us)
    return {
        row.account_id: AccountFacts(
            row.account_id,
            AccountState(row.state),
            row.currency,
            *([limits[row.account_id]] if row.account_id in limits else []),
        )
        for row in _ACCOUNTS.rows(connection, wanted)
    }


def market_facts(
    connection: sa.Connection, market_ids: Iterable[str], selection_ids: Iterable[int]
) -> dict[str, MarketFacts]:
    """Those of the markets that there are, with those of the selections that they have."""
    wanted = sorted(set(market_ids))
    asked = sorted(set(selection_ids))
    known: dict[str, dict[tuple[int, Decimal], SelectionStatus]] = {market_id: {} for market_id in wanted}
    for row in _SELECTIONS.rows(connection, wanted, asked):
        known[row.market_id][row.selection_id, Decimal(row.handicap)] = SelectionStatus(row.status)
    return {
        row.market_id: MarketFacts(
            market_id=row.market_id,
            event_id=row.event_id,
            status=MarketStatus(row.status),
            event_status=EventStatus(row.event_status) if row.event_status is not None else None,
            currency=row.currency,
            number_of_winners=max(1, row.number_of_winners),
            number_of_selections=max(1, row.number_of_selections),
            selections=known[row.market_id],
        )
        for row in _MARKETS.rows(connection, wanted)
    }


def markets_of_bets(connection: sa.Connection, bet_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """The market and selection of those of the bets that there are: what never changes of them."""
    return {
        row.bet_id: (row.market_id, row.selection_id)
        for row in _MARKETS_OF_BETS.rows(connection, sorted(set(bet_ids)))
    }


_SUBMISSIONS = Lookup(
    sa.select(
        submissions.c.account_id,
        submissions.c.submission_id,
        submissions.c.content_sha256,
        submissions.c.answer,
        submissions.c.application,
    ),
    submissions.c.account_id,
    submissions.c.submission_id,
)
_ACCOUNTS = Lookup(
    sa.select(accounts.c.account_id, accounts.c.state, accounts.c.currency)
    .order_by(accounts.c.account_id)
    .with_for_update(read=True),
    accounts.c.account_id,
)
_MARKETS = Lookup(
    sa.select(
        markets.c.market_id,
        markets.c.event_id,
        markets.c.status,
        markets.c.currency,
        markets.c.number_of_winners,
        markets.c.number_of_selections,
        events.c.status.label("event_status"),
    ).select_from(markets.outerjoin(events, events.c.event_id == markets.c.event_id)),
    markets.c.market_id,
)
_SELECTIONS = Lookup(
    sa.select(selections.c.market_id, selections.c.selection_id, selections.c.handicap, selections.c.status),
    selections.c.market_id,
    selections.c.selection_id,
)
_MARKETS_OF_BETS = Lookup(sa.select(bets.c.bet_id, bets.c.market_id, bets.c.selection_id), bets.c.bet_id)
