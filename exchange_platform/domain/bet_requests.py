"""What customers ask for about bets, and what is answered. Pure; no I/O, no clock. Not here: whether it is
granted (bet_rules.py, acceptance.py).
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import msgspec

from exchange_platform.domain.bets import Bet, Instant, Side
from exchange_platform.process.decoders import json_decoder


class BetOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A bet that an account asks for.

    `submission_id` is the caller's, unique per account for ever: the same id with the same content is the
    same bet. Without `odds` it is a market order, met at once or not at all, at whatever odds there are; a
    lay then has to be covered at odds of 1000. `stake_minor` is the backer's stake in minor units of
    `currency`. Nothing is checked here: `BetSubmission.submit` does.
    """

    account_id: str
    submission_id: str
    market_id: str
    selection_id: int
    handicap: Decimal = Decimal(0)
    side: Side
    odds: Decimal | None
    currency: str
    stake_minor: int


class CancelBet(msgspec.Struct, frozen=True, kw_only=True):
    """Take a bet's unmatched remainder, or `size_minor` of it, out. With a `request_id`, the same one again
    asks for nothing new.
    """

    account_id: str
    bet_id: str
    size_minor: int | None = None
    request_id: str | None = None


class ReplaceBet(msgspec.Struct, frozen=True, kw_only=True):
    """Take a bet's unmatched remainder out and place so much at other odds. With a `request_id`, the same one
    again asks for nothing new.
    """

    account_id: str
    bet_id: str
    odds: Decimal
    request_id: str | None = None


BetRequest = BetOrder | CancelBet | ReplaceBet


class Submission(msgspec.Struct, frozen=True, kw_only=True, tag="submission"):
    """An accepted bet, as it was when it was accepted: `PENDING`, its exposure reserved. `replaces` is the
    bet whose rest it takes over.
    """

    submission_id: str | None
    bet: Bet
    replaces: str | None = None
    submitted_at: Instant


class Cancellation(msgspec.Struct, frozen=True, kw_only=True, tag="cancellation"):
    """A cancellation that is on its way to the exchange. `bet` is as it was then; what became of it, its next
    versions tell.
    """

    request_id: str | None
    bet: Bet
    size_minor: int | None
    """How much is asked to be taken out; None is all that remains."""
    requested_at: Instant


Answer = Submission | Cancellation

_answers: msgspec.json.Decoder[Answer] = json_decoder(Submission | Cancellation)
_encoder = msgspec.json.Encoder(order="deterministic")


def encode_answer(answer: Answer) -> str:
    """The answer as JSON; `decode_answer` gives back an equal one."""
    return _encoder.encode(answer).decode()


def decode_answer(text: str) -> Answer:
    """Read what `encode_answer` wrote."""
    return _answers.decode(text)


def caller_id(request: BetRequest) -> str | None:
    """The id that makes the request the same when it comes again."""
    return request.submission_id if isinstance(request, BetOrder) else request.request_id


def content_sha256(request: BetRequest) -> bytes:
    """A digest of what is asked for: equal for 2.5 and 2.50, whatever the ids of account and submission."""
    content: dict[str, Any] = {"kind": type(request).__name__}
    for name in request.__struct_fields__:
        if name not in ("account_id", "submission_id", "request_id"):
            value = getattr(request, name)
            content[name] = str(value.normalize() + 0) if isinstance(value, Decimal) else value
    return hashlib.sha256(_encoder.encode(content)).digest()


class BetPage(msgspec.Struct, frozen=True):
    """Some of an account's bets, newest first. `after` is what to ask for the next ones with; None: there are
    no more.
    """

    bets: list[Bet]
    after: str | None
