"""Which accounts an application registered: what one process remembers of it. That never changes, so what was
found is not asked for again.
"""

from __future__ import annotations

from collections import OrderedDict

from exchange_platform.stores.operational.accounts.accounts import Accounts

MAX_REMEMBERED = 10_000


class Registrations:
    """Thread-safe, since each step on the dictionary is. Raises `StoreUnavailable`."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._known: OrderedDict[str, str] = OrderedDict()

    def are_of(self, application: str, account_id: str) -> bool:
        """Whether the application registered the account."""
        if self._known.get(account_id) == application:
            return True
        # Another's account and one that does not exist are asked for each time: else the second answer's
        # time, or its error while the database is away, shows which it is.
        if self._accounts.registered_by(account_id) != application:
            return False
        self._known[account_id] = application
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return True
