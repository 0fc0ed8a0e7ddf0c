"""What a digest says: each bet that changed, as it stands, and what all of it did to the balance. Pure. Not
here: single changes (wording.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exchange_platform.notifications.amounts import instant_text, odds_text, side_text, signed_amount
from exchange_platform.notifications.changes import BetChange
from exchange_platform.notifications.wording import Line, change_words
from exchange_platform.stores.operational.mails.contents import BalanceEntries, BetNames

MAX_BETS = 100


@dataclass(frozen=True, slots=True)
class DigestBet:
    """One bet of a digest."""

    tag: str
    tone: str
    heading: str
    line: str
    amount: str | None
    is_gain: bool


@dataclass(frozen=True, slots=True)
class DigestWords:
    """A digest, as the template `digest` wants it."""

    name: str
    subject: str
    heading: str
    lead: str
    amounts: Sequence[Line]
    bets: Sequence[DigestBet]
    more: str | None


def digest_words(
    changes: Sequence[BetChange],
    names: Mapping[str, BetNames],
    entries: Mapping[tuple[str, int], BalanceEntries],
    display_name: str,
) -> DigestWords:
    """The words of a digest of changes, which come in the outbox's order. At most `MAX_BETS` bets are listed;
    the sums are of all.
    """
    newest: dict[str, BetChange] = {}
    of_bet: dict[str, int] = {}
    of_currency: dict[str, int] = {}
    for change in changes:
        bet = change.bet
        newest.pop(bet.bet_id, None)
        newest[bet.bet_id] = change
        moved = entries[bet.bet_id, bet.version].change_minor
        of_bet[bet.bet_id] = of_bet.get(bet.bet_id, 0) + moved
        of_currency[bet.currency] = of_currency.get(bet.currency, 0) + moved
    count = len(newest)
    latest = list(newest.values())[::-1]
    bets = "1 bet" if count == 1 else f"{count:,} bets"
    times = "1 change" if len(changes) == 1 else f"{len(changes):,} changes"
    return DigestWords(
        name=display_name,
        subject=f"Your bets: {times} of {bets}",
        heading=f"{times[0].upper()}{times[1:]} of {bets}",
        lead=f"From {instant_text(changes[0].changed_at_us)} to {instant_text(changes[-1].changed_at_us)}.",
        amounts=[
            Line("Your balance changed by", signed_amount(moved, currency), True, moved > 0, True)
            for currency, moved in of_currency.items()
        ],
        bets=[
            _bet(change, names[change.bet.bet_id], of_bet[change.bet.bet_id]) for change in latest[:MAX_BETS]
        ],
        more=f"... and {count - MAX_BETS:,} bets more that changed earlier." if count > MAX_BETS else None,
    )


def _bet(change: BetChange, names: BetNames, moved_minor: int) -> DigestBet:
    bet = change.bet
    words = change_words([change], names, BalanceEntries(), "")
    return DigestBet(
        tag=words.tag,
        tone=words.tone,
        heading=words.heading,
        line=f"{names.market}: {side_text(bet).lower()} at {odds_text(bet.odds)}. {words.lead}",
        amount=signed_amount(moved_minor, bet.currency) if moved_minor else None,
        is_gain=moved_minor > 0,
    )
