"""The routes of bets, for applications. Not here: what is accepted (submission/service.py), money
(wallet.py), news of bets (changes.py).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from exchange_platform.api.access.applications import Betting, Caller, Reading
from exchange_platform.api.http.bulkheads import Work, pooled
from exchange_platform.api.http.problems import Problem, problems
from exchange_platform.api.routes.accounts import AccountId
from exchange_platform.api.services import AppState, Services
from exchange_platform.domain.bet_requests import BetOrder
from exchange_platform.domain.bet_rules import check_own_bet
from exchange_platform.domain.bets import Bet, BetStatus, Side
from exchange_platform.domain.refusals import RefusalCode, Unknown
from exchange_platform.domain.views import BetView
from exchange_platform.stores.operational.bets.reading import read_bet

router = APIRouter(tags=["bets"], route_class=pooled(Work.MONEY))

_MAX_TEXT = 1000
BetId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[!-~]+$", description="The bet's id.")]
OfAccount = Annotated[
    str | None,
    Query(
        max_length=_MAX_TEXT, description="Only if the bet is this account's; without it, whoever's it is."
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=_MAX_TEXT,
        description="The caller's own id of this request, unique per account for ever, 1 to 64 printable ASCII characters: the same again"
        " returns the first answer and does nothing more.",
    ),
]


class NewBet(BaseModel):
    """A bet to be placed."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "account_id": "acc-1",
                    "market_id": "1.1001",
                    "selection_id": 10301,
                    "side": "back",
                    "odds": "2.5",
                    "currency": "GBP",
                    "stake_minor": 500,
                }
            ]
        },
    )

    account_id: str = Field(max_length=_MAX_TEXT)
    market_id: str = Field(max_length=_MAX_TEXT)
    selection_id: StrictInt
    handicap: Decimal = Decimal(0)
    side: Side
    odds: Decimal | None = Field(
        None,
        description="Decimal odds on the price ladder. Without them it is a market order: met at once or not at all.",
    )
    currency: str = Field(max_length=_MAX_TEXT)
    stake_minor: StrictInt = Field(description="The backer's stake in minor units.")


class OtherOdds(BaseModel):
    """Other odds for a bet's unmatched remainder."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"odds": "2.6"}]})

    odds: Decimal


class PlacedBet(BaseModel):
    """A bet that was accepted: it is `PENDING` until the exchange answers, its exposure reserved."""

    bet: BetView
    replaces: str | None = Field(None, description="The bet whose rest it takes over.")
    submitted_at: datetime


class CancelledBet(BaseModel):
    """A cancellation that is on its way to the exchange; what is matched before it gets there stays
    matched.
    """

    bet: BetView
    size_minor: int | None = Field(description="How much is to be taken out; null is all that remains.")
    requested_at: datetime


class Bets(BaseModel):
    """Some of an account's bets, newest first; `after` asks for the next ones, null if there are no more."""

    bets: list[BetView]
    after: str | None


@router.post("/bets", status_code=201, responses=problems(400, 401, 402, 403, 404, 409, 422, 503))
def place(wanted: NewBet, caller: Betting, services: AppState, key: IdempotencyKey = None) -> PlacedBet:
    """Place a bet. When this answers, the bet is recorded, its exposure reserved, and its order on the way,
    whatever dies then.
    """
    if key is None:
        raise Problem(
            400,
            "idempotency_key_missing",
            "a bet needs an Idempotency-Key header: the caller's own id of it, so that asking again can't double it",
        )
    caller.check_account(wanted.account_id)
    done = services.submission.submit(
        BetOrder(
            account_id=wanted.account_id,
            submission_id=key,
            market_id=wanted.market_id,
            selection_id=wanted.selection_id,
            handicap=wanted.handicap,
            side=wanted.side,
            odds=wanted.odds,
            currency=wanted.currency,
            stake_minor=wanted.stake_minor,
        ),
        actor=caller.actor,
    )
    return PlacedBet(bet=BetView.of(done.bet), replaces=done.replaces, submitted_at=done.submitted_at)


@router.get("/bets/{bet_id}", responses=problems(401, 403, 404, 422, 503))
def read(bet_id: BetId, caller: Reading, services: AppState, account_id: OfAccount = None) -> BetView:
    """Return how a bet is."""
    return BetView.of(_bet(services, caller, bet_id, account_id))


@router.delete("/bets/{bet_id}", status_code=202, responses=problems(401, 403, 404, 409, 422, 503))
def cancel(
    bet_id: BetId,
    caller: Betting,
    services: AppState,
    account_id: OfAccount = None,
    size_minor: Annotated[int | None, Query(description="Take out so much of what remains, not all.")] = None,
    key: IdempotencyKey = None,
) -> CancelledBet:
    """Ask for a bet's unmatched remainder to be taken out. For a part of it give an Idempotency-Key, or a
    repeat takes out another part.
    """
    owner = _bet(services, caller, bet_id, account_id).user_id
    done = services.submission.cancel(owner, bet_id, size_minor, request_id=key, actor=caller.actor)
    return CancelledBet(bet=BetView.of(done.bet), size_minor=done.size_minor, requested_at=done.requested_at)


@router.patch("/bets/{bet_id}", status_code=202, responses=problems(401, 402, 403, 404, 409, 422, 503))
def replace(
    bet_id: BetId,
    wanted: OtherOdds,
    caller: Betting,
    services: AppState,
    account_id: OfAccount = None,
    key: IdempotencyKey = None,
) -> PlacedBet:
    """Ask for a bet's unmatched remainder to be placed at other odds instead: the answer holds the new bet.
    Both or neither.
    """
    owner = _bet(services, caller, bet_id, account_id).user_id
    done = services.submission.replace(owner, bet_id, wanted.odds, request_id=key, actor=caller.actor)
    return PlacedBet(bet=BetView.of(done.bet), replaces=done.replaces, submitted_at=done.submitted_at)


@router.get("/accounts/{account_id}/bets", responses=problems(401, 403, 404, 422, 503))
def read_all(
    account_id: AccountId,
    caller: Reading,
    services: AppState,
    after: Annotated[
        str | None, Query(max_length=_MAX_TEXT, description="A page's own, for the next.")
    ] = None,
    limit: Annotated[int, Query(description="At most so many, 1 to 200.")] = 50,
    status: Annotated[list[BetStatus] | None, Query(description="Only bets of these statuses.")] = None,
) -> Bets:
    """List an account's bets, newest first."""
    caller.check_account(account_id)
    page = services.submission.bets(account_id, after=after, limit=limit, statuses=status or ())
    return Bets(bets=[BetView.of(bet) for bet in page.bets], after=page.after)


def _bet(services: Services, caller: Caller, bet_id: str, account_id: str | None) -> Bet:
    """The bet, if the token may act for its account, and it is the account's that was named. Any other is as
    unknown as one that does not exist.
    """
    if account_id is not None:
        bet = services.submission.bet(account_id, bet_id)
        return bet if caller.may_act_for(account_id) else check_own_bet(None, account_id, bet_id)
    found = read_bet(services.database, bet_id)
    if found is None or not caller.may_act_for(found.user_id):
        raise Unknown(RefusalCode.UNKNOWN_BET, "bet_id", bet_id, "there is no such bet")
    return found
