"""Limits that a customer sets for themself: what holds when. Pure; no I/O, no clock. Not here: what is stored
(accounts/limit_changes.py).

Lowering a limit holds at once. Raising or removing one holds after a day, and a lower one asked for meanwhile
calls it off. A break from betting can be made longer, never shorter.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

DAY_US = 86_400_000_000
WAIT_US = DAY_US
"""How long a raise or removal waits."""
LONGEST_BREAK_US = 5 * 366 * DAY_US


class LimitKind(StrEnum):
    """What can be limited. The deposit windows roll: they end now."""

    DEPOSIT_24H = "deposit_24h"
    DEPOSIT_7D = "deposit_7d"
    DEPOSIT_30D = "deposit_30d"
    STAKE = "stake"
    """The largest stake of one bet."""
    BREAK = "break"
    """No bets until an instant."""


DEPOSIT_WINDOWS_US = {
    LimitKind.DEPOSIT_24H: DAY_US,
    LimitKind.DEPOSIT_7D: 7 * DAY_US,
    LimitKind.DEPOSIT_30D: 30 * DAY_US,
}
AMOUNTS = (*DEPOSIT_WINDOWS_US, LimitKind.STAKE)
"""The kinds whose value is an amount in minor units; a break's is an instant in microseconds."""


class LimitChange(msgspec.Struct, frozen=True):
    """One change that was asked for. `value` None takes the limit away."""

    kind: LimitKind
    value: int | None
    requested_at_us: int
    effective_at_us: int


class BettingLimit(msgspec.Struct, frozen=True):
    """What holds of one kind, and what will: `value` None is no limit; `changes_at_us` None is no change to
    come.
    """

    kind: LimitKind
    value: int | None = None
    next_value: int | None = None
    changes_at_us: int | None = None


class Limits(msgspec.Struct, frozen=True):
    """Every limit of an account at an instant, one a kind."""

    limits: dict[LimitKind, BettingLimit] = {}

    def value(self, kind: LimitKind) -> int | None:
        """What holds now; None where nothing does."""
        limit = self.limits.get(kind)
        return None if limit is None else limit.value

    def break_until_us(self, now_us: int) -> int | None:
        """When the break ends that the account is in; None where it is in none."""
        until_us = self.value(LimitKind.BREAK)
        return until_us if until_us is not None and until_us > now_us else None


NO_LIMITS = Limits()


def limits_at(changes: Iterable[LimitChange], now_us: int) -> Limits:
    """What holds at an instant, from every change in the order in which they were asked for."""
    found: dict[LimitKind, BettingLimit] = {}
    for change in changes:
        before = _arrived(found.get(change.kind, BettingLimit(change.kind)), change.requested_at_us)
        found[change.kind] = (
            BettingLimit(change.kind, change.value)
            if change.effective_at_us <= change.requested_at_us
            else BettingLimit(change.kind, before.value, change.value, change.effective_at_us)
        )
    return Limits({kind: _arrived(limit, now_us) for kind, limit in found.items()})


def change_of(limit: BettingLimit, value: int | None, now_us: int) -> LimitChange:
    """The change that sets `limit`, as it holds now, to `value`: at once if that is no higher, else after a
    day.
    """
    current = limit.value
    if limit.kind is LimitKind.BREAK:
        at_once = True  # whoever asks has seen to it that it is no shorter
    elif value is None:
        at_once = current is None
    else:
        at_once = current is None or value <= current
    return LimitChange(limit.kind, value, now_us, now_us if at_once else now_us + WAIT_US)


def _arrived(limit: BettingLimit, now_us: int) -> BettingLimit:
    if limit.changes_at_us is not None and limit.changes_at_us <= now_us:
        return BettingLimit(limit.kind, limit.next_value)
    return limit
