"""The routes of accounts' money and of the limits that owners set, for applications. Not here: what is
allowed (wallets/wallets.py).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt

from exchange_platform.api.access.applications import Operating, Paying, Reading
from exchange_platform.api.http.bulkheads import Work, pooled
from exchange_platform.api.http.problems import Problem, problems
from exchange_platform.api.routes.accounts import AccountId
from exchange_platform.api.routes.bets import IdempotencyKey
from exchange_platform.api.services import AppState
from exchange_platform.domain.betting_limits import LimitKind, Limits
from exchange_platform.domain.views import WalletView
from exchange_platform.stores.operational.bets.profiles import LastBet, Profile
from exchange_platform.stores.operational.database import from_us, to_us
from exchange_platform.stores.operational.wallets import wallets
from exchange_platform.stores.operational.wallets.wallets import TransferKind

router = APIRouter(
    prefix="/accounts/{account_id}",
    tags=["wallet"],
    route_class=pooled(Work.MONEY),
)

_MAX_TEXT = 1000


class NewTransfer(BaseModel):
    """Money that comes in or goes out."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"amount_minor": 2000, "currency": "GBP", "authorised_by": "payments"}]
        },
    )

    amount_minor: StrictInt
    currency: str = Field(max_length=_MAX_TEXT)
    authorised_by: str = Field(
        max_length=_MAX_TEXT,
        description="Who says that the money is there: kept as the application says it, beside the application's own name.",
    )


class TransferDetails(BaseModel):
    """A deposit or withdrawal; `balance_minor` is the balance after it."""

    transfer_id: str
    account_id: str
    kind: TransferKind
    amount_minor: int
    currency: str
    authorised_by: str
    application: str | None = Field(
        description="The application whose token asked for it; null where an older release wrote it."
    )
    balance_minor: int
    transferred_at: datetime


class Transfers(BaseModel):
    """Some of an account's transfers, newest first; `after` asks for the next ones, null if there are no
    more.
    """

    transfers: list[TransferDetails]
    after: str | None


class ProfileBet(BaseModel):
    """One of the newest bets of a profile."""

    bet_id: str
    market_id: str
    selection_id: int
    side: str
    odds: str
    stake_minor: int
    matched_minor: int
    status: str
    result: str | None
    profit_minor: int
    placed_at: datetime


class ProfileDetails(BaseModel):
    """An account's profile: sums, counts and newest bets. It follows the bets within about a second."""

    account_id: str
    currency: str
    version: int
    balance_minor: int
    exposure_minor: int
    profit_minor: int
    commission_minor: int
    bets: int
    open_bets: int
    matched_bets: int
    settled_bets: int
    won_bets: int
    lost_bets: int
    staked_minor: int
    matched_minor: int
    last_bets: list[ProfileBet]


class LimitDetails(BaseModel):
    """A limit: what holds now (null: none), and what will from `changes_at` on."""

    kind: LimitKind
    amount_minor: int | None
    until: datetime | None = Field(description="When a break ends.")
    next_amount_minor: int | None
    changes_at: datetime | None


class AllLimits(BaseModel):
    """Every limit that was ever set. Lowering one holds at once, raising it or taking it away after
    24 hours.
    """

    limits: list[LimitDetails]


class LimitAmount(BaseModel):
    """What a limit is to be; null takes it away."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"amount_minor": 5000}]})

    amount_minor: StrictInt | None


class Break(BaseModel):
    """Until when the owner does not want to bet."""

    model_config = ConfigDict(extra="forbid")

    until: AwareDatetime


_TRANSFER_PROBLEMS = problems(400, 401, 402, 403, 404, 422, 503)


@router.post("/deposits", status_code=201, responses=_TRANSFER_PROBLEMS)
def deposit(
    account_id: AccountId, wanted: NewTransfer, caller: Paying, services: AppState, key: IdempotencyKey = None
) -> TransferDetails:
    """Let money in, within the deposit limits that the owner set."""
    caller.check_account(account_id)
    return _told(
        services.wallets.deposit(
            account_id,
            _needed(key),
            wanted.amount_minor,
            wanted.currency,
            authorised_by=wanted.authorised_by,
            actor=caller.actor,
        )
    )


@router.post("/withdrawals", status_code=201, responses=_TRANSFER_PROBLEMS)
def withdraw(
    account_id: AccountId, wanted: NewTransfer, caller: Paying, services: AppState, key: IdempotencyKey = None
) -> TransferDetails:
    """Let money out, of what is available."""
    caller.check_account(account_id)
    return _told(
        services.wallets.withdraw(
            account_id,
            _needed(key),
            wanted.amount_minor,
            wanted.currency,
            authorised_by=wanted.authorised_by,
            actor=caller.actor,
        )
    )


@router.get("/transfers", responses=problems(401, 403, 404, 422, 503))
def transfers(
    account_id: AccountId,
    caller: Reading,
    services: AppState,
    after: Annotated[
        str | None, Query(max_length=_MAX_TEXT, description="A page's own, for the next.")
    ] = None,
    limit: Annotated[int, Query(description="At most so many, 1 to 200.")] = 50,
) -> Transfers:
    """List an account's deposits and withdrawals, newest first."""
    caller.check_account(account_id)
    page = services.wallets.transfers(account_id, after=after, limit=limit)
    return Transfers(transfers=[_told(one) for one in page.transfers], after=page.after)


