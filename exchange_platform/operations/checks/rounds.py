"""Which share of the users, bets and hours a round of checks looks at, so that a round's cost does not grow
with what is stored.

Each round takes the next users, the next events, the next older bets and the next older hour, beside the
newest bets, the newest two hours and whatever was wrong the round before: a failure stays until it is fixed.
Not here: the checks, and who runs the rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import msgspec

from exchange_platform.operations.checks.events import some_events
from exchange_platform.operations.checks.outcomes import (
    EVERY_EVENT,
    EVERYONE,
    CheckOutcome,
    Events,
    Users,
    some_users,
)
from exchange_platform.operations.checks.spans import ALWAYS, SECOND, CheckedSpan, span_before
from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.checkpoints import StoreDamaged
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.database import Database

UPDATES_A_ROUND = 50_000
"""So many bet updates has the share of the users; one user who has more is a share alone."""

BETS_A_ROUND = 20_000
EVENTS_A_ROUND = 10_000
_NEWEST_HOURS = 2


@dataclass(frozen=True, slots=True)
class CheckScope:
    """What a check looks at."""

    users: Users = EVERYONE
    placed: tuple[CheckedSpan, ...] = (ALWAYS,)
    """When the bets were placed."""
    hours: tuple[datetime, ...] | None = None
    """None is all of them."""
    older: CheckedSpan = ALWAYS
    """The one span of bets with which the rounds go back in time."""
    older_hour: datetime | None = None
    """The hour with which they do."""
    events: Events = EVERY_EVENT
    whole_files: bool = True
    """Whether all of each store's files is read, or a share of them."""
    progress: Mapping[str, str] | None = None
    """By check, what it reached last: of those that take a share by themselves. None is all of it."""

    def reached(self, check: str) -> str | None:
        """What the check is to be given; None: it looks at everything."""
        return None if self.progress is None else self.progress.get(check, "")


EVERYTHING = CheckScope()
AT_A_GLANCE = CheckScope(whole_files=False)
"""For checks that take no share of users, bets or hours: everything, but a share of the files."""


class Rounds(msgspec.Struct, frozen=True):
    """How far the rounds have come."""

    after_user: str | None = None
    before_bets: datetime | None = None
    before_hour: datetime | None = None
    wrong_users: tuple[str, ...] = ()
    wrong_seconds: tuple[datetime, ...] = ()
    wrong_hours: tuple[datetime, ...] = ()
    after_event: str | None = None
    wrong_events: tuple[str, ...] = ()
    progress: dict[str, str] = {}
    """By check, what it reached."""

    @classmethod
    def from_text(cls, text: str | None) -> Rounds:
        """Read what `to_text` wrote; anything else starts over."""
        try:
            return _rounds.decode(text or "{}")
        except msgspec.MsgspecError:
            return cls()

    def to_text(self) -> str:
        """A short text to keep until the next round."""
        return msgspec.json.encode(self).decode()

    def scope(
        self, database: Database, lake: Lake, *, updates: int = UPDATES_A_ROUND, bets: int = BETS_A_ROUND
    ) -> CheckScope:
        """What the next round looks at. Raises `StoreUnavailable`."""
        some = some_users(database, self.after_user, updates)
        placed, older = self._placed(database, bets)
        try:
            hours, older_hour = self._hours(lake.hours())
        except StoreDamaged:  # the check of the windows will run into it, and report it
            hours, older_hour = None, None
        events = some_events(database, self.after_event, EVENTS_A_ROUND)
        return CheckScope(
            Users(some.after, some.upto, self.wrong_users),
            placed,
            hours,
            older,
            older_hour,
            Events(events.after, events.upto, self.wrong_events),
            whole_files=False,
            progress=self.progress,
        )

    def after(
        self,
        scope: CheckScope,
        users: Iterable[CheckOutcome] | None,
        bets: CheckOutcome | None,
        windows: CheckOutcome | None,
        events: CheckOutcome | None = None,
        reached: Mapping[str, CheckOutcome] = MappingProxyType({}),
    ) -> Rounds:
        """How far they have come after a round, by the outcomes of the checks of users, bets, windows and
        events, and by their names of those that take a share by themselves.

        What was not looked at (None) stays where it was: nothing that was wrong is forgotten for that.
        """
        return Rounds(
            after_user=self.after_user if users is None else scope.users.upto,
            before_bets=self.before_bets if bets is None else scope.older.since,
            before_hour=self.before_hour if windows is None else scope.older_hour,
            wrong_users=self.wrong_users
            if users is None
            else tuple(sorted({user for outcome in users for user in outcome.wrong})),
            wrong_seconds=self.wrong_seconds if bets is None else _instants(bets),
            wrong_hours=self.wrong_hours if windows is None else _instants(windows),
            after_event=self.after_event if events is None else scope.events.upto,
            wrong_events=self.wrong_events if events is None else events.wrong,
            progress=self.progress
            | {name: outcome.reached for name, outcome in reached.items() if outcome.reached is not None},
        )

    def _placed(self, database: Database, bets: int) -> tuple[tuple[CheckedSpan, ...], CheckedSpan]:
        newest = span_before(database, None, bets)
        if newest.since is None:
            return (ALWAYS,), ALWAYS
        # The rounds begin again below the newest, which are looked at each time.
        until = min(self.before_bets, newest.since) if self.before_bets is not None else newest.since
        older = span_before(database, until, bets)
        known = [CheckedSpan(at, at + SECOND) for at in self.wrong_seconds]
        return (
            newest,
            older,
            *(span for span in known if not (newest.covers(span) or older.covers(span))),
        ), older

    def _hours(self, hours: list[datetime]) -> tuple[tuple[datetime, ...] | None, datetime | None]:
        newest, older = hours[-_NEWEST_HOURS:], hours[:-_NEWEST_HOURS]
        next_hour = max(
            (hour for hour in older if self.before_hour is None or hour < self.before_hour), default=None
        )
        if next_hour is None and older:
            next_hour = older[-1]
        chosen = {*newest, *self.wrong_hours} | ({next_hour} if next_hour is not None else set())
        return None if chosen.issuperset(hours) else tuple(sorted(chosen)), next_hour


_rounds = json_decoder(Rounds)


def _instants(outcome: CheckOutcome) -> tuple[datetime, ...]:
    return tuple(datetime.fromisoformat(instant) for instant in outcome.wrong)
