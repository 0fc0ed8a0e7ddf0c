"""The sums kept on profiles: reading them under their lock, and adding to them. Not here: what is added
(bets.py, wallets/wallets.py).

Whoever will change a user's bets, positions or money first takes that user's profile row, in the order of the
ids, so that two writers follow each other. SQLite has one writer at a time anyway; on MySQL the row is
locked, and made first where it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from exchange_platform.stores.operational.bets.profiles import Profile
from exchange_platform.stores.operational.database import profiles
from exchange_platform.stores.operational.upsert import ByKey, Lookup, insert, upsert

_OTHERS = {"user_id", "currency", "last_bet_at_us", "updated_at_us", "last_bets"}
SUMS = tuple(name for name in Profile.__struct_fields__ if name not in _OTHERS)
"""A profile's fields that are sums: what a change adds to them is what it writes."""

_upsert_profiles = upsert(profiles, add=SUMS, newest=["last_bet_at_us", "updated_at_us"])
_insert_missing = insert(profiles, keep_known=True)
_delete_profiles = ByKey(profiles)
_HELD = Lookup(
    sa.select(
        profiles.c.user_id,
        profiles.c.currency,
        profiles.c.version,
        profiles.c.balance_minor,
        profiles.c.exposure_minor,
    )
    .order_by(profiles.c.user_id)
    .with_for_update(),
    profiles.c.user_id,
)


@dataclass(slots=True)
class Held:
    """What a user has while a transaction goes on: the stored row and what was added since."""

    currency: str | None
    """None until the first thing that is applied says which."""
    balance_minor: int = 0
    exposure_minor: int = 0

    @property
    def available_minor(self) -> int:
        """What the user may still risk or take out."""
        return self.balance_minor - self.exposure_minor


class ProfileSums:
    """The profiles that one transaction changes."""

    def __init__(self, connection: sa.Connection, currencies: Mapping[str, str]) -> None:
        """Take these users' profiles for this transaction; `currencies` are those that users without one may
        get.
        """
        self.held: dict[str, Held] = {}
        self._added: dict[str, dict[str, Any]] = {}
        self._made: list[str] = []
        users = sorted(currencies)
        self._read(connection, users)
        missing = [user_id for user_id in users if user_id not in self.held]
        if missing and connection.dialect.name != "sqlite":
            _insert_missing.execute(
                connection, [_nothing(user_id, currencies[user_id]) for user_id in missing]
            )
            # Somebody else may have made one between; such a one says something.
            used = set(self._read(connection, missing))
            self._made = missing = [user_id for user_id in missing if user_id not in used]
        for user_id in missing:
            self.held[user_id] = Held(None)

    def currency(self, user_id: str, otherwise: str) -> str:
        """The currency of the user's profile; one that has none yet gets this."""
        held = self.held[user_id]
        if held.currency is None:
            held.currency = otherwise
        return held.currency

    def added(self, user_id: str) -> dict[str, Any]:
        """What is to be added to the user's sums: add to it. Balance and exposure go through `add_money`."""
        sums = self._added.get(user_id)
        if sums is None:
            currency = self.held[user_id].currency
            assert currency is not None, "a profile gets its currency before anything else"
            sums = self._added[user_id] = _nothing(user_id, currency)
        return sums

    def add_money(self, user_id: str, balance_minor: int, exposure_minor: int) -> None:
        """Add to the user's balance and exposure."""
        sums, held = self.added(user_id), self.held[user_id]
        sums["balance_minor"] += balance_minor
        sums["exposure_minor"] += exposure_minor
        held.balance_minor += balance_minor
        held.exposure_minor += exposure_minor

    def write(self, connection: sa.Connection) -> None:
        """Write what was added. Profiles that were only made to be locked are gone again unless something
        was.
        """
        _delete_profiles.execute(connection, [{"user_id": user_id} for user_id in self._made])
        _upsert_profiles.execute(connection, [self._added[user_id] for user_id in sorted(self._added)])

    def _read(self, connection: sa.Connection, users: list[str]) -> list[str]:
        """Take the profiles that there are; returns the users who have one that says anything."""
        used: list[str] = []
        for row in _HELD.rows(connection, users):
            self.held[row.user_id] = Held(row.currency, row.balance_minor, row.exposure_minor)
            if row.version:
                used.append(row.user_id)
        return used


def _nothing(user_id: str, currency: str) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "currency": currency,
        **dict.fromkeys(SUMS, 0),
        "last_bet_at_us": None,
        "updated_at_us": 0,
    }
