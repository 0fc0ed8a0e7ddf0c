"""A digest of a bet's state at a version, by which two stores see that they hold the same. Pure."""

from __future__ import annotations

import hashlib

DIGESTED = (
    "bet_id",
    "version",
    "status",
    "result",
    "matched_minor",
    "remaining_minor",
    "lapsed_minor",
    "cancelled_minor",
    "voided_minor",
    "matched_winnings_minor",
    "profit_minor",
    "commission_minor",
)
"""The fields of a bet update that the digest covers, in its order."""


def bet_digest(*values: object) -> str:
    """The first 16 hexadecimal digits of the MD5 of the fields' values, in the order of `DIGESTED`, joined by
    `|`.

    Numbers in decimal, no result as nothing: `bet-1|4|SETTLED|won|500|0|0|0|0|750|750|37`.
    """
    text = "|".join(["" if value is None else str(value) for value in values])
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:16]
