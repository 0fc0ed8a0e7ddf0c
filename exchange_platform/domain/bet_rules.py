"""The rules by which a bet, a cancellation or a replacement is refused. Pure: each looks at facts that it is
handed and raises `Refused`.

Not here: reading the facts (bets/submissions.py), and whether the money suffices (acceptance.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from exchange_platform.domain.accounts import AccountState
from exchange_platform.domain.bet_requests import BetOrder, CancelBet, ReplaceBet
from exchange_platform.domain.bets import Bet, BetStatus, IllegalBet, Side, check_handicap
from exchange_platform.domain.betting_limits import NO_LIMITS, LimitKind, Limits
from exchange_platform.domain.events import EventStatus, MarketStatus, SelectionStatus
from exchange_platform.domain.money import MINOR_DIGITS, Money
from exchange_platform.domain.odds import CLASSIC, MAX_ODDS, MIN_ODDS
from exchange_platform.domain.refusals import Forbidden, Invalid, NotNow, RefusalCode, Unknown

Code = RefusalCode

MAX_STAKE_MINOR = 10**10
"""Its winnings at odds of 1000 are still an amount that a bet can have."""
_MAX_SELECTION = 2**53 - 1
_ID = re.compile(r"[!-~]{1,64}\Z")
_ID_ALLOWED = "1 to 64 printable ASCII characters without spaces are allowed"


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What is known of an account that asks for a bet."""

    account_id: str
    state: AccountState
    currency: str
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """What is known of a market, its event, and those of its selections that are asked for (by id and
    handicap).
    """

    market_id: str
    event_id: str
    status: MarketStatus
    event_status: EventStatus | None
    currency: str
    number_of_winners: int
    number_of_selections: int
    selections: Mapping[tuple[int, Decimal], SelectionStatus] = field(default_factory=dict)


def check_order(order: BetOrder, minimum_stakes_minor: Mapping[str, int]) -> None:
    """Refuse an order that could never be right, whatever is known of its account and market."""
    check_id(Code.INVALID_ACCOUNT_ID, "account_id", order.account_id)
    check_id(Code.INVALID_SUBMISSION_ID, "submission_id", order.submission_id)
    check_id(Code.INVALID_MARKET_ID, "market_id", order.market_id)
    if not _is_whole(order.selection_id) or not 0 <= order.selection_id <= _MAX_SELECTION:
        raise Invalid(
            Code.INVALID_SELECTION, "selection_id", order.selection_id, f"0 to {_MAX_SELECTION} are allowed"
        )
    if not isinstance(order.handicap, Decimal):
        raise Invalid(Code.INVALID_HANDICAP, "handicap", order.handicap, "a decimal number is asked for")
    try:
        check_handicap(order.handicap)
    except IllegalBet:
        raise Invalid(
            Code.INVALID_HANDICAP,
            "handicap",
            order.handicap,
            "-1000 to 1000 with at most 2 decimals are allowed",
        ) from None
    if not isinstance(order.side, Side):
        raise Invalid(Code.INVALID_SIDE, "side", order.side, "back and lay are allowed")
    if order.odds is not None:
        check_odds(order.odds)
    if not isinstance(order.currency, str) or order.currency not in MINOR_DIGITS:
        raise Invalid(
            Code.INVALID_CURRENCY, "currency", order.currency, f"{', '.join(MINOR_DIGITS)} are allowed"
        )
    check_amount(Code.INVALID_STAKE, "stake_minor", order.stake_minor, MAX_STAKE_MINOR)
    check_least_stake(order.stake_minor, order.currency, minimum_stakes_minor)


def check_cancel(request: CancelBet) -> None:
    """Refuse a cancellation that could never be right."""
    _check_bet_request(request)
    if request.size_minor is not None:
        check_amount(Code.INVALID_SIZE, "size_minor", request.size_minor, MAX_STAKE_MINOR)


def check_replace(request: ReplaceBet) -> None:
    """Refuse a replacement that could never be right."""
    _check_bet_request(request)
    check_odds(request.odds)


def check_id(code: RefusalCode, name: str, value: object) -> None:
    """Refuse what no identifier can be."""
    if not isinstance(value, str) or not _ID.match(value):
        raise Invalid(code, name, value, _ID_ALLOWED)


def check_amount(code: RefusalCode, name: str, value: object, most: int) -> None:
    """Refuse what is no whole number of minor units from 1 to `most`."""
    if not _is_whole(value) or not 1 <= value <= most:  # type: ignore[operator]
        raise Invalid(code, name, value, f"a whole number of minor units from 1 to {most} is asked for")


def check_odds(odds: object) -> None:
    """Refuse odds that are not on the price ladder."""
    if not isinstance(odds, Decimal) or not odds.is_finite():
        raise Invalid(
            Code.INVALID_ODDS, "odds", odds, f"a decimal number from {MIN_ODDS} to {MAX_ODDS} is asked for"
        )
    if not MIN_ODDS <= odds <= MAX_ODDS:
        raise Invalid(Code.INVALID_ODDS, "odds", odds, f"{MIN_ODDS} to {MAX_ODDS} are allowed")
    if odds not in CLASSIC:
        raise Invalid(
            Code.INVALID_ODDS,
            "odds",
            odds,
            f"not on the price ladder; {CLASSIC.nearest(odds)} is the nearest",
        )


def check_least_stake(stake_minor: int, currency: str, minimum_stakes_minor: Mapping[str, int]) -> None:
    """Refuse a stake below the currency's minimum."""
    least = minimum_stakes_minor.get(currency, 1)
    if stake_minor < least:
        raise Invalid(
            Code.STAKE_BELOW_MINIMUM,
            "stake_minor",
            stake_minor,
            f"at least {least} ({Money(least, currency)}) is allowed",
        )


