"""Profiles as readers want them: the sums kept in the operational database, with the newest bets. Not here:
how they change (bets.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from exchange_platform.stores.operational.database import Database, bets, profiles
from exchange_platform.stores.operational.tables.wallets import profile_view_due
from exchange_platform.stores.operational.upsert import ByKey, chunks

LAST_BETS = 10


class LastBet(msgspec.Struct, frozen=True):
    """One of a user's newest bets, as the profile shows it. Amounts in minor units."""

    bet_id: str
    market_id: str
    selection_id: int
    side: str
    odds: str
    stake_minor: int
    matched_minor: int
    status: str
    result: str | None
    profit_minor: int
    placed_at_us: int


class Profile(msgspec.Struct, frozen=True):
    """A user's sums and newest bets. Amounts in minor units of `currency`; `version` grows with every bet
    update or transfer.
    """

    user_id: str
    currency: str
    version: int
    balance_minor: int
    exposure_minor: int
    profit_minor: int
    commission_minor: int
    bets: int
    open_bets: int
    matched_bets: int
    settled_bets: int
    won_bets: int
    lost_bets: int
    staked_minor: int
    matched_minor: int
    last_bet_at_us: int | None
    updated_at_us: int
    deposited_minor: int = 0
    withdrawn_minor: int = 0
    last_bets: tuple[LastBet, ...] = ()


_other = bets.alias("other")
_TENTH_NEWEST = (
    sa.select(_other.c.placed_at_us)
    .where(_other.c.user_id == profiles.c.user_id)
    .order_by(_other.c.placed_at_us.desc())
    .limit(1)
    .offset(LAST_BETS - 1)
    .correlate(profiles)
    .scalar_subquery()
)
# Each user's newest bets by the index on (user_id, placed_at_us), however many bets the user has.
_LAST = (
    sa.select(bets.c.user_id, *(bets.c[name] for name in LastBet.__struct_fields__))
    .select_from(profiles.join(bets, bets.c.user_id == profiles.c.user_id))
    .where(bets.c.placed_at_us >= sa.func.coalesce(_TENTH_NEWEST, 0))
    .order_by(bets.c.user_id, bets.c.placed_at_us.desc(), bets.c.bet_id.desc())
)


_delete_due = ByKey(profile_view_due, ["user_id", "cause"])


class Profiles:
    """Reads profiles."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, user_ids: Sequence[str]) -> list[Profile]:
        """The profiles of these users, those that exist, each consistent with its bets."""
        found: list[Profile] = []
        with self._database.read() as connection:
            for some in chunks(user_ids):
                last: dict[str, list[LastBet]] = {}
                for user_id, *values in connection.execute(_LAST.where(profiles.c.user_id.in_(some))):
                    mine = last.setdefault(user_id, [])
                    if len(mine) < LAST_BETS:
                        mine.append(LastBet(*values))
                found.extend(
                    Profile(**row._mapping, last_bets=tuple(last.get(row.user_id, ())))
                    for row in connection.execute(sa.select(profiles).where(profiles.c.user_id.in_(some)))
                )
        return found

    def due(self, limit: int = 500) -> dict[str, str]:
        """Users whose profiles changed other than by the stream since the view took them, with what changed
        each last.
        """
        with self._database.read() as connection:
            rows = connection.execute(sa.select(profile_view_due).limit(limit)).all()
        return {row.user_id: row.cause for row in rows}

    def taken(self, due: Mapping[str, str]) -> None:
        """Note that the view took these profiles; what changed since by something else stays due."""
        with self._database.write() as connection:
            _delete_due.execute(
                connection,
                [{"user_id": user_id, "cause": cause} for user_id, cause in sorted(due.items())],
            )

    def pages(self, size: int = 500) -> Iterator[list[Profile]]:
        """Every profile, in pages, each read in a transaction of its own."""
        after = ""
        while True:
            with self._database.read() as connection:
                users = list(
                    connection.execute(
                        sa.select(profiles.c.user_id)
                        .where(profiles.c.user_id > after)
                        .order_by(profiles.c.user_id)
                        .limit(size)
                    ).scalars()
                )
            if not users:
                return
            yield self.read(users)
            after = users[-1]
