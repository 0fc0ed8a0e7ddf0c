"""Which share of the users and hours a round of checks looks at, so that a round's cost does not grow with what is stored.

Each round takes the next users and the next older hour, beside the newest two hours and whatever was wrong the round before: a
failure stays until it is mended. Not here: the checks, and who runs the rounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from exchange_platform.checks.outcomes import EVERYONE, CheckOutcome, Users, some_users
from exchange_platform.stores.database import Database
from exchange_platform.stores.lake import Lake

USERS_A_ROUND = 2_000
_NEWEST_HOURS = 2


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check looks at."""

    users: Users = EVERYONE
    hours: tuple[datetime, ...] | None = None
    """None is all of them."""
    older_hour: datetime | None = None
    """The one of them with which the rounds go back in time."""


EVERYTHING = Scope()


class Rounds(msgspec.Struct, frozen=True):
    """How far the rounds have come."""

    after_user: str | None = None
    before_hour: datetime | None = None
    wrong_users: tuple[str, ...] = ()
    wrong_hours: tuple[datetime, ...] = ()

    @classmethod
    def from_text(cls, text: str | None) -> Rounds:
        """Read what `to_text` wrote; anything else begins anew."""
        try:
            return msgspec.json.decode(text or "{}", type=cls)
        except msgspec.MsgspecError:
            return cls()

    def to_text(self) -> str:
        """A short text to keep until the next round."""
        return msgspec.json.encode(self).decode()

    def scope(self, database: Database, lake: Lake, *, users: int = USERS_A_ROUND) -> Scope:
        """What the next round looks at. Raises `StoreUnavailable`."""
        some = some_users(database, self.after_user, users)
        hours = lake.hours()
        newest, older = hours[-_NEWEST_HOURS:], hours[:-_NEWEST_HOURS]
        next_hour = max(
            (hour for hour in older if self.before_hour is None or hour < self.before_hour), default=None
        )
        if next_hour is None and older:
            next_hour = older[-1]
        chosen = {*newest, *self.wrong_hours} | ({next_hour} if next_hour is not None else set())
        return Scope(
            Users(some.after, some.upto, self.wrong_users),
            None if chosen.issuperset(hours) else tuple(sorted(chosen)),
            next_hour,
        )

    def after(self, scope: Scope, users: Iterable[CheckOutcome], windows: CheckOutcome | None) -> Rounds:
        """How far they have come after a round, by the outcomes of the checks of users, and of windows if it was made."""
        wrong = sorted({user for outcome in users for user in outcome.wrong})
        return Rounds(
            after_user=scope.users.upto,
            before_hour=scope.older_hour,
            wrong_users=tuple(wrong),
            wrong_hours=self.wrong_hours
            if windows is None
            else tuple(datetime.fromisoformat(hour) for hour in windows.wrong),
        )
