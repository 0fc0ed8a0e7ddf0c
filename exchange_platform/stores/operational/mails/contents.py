"""What mails of bets tell, read in bulk: their changes, the ledger's amounts, the names of events. Not here:
how that is worded (notifications/).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from exchange_platform.domain.bets import Bet
from exchange_platform.stores.operational.bets.outbox import COLUMNS, ChangeRow
from exchange_platform.stores.operational.bets.rows import decimal_text
from exchange_platform.stores.operational.database import Database, ledger, outbox
from exchange_platform.stores.operational.tables.events import events, markets, selections
from exchange_platform.stores.operational.tables.mails import mail_changes
from exchange_platform.stores.operational.upsert import chunks


@dataclass(frozen=True, slots=True)
class BalanceEntries:
    """What the ledger says of a bet's balance: at one version, and before it. In minor units, commission
    negative.
    """

    profit_minor: int = 0
    commission_minor: int = 0
    before_minor: int = 0

    @property
    def change_minor(self) -> int:
        """What the version changed the balance by."""
        return self.profit_minor + self.commission_minor


@dataclass(frozen=True, slots=True)
class BetNames:
    """What a bet is on, as people call it; ids where the names are not known."""

    event: str
    market: str
    selection: str


class MailContents:
    """Reads what mails tell."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changes(self, mail_ids: Collection[str]) -> dict[str, list[ChangeRow]]:
        """The changes that each mail tells, in their order."""
        found: dict[str, list[ChangeRow]] = {mail_id: [] for mail_id in mail_ids}
        joined = mail_changes.join(outbox, outbox.c.sequence == mail_changes.c.outbox_sequence)
        with self._database.read() as connection:
            for some in chunks(list(mail_ids)):
                statement = (
                    sa.select(mail_changes.c.mail_id, *COLUMNS)
                    .select_from(joined)
                    .where(mail_changes.c.mail_id.in_(some))
                    .order_by(mail_changes.c.outbox_sequence)
                )
                for mail_id, *values in connection.execute(statement):
                    found[mail_id].append(ChangeRow(*values))
        return found

    def balances(self, versions: Collection[tuple[str, int]]) -> dict[tuple[str, int], BalanceEntries]:
        """The ledger's balance entries of bets at versions, (bet id, version)."""
        entries: dict[str, list[tuple[int, str, int]]] = {}
        with self._database.read() as connection:
            for some in chunks(sorted({bet_id for bet_id, _ in versions})):
                statement = sa.select(
                    ledger.c.reference, ledger.c.reference_version, ledger.c.cause, ledger.c.amount_minor
                ).where(
                    ledger.c.reference.in_(some),
                    ledger.c.reference_version > 0,  # a transfer's is 0
                    ledger.c.account == "balance",
                )
                for bet_id, version, cause, amount in connection.execute(statement):
                    entries.setdefault(bet_id, []).append((version, cause, amount))
        return {(bet_id, version): _entries(entries.get(bet_id, ()), version) for bet_id, version in versions}

    def names(self, bets: Iterable[Bet]) -> dict[str, BetNames]:
        """What each bet is on, by bet id."""
        wanted = {bet.bet_id: bet for bet in bets}
        event_ids = sorted({bet.event_id for bet in wanted.values()})
        market_ids = sorted({bet.market_id for bet in wanted.values()})
        event_names: dict[str, str] = {}
        market_names: dict[str, str] = {}
        selection_names: dict[tuple[str, int, str], str] = {}
        with self._database.read() as connection:
            for some in chunks(event_ids):
                statement = sa.select(events.c.event_id, events.c.name).where(events.c.event_id.in_(some))
                event_names.update((row[0], row[1]) for row in connection.execute(statement))
            for some in chunks(market_ids):
                of_market = sa.select(markets.c.market_id, markets.c.name).where(
                    markets.c.market_id.in_(some)
                )
                market_names.update((row[0], row[1]) for row in connection.execute(of_market))
                of_selection = sa.select(
                    selections.c.market_id,
                    selections.c.selection_id,
                    selections.c.handicap,
                    selections.c.name,
                ).where(selections.c.market_id.in_(some))
                selection_names.update(
                    ((row[0], row[1], row[2]), row[3]) for row in connection.execute(of_selection)
                )
        return {
            bet_id: BetNames(
                event_names.get(bet.event_id) or f"event {bet.event_id}",
                market_names.get(bet.market_id) or f"market {bet.market_id}",
                selection_names.get((bet.market_id, bet.selection_id, decimal_text(bet.handicap)))
                or selection_names.get((bet.market_id, bet.selection_id, "0"))
                or f"selection {bet.selection_id}",
            )
            for bet_id, bet in wanted.items()
        }


def _entries(entries: Iterable[tuple[int, str, int]], version: int) -> BalanceEntries:
    profit = commission = before = 0
    for of_version, cause, amount in entries:
        if of_version < version:
            before += amount
        elif of_version == version and cause == "commission":
            commission += amount
        elif of_version == version:
            profit += amount
    return BalanceEntries(profit, commission, before)
