"""Is the profile view what the operational database says? What the view is lives in
stores/profile_view.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from exchange_platform.operations.checks.outcomes import MAX_NAMED, CheckOutcome, listed
from exchange_platform.stores.dynamodb.profile_view import ProfileView, ProfileViewMissing
from exchange_platform.stores.operational.bets.profiles import Profile, Profiles
from exchange_platform.stores.operational.database import Database, profiles

USERS_A_ROUND = 500
_LOOKS, _PAUSE_S = 6, 1.0


def view_agrees(
    database: Database,
    view: ProfileView,
    progress: str | None = None,
    *,
    wait: Callable[[float], None],
) -> CheckOutcome:
    """Every user's item in the profile view is the user's profile.

    `progress` is what the last round `reached`: this one takes the next users in the order of their ids; None
    is everybody. The view follows the database; a user who differs is looked at again for some seconds.
    Raises `StoreUnavailable`.
    """
    looked_at = 0
    wrong: dict[str, str] = {}
    after = "" if progress is None else progress
    while True:
        users = _users(database, after)
        looked_at += len(users)
        wrong |= differing_users(database, view, users, wait=wait)
        after = users[-1] if len(users) == USERS_A_ROUND else ""
        if progress is not None or not after or len(wrong) >= MAX_NAMED:
            break
    figures: dict[str, int | float | str] = {"users": looked_at, "wrong_users": len(wrong)}
    share = "" if progress is None else " (this round's share of the users)"
    if wrong:
        named = tuple(sorted(wrong)[:MAX_NAMED])
        # The same users again, until they are right.
        return CheckOutcome(
            False, listed(wrong[user] for user in sorted(wrong)), figures, named, reached=progress
        )
    return CheckOutcome(
        True, f"{looked_at} users are in the view as in the database{share}", figures, reached=after
    )


def differing_users(
    database: Database, view: ProfileView, users: Sequence[str], *, wait: Callable[[float], None]
) -> dict[str, str]:
    """Of these users, those whose item stays another than their profile, with what differs."""
    reader = Profiles(database)
    suspects = list(users)
    wrong: dict[str, str] = {}
    for look in range(_LOOKS):
        before = {profile.user_id: profile for profile in reader.read(suspects)}
        try:
            held = view.get_many(suspects)
        except ProfileViewMissing:
            return {user: f"user {user} is not in the view: its table is gone" for user in suspects}
        after = {profile.user_id: profile for profile in reader.read(suspects)}
        wrong = {
            user: said
            for user, profile in before.items()
            if (said := _difference(profile, held.get(user), after.get(user, profile))) is not None
        }
        suspects = sorted(wrong)
        if not suspects:
            return {}
        if look + 1 < _LOOKS:
            wait(_PAUSE_S)
    return wrong


def _difference(before: Profile, held: Profile | None, after: Profile) -> str | None:
    user = before.user_id
    if held is None:
        return f"user {user} is not in the view (version {before.version} in profiles)"
    if held.version < before.version:
        return f"user {user} is at version {held.version} in the view, in profiles at {before.version}"
    if held.version > after.version:
        return f"user {user} is at version {held.version} in the view, in profiles only at {after.version}"
    if held.version == before.version == after.version and held != before:
        return f"user {user} at version {held.version} differs in the view from profiles"
    return None


def _users(database: Database, after: str) -> list[str]:
    with database.read() as connection:
        return list(
            connection.execute(
                sa.select(profiles.c.user_id)
                .where(profiles.c.user_id > after)
                .order_by(profiles.c.user_id)
                .limit(USERS_A_ROUND)
            ).scalars()
        )
