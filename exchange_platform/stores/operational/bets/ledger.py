"""The books: what each change of a customer's money enters, and the exchange's side of it. Not here: the sums
on profiles (profile_sums.py).

Each entry that changes a balance has a counter-entry of the house, so that customers' balances and the
house's add up to 0 in each currency after every transaction: `cash` holds what came in and went out,
`clearing` what a market's winners are owed by its losers (0 once the market is settled), `commission` what
the exchange earned. The house's side is kept as sums, a row a market.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import sqlalchemy as sa

from exchange_platform.stores.operational.database import ledger
from exchange_platform.stores.operational.tables.wallets import house_balances
from exchange_platform.stores.operational.upsert import insert, upsert

CASH, CLEARING, COMMISSION = "cash", "clearing", "commission"
"""The house's accounts."""

_insert_ledger = insert(ledger)
_add_house = upsert(house_balances, add=["amount_minor"])


class Reference(NamedTuple):
    """What entries are made for: a bet's version or a transfer."""

    reference: str
    reference_version: int
    user_id: str
    market_id: str
    currency: str
    entered_at_us: int
    application: str | None = None
    """Who asked for it; None: the exchange."""


class Books:
    """The entries of one transaction."""

    def __init__(self) -> None:
        self._entries: list[tuple[Any, ...]] = []
        self._house: defaultdict[tuple[str, str, str], int] = defaultdict(int)

    def post_balance(self, amount_minor: int, cause: str, house: str, reference: Reference) -> None:
        """Post a change of a customer's balance, and the opposite for the house's account. Nothing for an
        amount of 0.
        """
        if amount_minor:
            self._post("balance", amount_minor, cause, reference)
            self._house[house, reference.market_id, reference.currency] -= amount_minor

    def post_exposure(self, amount_minor: int, cause: str, reference: Reference) -> None:
        """Post a change of a customer's exposure: money set aside, which nobody else gets. Nothing for an
        amount of 0.
        """
        if amount_minor:
            self._post("exposure", amount_minor, cause, reference)

    def write(self, connection: sa.Connection) -> None:
        """Write the entries; the house's rows in one order, so that writers do not lock each other out."""
        _insert_ledger.execute_in_order(connection, self._entries)
        _add_house.execute(
            connection,
            [
                {"account": account, "market_id": market_id, "currency": currency, "amount_minor": amount}
                for (account, market_id, currency), amount in sorted(self._house.items())
                if amount
            ],
        )

    def _post(self, account: str, amount_minor: int, cause: str, reference: Reference) -> None:
        name, version, user_id, market_id, currency, entered_at_us, application = reference
        self._entries.append(
            (
                name,
                version,
                account,
                cause,
                user_id,
                market_id,
                currency,
                amount_minor,
                entered_at_us,
                application,
            )
        )
