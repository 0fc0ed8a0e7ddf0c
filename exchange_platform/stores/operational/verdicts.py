"""What becomes of a versioned update that a store is given. Not here: deciding it (bets/bets.py,
events/events.py).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the update changed anything. One with a reason is dead: it contradicts what is known."""

    applied: bool
    reason: str | None = None


APPLIED = Verdict(True)
REPEATED = Verdict(False)
"""It is not newer than what is known."""
