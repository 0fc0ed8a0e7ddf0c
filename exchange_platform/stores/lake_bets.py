"""The bets' newest versions as the lake holds them, to compare with the operational database. SQL only; who asks is lake.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class BetState(NamedTuple):
    """A bet's newest version in a store, and what a wrong row would most likely get wrong."""

    user_id: str
    version: int
    status: str
    matched_minor: int
    remaining_minor: int
    profit_minor: int


class BetSums(NamedTuple):
    """A user's bets, newest versions, in one line: equal in two stores when they hold the same."""

    bets: int
    versions: int
    matched_minor: int
    remaining_minor: int
    profit_minor: int


_NEWEST = """
    SELECT user_id, bet_id, max(version) AS version, arg_max(status, version) AS status,
           arg_max(matched_minor, version) AS matched_minor, arg_max(remaining_minor, version) AS remaining_minor,
           arg_max(profit_minor, version) AS profit_minor
    FROM bet_history WHERE {where} GROUP BY user_id, bet_id
"""


def sums(after: str | None, upto: str | None, named: Sequence[str]) -> tuple[str, list[Any]]:
    """SQL and parameters: per user after one and up to another (None: no bound), and per user named, the sums."""
    bounds, parameters = [], []
    for comparison, bound in ((">", after), ("<=", upto)):
        if bound is not None:
            bounds.append(f"user_id {comparison} ?")
            parameters.append(bound)
    where = " AND ".join(bounds) or "true"
    if named and bounds:
        where = f"({where}) OR user_id IN (SELECT unnest(?))"
        parameters.append(list(named))
    return (
        "SELECT user_id, count(*), sum(version)::BIGINT, sum(matched_minor)::BIGINT, sum(remaining_minor)::BIGINT,"
        f" sum(profit_minor)::BIGINT FROM ({_NEWEST.format(where=where)}) GROUP BY user_id",
        parameters,
    )


def newest(users: Sequence[str]) -> tuple[str, list[Any]]:
    """SQL and parameters: every bet of these users, its newest version."""
    return (
        "SELECT bet_id, user_id, version, status, matched_minor, remaining_minor, profit_minor"
        f" FROM ({_NEWEST.format(where='user_id IN (SELECT unnest(?))')})",
        [list(users)],
    )
