"""Replacements on their way: why a bet and the one that is to replace it do not count twice. Not here: asking
for one (submission/service.py).

Until the exchange answers, the old bet's rest and the new bet both stand, but at most one of them will. The
user's position gets a credit for the other, so that together they count as the worse of the two, whichever of
the two bets' updates arrives first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from exchange_platform.domain.bets import FLAT, LIVE, Bet, BetStatus, Position, Side, lay_liability_minor
from exchange_platform.stores.operational.tables.wallets import replacements
from exchange_platform.stores.operational.upsert import ByKey, Lookup, upsert

_upsert = upsert(replacements, replace=["credit_wins_minor", "credit_loses_minor"])
_delete = ByKey(replacements)
_OF_USERS = Lookup(sa.select(replacements), replacements.c.user_id)


@dataclass(slots=True)
class Replacement:
    """One that the exchange has not answered. `credit` is what the user's position holds for it."""

    bet_id: str
    new_bet_id: str
    user_id: str
    cancelled_minor: int
    """Of the old bet's stake, when the replacement was asked for."""
    credit: Position = FLAT

    def credit_of(self, old: Bet, new: Bet) -> Position:
        """What is counted twice as the two bets are now; nothing once the new one is answered.

        Of the old bet's rest, what was since matched, lapsed or voided can't go over to the new bet; what was
        cancelled since may have.
        """
        if new.status is not BetStatus.PENDING:
            return FLAT
        rest = old.remaining_minor if old.status in LIVE else 0
        at_most = min(new.remaining_minor, rest + max(0, old.cancelled_minor - self.cancelled_minor))
        if new.side is Side.BACK:
            return Position(0, rest + new.remaining_minor - max(rest, at_most))
        old_pays, new_pays = (
            lay_liability_minor(rest, old.odds),
            lay_liability_minor(new.remaining_minor, new.odds),
        )
        return Position(old_pays + new_pays - max(old_pays, lay_liability_minor(at_most, new.odds)), 0)


class Replacements:
    """The replacements of some users, for one transaction that holds their profiles."""

    def __init__(self, connection: sa.Connection, users: Sequence[str]) -> None:
        self._by_bet: dict[str, Replacement] = {}
        self._changed: dict[str, Replacement] = {}
        self._answered: set[str] = set()
        if connection.exec_driver_sql(f"SELECT 1 FROM {replacements.name} LIMIT 1").first() is None:
            return  # as nearly always
        for row in _OF_USERS.rows(connection, users):
            self._add(
                Replacement(
                    row.bet_id,
                    row.new_bet_id,
                    row.user_id,
                    row.cancelled_minor,
                    Position(row.credit_wins_minor, row.credit_loses_minor),
                )
            )

    def __bool__(self) -> bool:
        return bool(self._by_bet)

    @property
    def bet_ids(self) -> Sequence[str]:
        """Both bets of each."""
        return list(self._by_bet)

    def of(self, bet_id: str) -> Replacement | None:
        """The replacement in which a bet is the old or the new one."""
        return self._by_bet.get(bet_id)

    def begin(self, old: Bet, new: Bet) -> None:
        """Note that `new` is asked for in place of `old`."""
        self._add(_between(old, new))

    @staticmethod
    def credit_at_first(old: Bet, new: Bet) -> Position:
        """The credit that `new` would begin with if it were asked for in place of `old` now."""
        return _between(old, new).credit_of(old, new)

    def credit(self, replacement: Replacement, old: Bet, new: Bet) -> Position:
        """Set the credit to what it is for the two bets as they are now; returns the change."""
        before, after = replacement.credit, replacement.credit_of(old, new)
        replacement.credit = after
        self._changed[replacement.new_bet_id] = replacement
        if new.status is not BetStatus.PENDING:
            self._answered.add(replacement.new_bet_id)
            self._by_bet.pop(replacement.bet_id, None)
            self._by_bet.pop(replacement.new_bet_id, None)
        return after - before

    def write(self, connection: sa.Connection) -> None:
        """Write what changed; forget those that were answered."""
        rows: list[dict[str, Any]] = [
            {
                "new_bet_id": one.new_bet_id,
                "bet_id": one.bet_id,
                "user_id": one.user_id,
                "cancelled_minor": one.cancelled_minor,
                "credit_wins_minor": one.credit.if_wins_minor,
                "credit_loses_minor": one.credit.if_loses_minor,
            }
            for one in self._changed.values()
            if one.new_bet_id not in self._answered
        ]
        _upsert.execute(connection, rows)
        _delete.execute(connection, [{"new_bet_id": bet_id} for bet_id in sorted(self._answered)])

    def _add(self, replacement: Replacement) -> None:
        self._by_bet[replacement.bet_id] = replacement
        self._by_bet[replacement.new_bet_id] = replacement


def _between(old: Bet, new: Bet) -> Replacement:
    return Replacement(old.bet_id, new.bet_id, old.user_id, old.cancelled_minor)
