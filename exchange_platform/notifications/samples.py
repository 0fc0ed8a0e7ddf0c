"""One mail of every kind, of made-up bets and of owners with hostile names, to be looked at. Not here: where
they are written (cli/mail.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from exchange_platform.domain.accounts import AccountState, MailChoice
from exchange_platform.domain.bets import Bet, BetResult, BetStatus, Side, winnings_minor
from exchange_platform.domain.changes import ChangeKind
from exchange_platform.mail.message import OutgoingMail
from exchange_platform.mail.rendering import render
from exchange_platform.notifications.changes import BetChange
from exchange_platform.notifications.mailing import change_mail
from exchange_platform.notifications.planning import DIGEST
from exchange_platform.stores.operational.accounts.accounts import Account
from exchange_platform.stores.operational.database import to_us
from exchange_platform.stores.operational.mails.contents import BalanceEntries, BetNames
from exchange_platform.stores.operational.mails.mails import WaitingMail

_NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
_URL = "https://exchange.example/unsubscribe?token=a-customer.signature"
_HOSTILE = '<script>alert("1")</script> & "Bobby" \'; DROP TABLE'
_PLAIN = BetNames("Arsenal v Chelsea", "Match odds", "Arsenal")
_LONG = BetNames(
    "Borussia Mönchengladbach v Wolverhampton Wanderers (Women, Under 23, Friendly at a Neutral Ground)",
    "Correct score at half time",
    "Any other home win <b>by more than three goals</b>",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A mail, and the name of its file."""

    name: str
    mail: OutgoingMail


def samples() -> Iterator[Sample]:
    """Every kind of mail that the platform sends."""
    back, lay = _bet(), _bet(bet_id="s-104", side=Side.LAY, odds=Decimal("3.45"))
    matched = _later(back, BetStatus.MATCHED, matched_minor=2500, remaining_minor=0, **_won(2500, back))
    part = _later(back, BetStatus.OPEN, matched_minor=1000, remaining_minor=1500, **_won(1000, back))
    won = _settled(matched, BetResult.WON)
    lost = _settled(matched, BetResult.LOST)
    yield _sample("accepted", _change(ChangeKind.ACCEPTED, back))
    yield _sample("accepted-lay", _change(ChangeKind.ACCEPTED, lay), names=_LONG, owner=_HOSTILE)
    yield _sample("partly-matched", _change(ChangeKind.MATCHED, part), _change(ChangeKind.MATCHED, part))
    yield _sample("matched", _change(ChangeKind.MATCHED, matched))
    rest = _later(part, BetStatus.MATCHED, remaining_minor=0, cancelled_minor=1500)
    yield _sample("cancelled", _change(ChangeKind.CANCELLED, rest))
    lapsed = _later(
        back, BetStatus.LAPSED, remaining_minor=0, lapsed_minor=2500, reason="market turned in play"
    )
    yield _sample("lapsed", _change(ChangeKind.LAPSED, lapsed))
    void = _later(back, BetStatus.VOIDED, remaining_minor=0, voided_minor=2500, reason="market void")
    yield _sample("void", _change(ChangeKind.VOIDED, void))
    rejected = _later(
        back, BetStatus.REJECTED, remaining_minor=0, cancelled_minor=2500, reason="market suspended: 1.204"
    )
    yield _sample("rejected", _change(ChangeKind.REJECTED, rejected), owner=_HOSTILE)
    yield _sample("won", _change(ChangeKind.SETTLED, won), entries=_entries(won))
    yield _sample("lost", _change(ChangeKind.SETTLED, lost), entries=_entries(lost))
    yield _sample("settled-void", _change(ChangeKind.SETTLED, _settled(matched, BetResult.VOID)))
    taken_back = BalanceEntries(-won.profit_minor, won.commission_minor, won.net_profit_minor)
    unsettled = _later(won, BetStatus.UNSETTLED, result=None, profit_minor=0, commission_minor=0)
    yield _sample("unsettled", _change(ChangeKind.UNSETTLED, unsettled), entries=taken_back)
    corrected = BalanceEntries(
        lost.profit_minor - won.profit_minor, won.commission_minor, won.net_profit_minor
    )
    yield _sample("settled-again", _change(ChangeKind.SETTLED_AGAIN, lost), entries=corrected)
    yield _sample(
        "digest",
        _change(ChangeKind.ACCEPTED, lay),
        _change(ChangeKind.MATCHED, matched),
        _change(ChangeKind.SETTLED, won),
        _change(ChangeKind.LAPSED, msgspec.structs.replace(lapsed, bet_id="s-105")),
        entries=_entries(won),
        kind=DIGEST,
        owner=_HOSTILE,
    )
    yield _other(
        "confirmation",
        "Confirm your address",
        url="https://exchange.example/confirm#a-customer.code",
        page="https://exchange.example/confirm",
        code="a-customer.Zm9yIGxvb2tpbmcgYXQgb25seSwgb3BlbnMgbm90aGluZw",
        lifetime="24 hours",
    )
    yield _other("already_registered", "You have an account already")


