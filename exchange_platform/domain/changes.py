"""What the owner of a bet is notified of: the kinds of change, and the rule by which an update is one. Pure;
no I/O, no clock.

Not here: which changes are mailed (notifications/changes.py), what is said of them
(notifications/wording.py).
"""

from __future__ import annotations

from enum import StrEnum

from exchange_platform.domain.bets import Bet, BetStatus


class ChangeKind(StrEnum):
    """What happened to a bet, as its owner is notified of it."""

    ACCEPTED = "accepted"
    """The exchange has it, or has it again: it can be matched."""
    MATCHED = "matched"
    """More of it was matched."""
    CANCELLED = "cancelled"
    """Its owner took back what was not matched."""
    LAPSED = "lapsed"
    """What was not matched ended with the market, or when it went in play."""
    VOIDED = "voided"
    """All of it, or a part, counts as never placed."""
    REJECTED = "rejected"
    """The exchange did not take it."""
    SETTLED = "settled"
    """It was won, lost or void."""
    UNSETTLED = "unsettled"
    """Its result was taken back."""
    SETTLED_AGAIN = "settled_again"
    """Settled when it had been before; kept in the outbox as `settled`."""


_NAMED = {
    BetStatus.REJECTED: ChangeKind.REJECTED,
    BetStatus.CANCELLED: ChangeKind.CANCELLED,
    BetStatus.LAPSED: ChangeKind.LAPSED,
    BetStatus.VOIDED: ChangeKind.VOIDED,
    BetStatus.UNSETTLED: ChangeKind.UNSETTLED,
}


def change_of(before: Bet | None, after: Bet) -> ChangeKind | None:
    """What the owner is notified of; None where nothing that concerns the owner changed."""
    status = after.status
    was = before.status if before is not None else None
    if status is BetStatus.SETTLED and (was is not BetStatus.SETTLED or before is None):
        return ChangeKind.SETTLED
    if status is BetStatus.SETTLED:
        assert before is not None
        differs = (before.result, before.profit_minor, before.commission_minor) != (
            after.result,
            after.profit_minor,
            after.commission_minor,
        )
        return ChangeKind.SETTLED if differs else None
    if status is not was:
        named = _NAMED.get(status)
        if named is not None:
            return named
    matched_before = before.matched_minor if before is not None else 0
    if after.matched_minor > matched_before:
        return ChangeKind.MATCHED
    if before is None:
        return None if status is BetStatus.PENDING else ChangeKind.ACCEPTED
    if was is BetStatus.PENDING and status is BetStatus.OPEN:
        return ChangeKind.ACCEPTED
    for kind, amount_before, amount_after in (
        (ChangeKind.VOIDED, before.voided_minor, after.voided_minor),
        (ChangeKind.LAPSED, before.lapsed_minor, after.lapsed_minor),
        (ChangeKind.CANCELLED, before.cancelled_minor, after.cancelled_minor),
    ):
        if amount_after > amount_before:
            return kind
    return None
