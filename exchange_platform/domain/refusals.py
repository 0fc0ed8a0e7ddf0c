"""Why something that a customer asked for is not done: a small family of errors. Not here: the rules that
raise them (bet_rules.py, ...).

Whoever catches one may show it: nothing in it is secret, nothing was changed, and `value` is shortened and
has no control characters.
"""

from __future__ import annotations

from enum import StrEnum

_MAX_SHOWN = 80


class RefusalCode(StrEnum):
    """Stable names, for programs."""

    INVALID_SUBMISSION_ID = "invalid_submission_id"
    INVALID_ACCOUNT_ID = "invalid_account_id"
    INVALID_MARKET_ID = "invalid_market_id"
    INVALID_BET_ID = "invalid_bet_id"
    INVALID_SELECTION = "invalid_selection"
    INVALID_HANDICAP = "invalid_handicap"
    INVALID_SIDE = "invalid_side"
    INVALID_ODDS = "invalid_odds"
    INVALID_STAKE = "invalid_stake"
    INVALID_SIZE = "invalid_size"
    INVALID_AMOUNT = "invalid_amount"
    INVALID_CURRENCY = "invalid_currency"
    INVALID_CALLER = "invalid_caller"
    INVALID_LIMIT = "invalid_limit"
    INVALID_PAGE = "invalid_page"

    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_MARKET = "unknown_market"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_SELECTION = "unknown_selection"
    UNKNOWN_BET = "unknown_bet"

    ACCOUNT_NOT_CONFIRMED = "account_not_confirmed"
    ACCOUNT_CLOSED = "account_closed"
    WRONG_CURRENCY = "wrong_currency"
    STAKE_BELOW_MINIMUM = "stake_below_minimum"
    STAKE_OVER_LIMIT = "stake_over_limit"
    DEPOSIT_OVER_LIMIT = "deposit_over_limit"
    ON_BREAK = "on_break"
    BREAK_NOT_LONGER = "break_not_longer"

    MARKET_NOT_OPEN = "market_not_open"
    MARKET_SUSPENDED = "market_suspended"
    MARKET_CLOSED = "market_closed"
    EVENT_OVER = "event_over"
    SELECTION_NOT_ACTIVE = "selection_not_active"
    BET_NOT_OPEN = "bet_not_open"
    BEING_REPLACED = "being_replaced"

    INSUFFICIENT_FUNDS = "insufficient_funds"
    SUBMISSION_CONFLICT = "submission_conflict"


class Refused(Exception):
    """What was asked is not done, and nothing changed.

    `code` says which rule, `field` what of the request it is about, `value` what was seen and `allowed` what
    would do; the message is one sentence of them for people. The subclasses group the codes by what the
    caller should do about them.
    """

    def __init__(self, code: RefusalCode, field: str, value: object, allowed: str) -> None:
        self.code = code
        self.field = field
        self.value = shown(value)
        self.allowed = allowed
        super().__init__(f"{field} {self.value}: {allowed}")


class Invalid(Refused):
    """The request could never be right: fix it."""


class Unknown(Refused):
    """There is no such account, event, market, selection or bet, or it is not the account's."""


class Forbidden(Refused):
    """The account may not do this: by its state, its currency, or a limit that its owner set."""


class NotNow(Refused):
    """The market, selection or bet is not in a state for this; it may be, or may have been."""


class InsufficientFunds(Refused):
    """The money that is available does not cover it."""


class Conflict(Refused):
    """The id was used before, for something else."""


def shown(value: object) -> str:
    """A value as it may be shown: short, one line, quoted if it is text."""
    try:
        text = repr(value) if isinstance(value, str | bytes) else str(value)
    except Exception:  # somebody else's object
        text = type(value).__name__
    text = "".join(character if character.isprintable() else "?" for character in text[: _MAX_SHOWN + 1])
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
