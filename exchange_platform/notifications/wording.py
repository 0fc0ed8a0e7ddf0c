"""What a mail says of a change, in words and figures for its template. Pure. Not here: the templates
(mail/templates/), or reading the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exchange_platform.domain.bets import Bet, BetResult, BetStatus, Side, winnings_minor
from exchange_platform.domain.changes import ChangeKind
from exchange_platform.notifications.amounts import (
    amount,
    instant_text,
    odds_text,
    side_text,
    signed_amount,
)
from exchange_platform.notifications.changes import BetChange
from exchange_platform.notifications.reasons import in_plain_words
from exchange_platform.stores.operational.database import to_us
from exchange_platform.stores.operational.mails.contents import BalanceEntries, BetNames

_K = ChangeKind


@dataclass(frozen=True, slots=True)
class Line:
    """A label and its value; amounts stand to the right, a sum below a rule."""

    label: str
    value: str
    is_amount: bool = False
    is_gain: bool = False
    is_sum: bool = False


@dataclass(frozen=True, slots=True)
class ChangeWords:
    """One change, as the template `change` wants it. `tone`: good, bad, warn or calm."""

    name: str
    subject: str
    tag: str
    tone: str
    heading: str
    lead: str
    reason: str | None
    facts: Sequence[Line]
    amounts: Sequence[Line]
    note: str | None
    bet_id: str
    at: str


def change_words(
    changes: Sequence[BetChange], names: BetNames, entries: BalanceEntries, display_name: str
) -> ChangeWords:
    """The words of the changes that one mail tells: one, or fills of one bet that followed each other. The
    newest bet is what is reported.
    """
    change = changes[-1]
    bet = change.bet
    tag, tone, lead = _said(change, entries, fills=len(changes))
    return ChangeWords(
        name=display_name,
        subject=f"{tag}: {names.selection}, {names.event}",
        tag=tag,
        tone=tone,
        heading=f"{names.selection} · {names.event}",
        lead=lead,
        reason=in_plain_words(bet.reason) if change.kind in _WITH_REASON else None,
        facts=[
            Line("Market", names.market),
            Line("Selection", _selection(bet, names)),
            Line("Your bet", f"{side_text(bet)} at {odds_text(bet.odds)}"),
            Line("Placed", instant_text(to_us(bet.placed_at))),
        ],
        amounts=_amounts(change, entries),
        note=_note(change),
        bet_id=bet.bet_id,
        at=instant_text(change.changed_at_us),
    )


_WITH_REASON = frozenset({_K.REJECTED, _K.CANCELLED, _K.LAPSED, _K.VOIDED})


def _said(change: BetChange, entries: BalanceEntries, *, fills: int) -> tuple[str, str, str]:
    """Tag, tone and leading sentence."""
    bet = change.bet

    def money(minor: int) -> str:
        return amount(minor, bet.currency)

    match change.kind:
        case _K.ACCEPTED:
            return (
                "Bet accepted",
                "calm",
                f"Your bet of {money(bet.stake_minor)} is on the exchange and waits to be matched.",
            )
        case _K.MATCHED if bet.matched_minor == bet.stake_minor:
            return (
                "Bet matched",
                "good",
                f"All of your bet, {money(bet.matched_minor)}, is matched{_at_average(bet)}.",
            )
        case _K.MATCHED:
            times = f" ({fills} matches since the last mail)" if fills > 1 else ""
            return (
                "Bet partly matched",
                "calm",
                f"{money(bet.matched_minor)} of {money(bet.stake_minor)} is matched by now{_at_average(bet)}{times}.",
            )
        case _K.CANCELLED:
            return "Bet cancelled", "bad", _ended_lead(bet, bet.cancelled_minor, "was cancelled")
        case _K.LAPSED:
            return "Bet lapsed", "bad", _ended_lead(bet, bet.lapsed_minor, "has lapsed")
        case _K.VOIDED:
            return "Bet void", "warn", _void_lead(bet, entries)
        case _K.REJECTED:
            return (
                "Bet rejected",
                "bad",
                f"Your bet of {money(bet.stake_minor)} was not taken. It costs you nothing.",
            )
        case _K.UNSETTLED:
            return (
                "Settlement taken back",
                "warn",
                "The result of your bet is being decided again. What it had changed in your balance is taken back until then.",
            )
        case _K.SETTLED | _K.SETTLED_AGAIN:
            again = " again" if change.kind is _K.SETTLED_AGAIN else ""
            match bet.result:
                case BetResult.WON:
                    return (
                        f"Bet settled{again}: won",
                        "good",
                        f"Your bet has won: {signed_amount(bet.net_profit_minor, bet.currency)} after commission.",
                    )
                case BetResult.LOST:
                    return (
                        f"Bet settled{again}: lost",
                        "bad",
                        f"Your bet has lost: {signed_amount(bet.net_profit_minor, bet.currency)}.",
                    )
                case _:
                    return f"Bet settled{again}: void", "warn", "Your bet is void: you neither win nor lose."
    raise AssertionError(change.kind)


def _at_average(bet: Bet) -> str:
    average = bet.average_matched_odds
    return f" at {odds_text(round(average, 2))} on average" if average is not None else ""


def _ended_lead(bet: Bet, minor: int, what: str) -> str:
    part = "Your whole bet" if minor == bet.stake_minor else f"{amount(minor, bet.currency)} of your bet"
    lead = (
        f"{part}, {amount(minor, bet.currency)}, {what}." if minor == bet.stake_minor else f"{part} {what}."
    )
    if bet.matched_minor:
        lead += f" {amount(bet.matched_minor, bet.currency)} is matched and stands."
    if bet.remaining_minor:
        lead += f" {amount(bet.remaining_minor, bet.currency)} still waits to be matched."
    return lead


def _void_lead(bet: Bet, entries: BalanceEntries) -> str:
    if bet.status is BetStatus.VOIDED:
        lead = "Your bet is void: you neither win nor lose."
        if entries.before_minor:
            lead += " What it had changed in your balance is taken back."
        return lead
    return f"{amount(bet.voided_minor, bet.currency)} of your bet is void: of that part you neither win nor lose."


def _amounts(change: BetChange, entries: BalanceEntries) -> list[Line]:
    bet = change.bet
    lines = [_line("Stake", bet.stake_minor, bet)]
    for label, minor in (
        ("Matched", bet.matched_minor),
        ("Waiting to be matched", bet.remaining_minor),
        ("Cancelled", bet.cancelled_minor if change.kind is not _K.REJECTED else 0),
        ("Lapsed", bet.lapsed_minor),
        ("Void", bet.voided_minor),
    ):
        if minor and minor != bet.stake_minor:
            lines.append(_line(label, minor, bet))
    if change.kind in (_K.ACCEPTED, _K.MATCHED) or (
        change.kind in (_K.CANCELLED, _K.LAPSED, _K.VOIDED)
        and bet.status in (BetStatus.OPEN, BetStatus.MATCHED)
    ):
        lines += _prospects(bet)
    if change.kind in (_K.SETTLED, _K.SETTLED_AGAIN) and bet.result is not BetResult.VOID:
        lines += [
            Line(
                "Profit" if bet.profit_minor >= 0 else "Loss",
                signed_amount(bet.profit_minor, bet.currency),
                True,
                bet.profit_minor > 0,
            ),
            _line("Commission", -bet.commission_minor, bet),
        ]
    if change.kind is _K.SETTLED_AGAIN and entries.before_minor:
        lines.append(Line("Settled before, net", signed_amount(entries.before_minor, bet.currency), True))
    if change.kind in (_K.SETTLED, _K.SETTLED_AGAIN, _K.UNSETTLED) or entries.change_minor:
        changed = entries.change_minor
        lines.append(
            Line("Your balance changes by", signed_amount(changed, bet.currency), True, changed > 0, True)
        )
    return lines


def _prospects(bet: Bet) -> list[Line]:
    """What the matched and the waiting part together can still win and lose."""
    won = bet.matched_winnings_minor + winnings_minor(bet.remaining_minor, bet.odds)
    staked = bet.matched_minor + bet.remaining_minor
    gain, loss = (won, staked) if bet.side is Side.BACK else (staked, won)
    whole = " if all is matched" if bet.remaining_minor else ""
    return [
        Line(f"You can win{whole}", signed_amount(gain, bet.currency), True, True),
        Line(f"You can lose{whole}", signed_amount(-loss, bet.currency), True),
    ]


def _note(change: BetChange) -> str | None:
    if change.kind in (_K.SETTLED, _K.SETTLED_AGAIN) and change.bet.commission_minor:
        return "Commission is your share of what the market charges on your net winnings in it."
    if change.kind in (_K.ACCEPTED, _K.MATCHED) and change.bet.side is Side.LAY:
        return "You lay this selection: you win your stake if it does not win."
    return None


def _line(label: str, minor: int, bet: Bet) -> Line:
    return Line(label, amount(minor, bet.currency), True)


def _selection(bet: Bet, names: BetNames) -> str:
    return f"{names.selection} ({bet.handicap:+f})" if bet.handicap else names.selection
