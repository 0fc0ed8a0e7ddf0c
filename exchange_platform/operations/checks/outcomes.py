"""What a check says, and of whom it is asked. Not here: the checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from exchange_platform.stores.operational.database import Database, profiles

MAX_NAMED = 10
"""So many of what is wrong are named; the rest is found when these are fixed."""

AT_ONCE = 300_000
"""Rows that one statement looks at, so that none holds a state of the database for minutes."""

_MAX_USERS = 50_000


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """Whether a check passed, in words and in figures."""

    passed: bool
    description: str
    figures: Mapping[str, int | float | str] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    """The first users (seconds, hours) that are wrong: to be looked at again until they are right."""
    compared: bool = True
    """False when the stores could not be compared now; `passed` is False then, and nothing is known to be
    wrong.
    """
    looked: bool = True
    """False when what the check reads is damaged: it failed for that, and what it looked for before is not
    forgotten.
    """
    applies: bool = True
    """False where there is nothing to compare with, now or later: `compared` is False then, and no verdict is
    expected.
    """
    reached: str | None = None
    """How far a check has come that takes a share each round by itself: what it is to be given next time."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Which to look at: those whose ids come after one, up to another (None: no bound), and some by their
    ids.
    """

    after: str | None = None
    upto: str | None = None
    named: tuple[str, ...] = ()

    @property
    def everyone(self) -> bool:
        """Whether none is left out."""
        return self.after is None and self.upto is None

    def where(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        """The condition on a column of ids."""
        bounds: list[sa.ColumnElement[bool]] = []
        if self.after is not None:
            bounds.append(column > self.after)
        if self.upto is not None:
            bounds.append(column <= self.upto)
        if not bounds:
            return sa.true()
        return sa.or_(sa.and_(*bounds), column.in_(self.named)) if self.named else sa.and_(*bounds)


@dataclass(frozen=True, slots=True)
class Users(Portion):
    """Whom to look at, by user ids."""

    @property
    def share(self) -> str:
        """What to add to a sentence about them."""
        return "" if self.everyone else " (this round's share of the users)"


@dataclass(frozen=True, slots=True)
class Events(Portion):
    """Which events to look at, by their ids."""

    @property
    def share(self) -> str:
        """What to add to a sentence about them."""
        return "" if self.everyone else " (this round's share of the events)"


EVERYONE = Users()
EVERY_EVENT = Events()


def some_users(database: Database, after: str | None, updates: int) -> Users:
    """The next users in order, as many as have about so many bet updates; `upto` is None when they include
    the last one.

    What a check looks at of a user grows with the updates; so a share costs the same whether few users bet
    much or many little.
    """
    statement = sa.select(profiles.c.user_id, profiles.c.version).order_by(profiles.c.user_id)
    if after is not None:
        statement = statement.where(profiles.c.user_id > after)
    seen = 0
    with database.read() as connection:
        users = connection.execute(statement.limit(_MAX_USERS)).all()
    for place, (user_id, version) in enumerate(users):
        seen += version
        if seen >= updates and place + 1 < len(users):
            return Users(after, user_id)
    return Users(after, users[-1].user_id if len(users) == _MAX_USERS else None)


def parts(database: Database, users: Users) -> Iterator[Users]:
    """The users, in portions that a statement can take."""
    if not users.everyone:
        yield users
        return
    part = some_users(database, None, AT_ONCE)
    yield part
    while part.upto is not None:
        part = some_users(database, part.upto, AT_ONCE)
        yield part


def listed(reasons: Iterable[str]) -> str:
    """The first reasons in one line, and how many there are besides."""
    every = list(reasons)
    return "; ".join(every[:3]) + (f"; and {len(every) - 3} more" if len(every) > 3 else "")
