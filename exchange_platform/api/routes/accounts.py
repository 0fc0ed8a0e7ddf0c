"""The routes of accounts, for applications. Not here: the pages that users see (pages/confirmation.py,
pages/preferences.py), or what is allowed (confirmation/).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from exchange_platform.api.access.applications import Caller, Operating, Reading
from exchange_platform.api.http.bulkheads import Work, pooled
from exchange_platform.api.http.problems import Problem, problems
from exchange_platform.api.services import AppState
from exchange_platform.confirmation.service import Registration
from exchange_platform.domain.accounts import AccountState, InvalidAddress, InvalidName, MailChoice
from exchange_platform.domain.money import MINOR_DIGITS, InvalidMoney
from exchange_platform.stores.operational.accounts.accounts import (
    Account,
    AccountInUse,
    IllegalAccountTransition,
    NoSuchAccount,
)
from exchange_platform.stores.operational.database import from_us

router = APIRouter(prefix="/accounts", tags=["accounts"], route_class=pooled(Work.ACCOUNTS))

_MAX_TEXT = 1000
AccountId = Annotated[
    str, Path(min_length=1, max_length=64, pattern=r"^[!-~]+$", description="The account's id.")
]


class NewAccount(BaseModel):
    """Who wants an account."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"email": "ann@example.com", "display_name": "Ann", "currency": "GBP"}]
        },
    )

    email: str = Field(
        max_length=_MAX_TEXT,
        description="Where mail reaches the owner: an address of the usual form, ASCII before the @.",
    )
    display_name: str = Field(
        max_length=_MAX_TEXT,
        description="What others see: 1 to 60 visible characters of any script. Data, never markup: whoever shows it escapes it.",
    )
    currency: str = Field(
        "GBP",
        max_length=_MAX_TEXT,
        description="The account's currency.",
        json_schema_extra={"enum": list(MINOR_DIGITS)},
    )
    mail_choice: MailChoice = Field(
        MailChoice.ALL,
        description="Which mails about bets the owner wants; voids and re-settlements are always sent.",
    )


class Registered(BaseModel):
    """A new account. The same answer whether or not the address is known."""

    account_id: str
    state: AccountState


class AccountDetails(BaseModel):
    """An account."""

    account_id: str
    state: AccountState
    state_reason: str | None = Field(description="Why no mail reaches it, where it is UNDELIVERABLE.")
    email: str
    display_name: str
    currency: str
    mail_choice: MailChoice
    created_at: datetime
    confirmed_at: datetime | None = Field(description="When its address was confirmed last.")


class MailPreferences(BaseModel):
    """Which mails about bets the owner wants."""

    model_config = ConfigDict(extra="forbid")

    mail_choice: MailChoice = Field(
        description="all, settlements (these only), digest (one mail for many changes), none. Voids and re-settlements are always sent."
    )


@router.post("", status_code=202, responses=problems(401, 403, 422, 429, 503))
def register(wanted: NewAccount, caller: Operating, services: AppState, response: Response) -> Registered:
    """Register an account and mail a confirmation to its address.

    The answer is always a fresh account that is `PENDING`; nothing says whether the address is known. If it
    belongs to an account already, its owner is mailed that, and the new account is never confirmed. An
    account that nobody confirms is deleted after some days.
    """
    with _refusals():
        registration = Registration.checked(
            wanted.email, wanted.display_name, wanted.currency, wanted.mail_choice
        )
        account_id = services.accounts.register(registration, caller.actor.client or "", actor=caller.actor)
    response.headers["Location"] = f"accounts/{account_id}"
    return Registered(account_id=account_id, state=AccountState.PENDING)


@router.get("/{account_id}", responses=problems(401, 403, 404, 422, 503))
def read(account_id: AccountId, caller: Reading, services: AppState) -> AccountDetails:
    """Return how an account is."""
    _check(caller, account_id)
    account = services.account_reader.get(account_id)
    if account is None:
        raise _no_account(account_id)
    return _details(account)


@router.post(
    "/{account_id}/confirmation", status_code=202, responses=problems(401, 403, 404, 409, 422, 429, 503)
)
def ask_again(account_id: AccountId, caller: Operating, services: AppState) -> Registered:
    """Mail another confirmation; when it leaves, the earlier ones are void.

    For an account that is `PENDING`, and for one that is `UNDELIVERABLE` once its owner's mailbox is well
    again.
    """
    _check(caller, account_id)
    with _refusals():
        services.accounts.ask_again(account_id)
    account = services.account_reader.get(account_id)
    if account is None:
        raise _no_account(account_id)
    return Registered(account_id=account_id, state=account.state)


@router.put("/{account_id}/mail-preferences", responses=problems(401, 403, 404, 409, 422, 503))
def choose_mail(
    account_id: AccountId, preferences: MailPreferences, caller: Operating, services: AppState
) -> AccountDetails:
    """Set which mails about bets the owner wants."""
    _check(caller, account_id)
    with _refusals():
        return _details(services.accounts.choose_mail(account_id, preferences.mail_choice))


@router.post("/{account_id}/close", responses=problems(401, 403, 404, 409, 422, 503))
def close(account_id: AccountId, caller: Operating, services: AppState) -> AccountDetails:
    """Close an account for good; its address may be registered again. Refused while it has live bets or a
    balance.

    A closed account stays readable, and closing it again changes nothing.
    """
    _check(caller, account_id)
    with _refusals():
        return _details(services.accounts.close(account_id, actor=caller.actor))


def _check(caller: Caller, account_id: str) -> None:
    """Refuse an account that the token may not act for as one that does not exist."""
    if not caller.may_act_for(account_id):
        raise _no_account(account_id)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the service refuses, as problems."""
    try:
        yield
    except InvalidAddress as error:
        raise Problem(422, "invalid_address", str(error)) from None
    except InvalidName as error:
        raise Problem(422, "invalid_name", str(error)) from None
    except InvalidMoney as error:
        raise Problem(422, "invalid_currency", str(error)) from None
    except NoSuchAccount as error:
        raise _no_account(str(error)) from None
    except IllegalAccountTransition as error:
        raise Problem(409, "wrong_state", str(error)) from None
    except AccountInUse as error:
        raise Problem(409, "account_in_use", str(error)) from None


def _no_account(account_id: str) -> Problem:
    return Problem(404, "no_such_account", f"there is no account {account_id}")


def _details(account: Account) -> AccountDetails:
    confirmed_at_us = account.confirmed_at_us
    return AccountDetails(
        account_id=account.account_id,
        state=account.state,
        state_reason=account.state_reason,
        email=account.email,
        display_name=account.display_name,
        currency=account.currency,
        mail_choice=account.mail_choice,
        created_at=from_us(account.created_at_us),
        confirmed_at=from_us(confirmed_at_us) if confirmed_at_us is not None else None,
    )