def check_account(account: AccountFacts | None, account_id: str, now_us: int) -> AccountFacts:
    """The account, if it may bet now."""
    if account is None:
        raise Unknown(Code.UNKNOWN_ACCOUNT, "account_id", account_id, "there is no such account")
    if account.state is AccountState.CLOSED:
        raise Forbidden(Code.ACCOUNT_CLOSED, "account_id", account_id, "the account is closed")
    if account.state is not AccountState.CONFIRMED:
        raise Forbidden(
            Code.ACCOUNT_NOT_CONFIRMED,
            "account_id",
            account_id,
            f"the account is {account.state.value}; one whose address is confirmed may bet",
        )
    until_us = account.limits.break_until_us(now_us)
    if until_us is not None:
        raise Forbidden(
            Code.ON_BREAK,
            "account_id",
            account_id,
            f"the account takes a break from betting until {_written(until_us)}",
        )
    return account


def check_currency(account: AccountFacts, currency: str) -> None:
    """Refuse a currency that is not the account's."""
    if currency != account.currency:
        raise Forbidden(
            Code.WRONG_CURRENCY, "currency", currency, f"the account's currency is {account.currency}"
        )


def check_stake_limit(account: AccountFacts, stake_minor: int) -> None:
    """Refuse a stake over the limit that the account's owner set."""
    most = account.limits.value(LimitKind.STAKE)
    if most is not None and stake_minor > most:
        raise Forbidden(
            Code.STAKE_OVER_LIMIT,
            "stake_minor",
            stake_minor,
            f"the account's own limit is {most} ({Money(most, account.currency)})",
        )


def check_market(market: MarketFacts | None, market_id: str) -> MarketFacts:
    """The market, if it takes bets."""
    if market is None:
        raise Unknown(Code.UNKNOWN_MARKET, "market_id", market_id, "there is no such market")
    if market.event_status is None:
        raise Unknown(Code.UNKNOWN_EVENT, "event_id", market.event_id, "the market's event is not known yet")
    if market.event_status in (EventStatus.FINISHED, EventStatus.ABANDONED):
        raise NotNow(
            Code.EVENT_OVER, "event_id", market.event_id, f"the event is {market.event_status.value}"
        )
    if market.status is not MarketStatus.OPEN:
        code = {
            MarketStatus.SUSPENDED: Code.MARKET_SUSPENDED,
            MarketStatus.CLOSED: Code.MARKET_CLOSED,
        }.get(market.status, Code.MARKET_NOT_OPEN)
        raise NotNow(
            code, "market_id", market_id, f"the market is {market.status.value}; one that is OPEN takes bets"
        )
    return market


def check_market_currency(market: MarketFacts, currency: str) -> None:
    """Refuse a currency that is not the market's."""
    if currency != market.currency:
        raise Forbidden(
            Code.WRONG_CURRENCY, "currency", currency, f"bets of this market are in {market.currency}"
        )


def check_selection(market: MarketFacts, selection_id: int, handicap: Decimal) -> None:
    """Refuse a selection that the market does not have, or has no more."""
    status = market.selections.get((selection_id, handicap))
    if status is None:
        with_handicap = f" with handicap {handicap}" if handicap else ""
        raise Unknown(
            Code.UNKNOWN_SELECTION,
            "selection_id",
            selection_id,
            f"market {market.market_id} has no such selection{with_handicap}",
        )
    if status is not SelectionStatus.ACTIVE:
        raise NotNow(
            Code.SELECTION_NOT_ACTIVE,
            "selection_id",
            selection_id,
            f"the selection is {status.value}; one that is ACTIVE takes bets",
        )


def check_own_bet(bet: Bet | None, account_id: str, bet_id: str) -> Bet:
    """The bet, if it is the account's. Somebody else's is as unknown as one that does not exist."""
    if bet is None or bet.user_id != account_id:
        raise Unknown(Code.UNKNOWN_BET, "bet_id", bet_id, "the account has no such bet")
    return bet


def check_cancellable(bet: Bet, size_minor: int | None) -> None:
    """Refuse to cancel what does not rest."""
    if not bet.remaining_minor:
        raise NotNow(
            Code.BET_NOT_OPEN,
            "bet_id",
            bet.bet_id,
            f"the bet is {bet.status.value} and nothing of it remains unmatched",
        )
    if size_minor is not None and size_minor > bet.remaining_minor:
        raise Invalid(
            Code.INVALID_SIZE,
            "size_minor",
            size_minor,
            f"{bet.remaining_minor} rest; so much can be cancelled",
        )


def check_replaceable(bet: Bet, odds: Decimal) -> None:
    """Refuse to replace what does not rest on the exchange, or by the same."""
    if bet.status is not BetStatus.OPEN:
        raise NotNow(
            Code.BET_NOT_OPEN,
            "bet_id",
            bet.bet_id,
            f"the bet is {bet.status.value}; one that is OPEN can be replaced",
        )
    if odds == bet.odds:
        raise Invalid(Code.INVALID_ODDS, "odds", odds, "the bet has these odds already")


def _check_bet_request(request: CancelBet | ReplaceBet) -> None:
    check_id(Code.INVALID_ACCOUNT_ID, "account_id", request.account_id)
    check_id(Code.INVALID_BET_ID, "bet_id", request.bet_id)
    if request.request_id is not None:
        check_id(Code.INVALID_SUBMISSION_ID, "request_id", request.request_id)


def _written(instant_us: int) -> str:
    return f"{datetime.fromtimestamp(instant_us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
