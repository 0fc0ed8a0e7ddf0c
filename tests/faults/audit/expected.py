"""What every store should hold, given what the exchange published and the customers wrote down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from tests.faults.audit.customers import Customer
from tests.faults.audit.exchange import Told
from tests.faults.audit.records import Bet, Execution
from tests.faults.audit.worked_out import change, placed


@dataclass(frozen=True, slots=True)
class Change:
    """A change that a bet's owner is to be notified of."""

    kind: str
    before: str | None
    bet: Bet


@dataclass(frozen=True)
class Expected:
    """The truth of the audit."""

    told: Told
    customers: list[Customer]

    @cached_property
    def accounts(self) -> dict[str, Customer]:
        """The customers by account."""
        return {one.account_id: one for one in self.customers}

    @cached_property
    def newest(self) -> dict[str, Bet]:
        """Each bet as it should be now."""
        return self.told.newest()

    @cached_property
    def histories(self) -> dict[str, list[Bet]]:
        """Each bet's versions in order; a customer's begin with the one that the platform recorded."""
        histories: dict[str, list[Bet]] = {}
        for bet_id, versions in self.told.bets.items():
            history = [versions[version] for version in sorted(versions)]
            if history[0].user_id in self.accounts:
                history.insert(0, placed(history[0]))
            histories[bet_id] = history
        return histories

    @cached_property
    def changes(self) -> dict[tuple[str, int], Change]:
        """The changes, by bet and version."""
        changes: dict[tuple[str, int], Change] = {}
        for history in self.histories.values():
            before: Bet | None = None
            for bet in history:
                kind = change(before, bet)
                if kind is not None:
                    status = before.status if before is not None else None
                    changes[bet.bet_id, bet.version] = Change(kind, status, bet)
                before = bet
        return changes

    @cached_property
    def bets_of(self) -> dict[str, list[Bet]]:
        """The newest bets by user."""
        return _by_user(self.newest.values())

    @cached_property
    def deposits(self) -> dict[tuple[str, str], int]:
        """What was paid in, by (account, request id)."""
        return {
            (one.account_id, request_id): amount
            for one in self.customers
            for request_id, amount in one.deposits.items()
        }

    def deposited(self, user_id: str) -> int:
        """What the user paid in, in all."""
        customer = self.accounts.get(user_id)
        return sum(customer.deposits.values()) if customer is not None else 0

    @property
    def executions(self) -> dict[str, Execution]:
        """The executions by id."""
        return self.told.executions

    @cached_property
    def users(self) -> list[str]:
        """Everybody who has a bet or money."""
        return sorted({*self.bets_of, *(one.account_id for one in self.customers if one.deposits)})


def _by_user(bets: Iterable[Bet]) -> dict[str, list[Bet]]:
    by_user: dict[str, list[Bet]] = defaultdict(list)
    for bet in bets:
        by_user[bet.user_id].append(bet)
    return dict(by_user)
