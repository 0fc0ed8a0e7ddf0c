"""Changes of bets as they are reported, and which of them an owner gets a mail of. Pure; no I/O, no clock.

Not here: what a change is (domain/changes.py), when a mail leaves (planning.py), or what it says
(wording.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import msgspec

from exchange_platform.domain.accounts import MailChoice
from exchange_platform.domain.bets import Bet, BetResult, BetStatus
from exchange_platform.domain.changes import ChangeKind
from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.operational.bets.outbox import ChangeRow


class Telling(Enum):
    """How an owner is told of a change."""

    AT_ONCE = "at once"
    IN_DIGEST = "in the next digest"
    NOT = "not by mail"


_SETTLEMENTS = frozenset({ChangeKind.SETTLED, ChangeKind.SETTLED_AGAIN, ChangeKind.UNSETTLED})
_decoder: msgspec.json.Decoder[Bet] = json_decoder(Bet)


@dataclass(frozen=True, slots=True)
class BetChange:
    """One change of a bet, with the bet as it was then. `sequence` is its place in the outbox."""

    sequence: int
    kind: ChangeKind
    bet: Bet
    status_before: BetStatus | None
    changed_at_us: int

    @property
    def is_fill(self) -> bool:
        """Whether more of the bet was matched."""
        return self.kind is ChangeKind.MATCHED

    @property
    def completes(self) -> bool:
        """Whether nothing more of the bet can be matched."""
        return self.bet.remaining_minor == 0

    @property
    def must_be_told(self) -> bool:
        """Whether its owner is mailed whatever they chose: money that was counted on is counted again."""
        return (
            self.kind in (ChangeKind.VOIDED, ChangeKind.UNSETTLED, ChangeKind.SETTLED_AGAIN)
            or self.bet.result is BetResult.VOID
        )


def read(row: ChangeRow) -> BetChange:
    """The outbox row as a change. Raises `msgspec.MsgspecError` for a row that this version can't read."""
    before = BetStatus(row.status_before) if row.status_before is not None else None
    again = row.change == ChangeKind.SETTLED and before in (BetStatus.SETTLED, BetStatus.UNSETTLED)
    return BetChange(
        row.sequence,
        ChangeKind.SETTLED_AGAIN if again else ChangeKind(row.change),
        _decoder.decode(row.bet),
        before,
        row.changed_at_us,
    )


def telling(change: BetChange, choice: MailChoice) -> Telling:
    """How an owner who chose so is notified of the change."""
    if change.must_be_told or choice is MailChoice.ALL:
        return Telling.AT_ONCE
    if choice is MailChoice.DIGEST:
        return Telling.IN_DIGEST
    if choice is MailChoice.SETTLEMENTS and change.kind in _SETTLEMENTS:
        return Telling.AT_ONCE
    return Telling.NOT