@router.get("/wallet", responses=problems(401, 403, 404, 422, 503))
def wallet(account_id: AccountId, caller: Reading, services: AppState) -> WalletView:
    """Return an account's money, as it is this moment."""
    caller.check_account(account_id)
    found = services.wallets.wallet(account_id)
    return WalletView(
        account_id=found.account_id,
        currency=found.currency,
        balance_minor=found.balance_minor,
        exposure_minor=found.exposure_minor,
        available_minor=found.available_minor,
        deposited_minor=found.deposited_minor,
        withdrawn_minor=found.withdrawn_minor,
        profit_minor=found.profit_minor,
        commission_minor=found.commission_minor,
    )


@router.get("/profile", responses=problems(401, 403, 404, 422, 503))
def profile(account_id: AccountId, caller: Reading, services: AppState) -> ProfileDetails:
    """Return an account's profile, from the profile view. An account that never had money or a bet has one of
    zeros.
    """
    caller.check_account(account_id)
    found = services.profile_view.get(account_id)
    if found is None:
        held = services.wallets.wallet(account_id)  # an account that does not exist is refused
        return ProfileDetails(
            account_id=account_id, currency=held.currency, last_bets=[], **dict.fromkeys(_COUNTED, 0)
        )
    return _profile(found)


@router.get("/limits", responses=problems(401, 403, 404, 422, 503))
def limits(account_id: AccountId, caller: Reading, services: AppState) -> AllLimits:
    """Tell the limits that the owner set: those that hold, and those to come."""
    caller.check_account(account_id)
    return _limits(services.wallets.limits(account_id))


@router.put("/limits/break", responses=problems(401, 403, 404, 422, 503))
def take_break(account_id: AccountId, wanted: Break, caller: Operating, services: AppState) -> AllLimits:
    """Take a break from betting, at once. It can be made longer, never shorter."""
    caller.check_account(account_id)
    return _limits(services.wallets.take_break(account_id, to_us(wanted.until), actor=caller.actor))


@router.put("/limits/{kind}", responses=problems(401, 403, 404, 422, 503))
def set_limit(
    account_id: AccountId,
    kind: Annotated[LimitKind, Path(description="deposit_24h, deposit_7d, deposit_30d or stake.")],
    wanted: LimitAmount,
    caller: Operating,
    services: AppState,
) -> AllLimits:
    """Set or take away a limit of deposits in a rolling 24 hours, 7 or 30 days, or of a bet's stake."""
    caller.check_account(account_id)
    return _limits(services.wallets.set_limit(account_id, kind, wanted.amount_minor, actor=caller.actor))


_COUNTED = [
    name for name in ProfileDetails.model_fields if name not in ("account_id", "currency", "last_bets")
]


def _needed(key: str | None) -> str:
    if key is None:
        raise Problem(
            400,
            "idempotency_key_missing",
            "a transfer needs an Idempotency-Key header: the caller's own id of it, so that asking again can't double it",
        )
    return key


def _told(transfer: wallets.Transfer) -> TransferDetails:
    return TransferDetails(
        transfer_id=transfer.transfer_id,
        account_id=transfer.account_id,
        kind=transfer.kind,
        amount_minor=transfer.amount_minor,
        currency=transfer.currency,
        authorised_by=transfer.authorised_by,
        application=transfer.application,
        balance_minor=transfer.balance_minor,
        transferred_at=from_us(transfer.transferred_at_us),
    )


def _profile(found: Profile) -> ProfileDetails:
    return ProfileDetails(
        account_id=found.user_id,
        currency=found.currency,
        last_bets=[_last(bet) for bet in found.last_bets],
        **{name: getattr(found, name) for name in _COUNTED},
    )


def _last(bet: LastBet) -> ProfileBet:
    return ProfileBet(
        placed_at=from_us(bet.placed_at_us),
        **{name: getattr(bet, name) for name in LastBet.__struct_fields__ if name != "placed_at_us"},
    )


def _limits(found: Limits) -> AllLimits:
    told = []
    for kind, limit in found.limits.items():
        is_break = kind is LimitKind.BREAK
        told.append(
            LimitDetails(
                kind=kind,
                amount_minor=None if is_break else limit.value,
                until=from_us(limit.value) if is_break and limit.value is not None else None,
                next_amount_minor=limit.next_value,
                changes_at=from_us(limit.changes_at_us) if limit.changes_at_us is not None else None,
            )
        )
    return AllLimits(limits=told)