def _sample(
    name: str,
    *changes: BetChange,
    names: BetNames = _PLAIN,
    entries: BalanceEntries | None = None,
    kind: str | None = None,
    owner: str = "Ann Example",
) -> Sample:
    at_us = to_us(_NOON)
    newest = changes[-1]
    account = Account(
        account_id="a-customer",
        email="ann@customer.example",
        email_key="ann@customer.example",
        display_name=owner,
        currency="GBP",
        state=AccountState.CONFIRMED,
        state_reason=None,
        version=2,
        mail_choice=MailChoice.ALL,
        confirmations=1,
        created_at_us=at_us,
        confirmed_at_us=at_us,
        changed_at_us=at_us,
        holds_address=True,
    )
    mail = WaitingMail(
        mail_id=f"sample.{name}",
        kind=kind or newest.kind.value,
        account_id=account.account_id,
        thread="sample",
        attempts=0,
        changed_at_us=at_us,
        queued_at_us=at_us,
        due_at_us=at_us,
    )
    of_versions = {(change.bet.bet_id, change.bet.version): BalanceEntries() for change in changes}
    if entries is not None:
        settled = next(change.bet for change in changes if change.kind in _MONEY)
        of_versions[settled.bet_id, settled.version] = entries
    of_bets = {change.bet.bet_id: names for change in changes}
    return Sample(name, change_mail(mail, account, changes, of_versions, of_bets, _URL))


_MONEY = (ChangeKind.SETTLED, ChangeKind.SETTLED_AGAIN, ChangeKind.UNSETTLED)


def _other(template: str, subject: str, **values: str) -> Sample:
    bodies = render(template, subject=subject, preferences_url=None, **values)
    return Sample(
        template,
        OutgoingMail(
            mail_id=f"sample.{template}",
            to_address="ann@customer.example",
            to_name="",
            subject=subject,
            text=bodies.text,
            html=bodies.html,
            written_at=_NOON,
        ),
    )


def _bet(**changes: Any) -> Bet:
    values: dict[str, Any] = {
        "bet_id": "s-103",
        "version": 1,
        "user_id": "a-customer",
        "event_id": "e-7",
        "market_id": "1.204",
        "selection_id": 1,
        "side": Side.BACK,
        "odds": Decimal("2.5"),
        "currency": "GBP",
        "stake_minor": 2500,
        "remaining_minor": 2500,
        "status": BetStatus.OPEN,
        "number_of_selections": 3,
        "placed_at": _NOON - timedelta(minutes=4),
        "updated_at": _NOON,
    }
    return Bet(**(values | changes))


def _later(bet: Bet, status: BetStatus, **changes: Any) -> Bet:
    return msgspec.structs.replace(bet, version=bet.version + 1, status=status, **changes)


def _won(matched_minor: int, bet: Bet) -> dict[str, int]:
    return {"matched_winnings_minor": winnings_minor(matched_minor, bet.odds)}


def _settled(bet: Bet, result: BetResult) -> Bet:
    profit = {
        BetResult.WON: bet.matched_winnings_minor,
        BetResult.LOST: -bet.matched_minor,
        BetResult.VOID: 0,
    }[result]
    return _later(
        bet,
        BetStatus.SETTLED,
        result=result,
        profit_minor=profit,
        commission_minor=max(0, profit) // 50,
    )


def _change(kind: ChangeKind, bet: Bet) -> BetChange:
    return BetChange(bet.version, kind, bet, None, to_us(_NOON))


def _entries(bet: Bet) -> BalanceEntries:
    return BalanceEntries(bet.profit_minor, -bet.commission_minor)
