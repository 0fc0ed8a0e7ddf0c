"""Which accounts an application registered: what one process remembers of it. That never changes, so only what was not found is asked for again."""

from __future__ import annotations

from collections import OrderedDict

from exchange_platform.stores.accounts import Accounts

MAX_REMEMBERED = 10_000


class Registrations:
    """Thread-safe, since each step on the dictionary is. Raises `StoreUnavailable`."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._known: OrderedDict[str, str] = OrderedDict()

    def are_of(self, application: str, account_id: str) -> bool:
        """Whether the application registered the account."""
        registered_by = self._known.get(account_id)
        if registered_by is None:
            registered_by = self._accounts.registered_by(account_id)
            if registered_by is None:
                return False
            self._known[account_id] = registered_by
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return registered_by == application
