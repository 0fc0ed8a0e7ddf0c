"""The page that chooses which mail comes, behind the signed link of each mail, and one-click unsubscribing
(RFC 8058). Not here: the links (unsubscribing.py).

A GET changes nothing. A link that is not ours, and one of an account that is closed or gone, are answered
alike.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse

from exchange_platform.api.http.bulkheads import Work, pooled
from exchange_platform.api.rendering.pages import HTML as _HTML
from exchange_platform.api.rendering.pages import UNREADABLE_FORM, page
from exchange_platform.api.services import AppState
from exchange_platform.domain.accounts import AccountState, MailChoice
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.accounts.accounts import (
    Account,
    IllegalAccountTransition,
    NoSuchAccount,
)

router = APIRouter(tags=["pages"], default_response_class=HTMLResponse, route_class=pooled(Work.ACCOUNTS))
log = logging.getLogger(__name__)

_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"description": "The link is not one of ours, or its account is gone.", **_HTML},
    422: UNREADABLE_FORM,
    429: {"description": "Too many requests from one address."},
    503: {"description": "A store is away for the moment; nothing was changed.", **_HTML},
}
_RETRY_AFTER_S = 5
_MAX_TOKEN = 200
_ONE_CLICK = (b"", b"list-unsubscribe=one-click")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


async def _is_bare(request: Request) -> bool:
    """Whether the body is empty, or what RFC 8058 asks for without its type."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        return not await request.form()
    return (await request.body()).strip().lower() in _ONE_CLICK


Token = Annotated[str, Query(description="What the link in the mail carries.")]


@router.head("/unsubscribe", include_in_schema=False)
@router.get("/unsubscribe", responses=_RESPONSES)
def ask(services: AppState, token: Token = "") -> HTMLResponse:
    """Show which mail comes, and the choice. Changes nothing."""
    account_id = _account_id(services, token)
    try:
        account = services.account_reader.get(account_id) if account_id is not None else None
    except StoreUnavailable:
        return _unavailable()
    if account is None or account.state is AccountState.CLOSED:
        return _unknown()
    return _choices(token, account, saved=False)


@router.post("/unsubscribe", responses=_RESPONSES)
def choose(
    services: AppState,
    bare: Annotated[bool, Depends(_is_bare)],
    token: Token = "",
    one_click: Annotated[
        str | None, Form(alias="List-Unsubscribe", description="`One-Click`, from a mail program.")
    ] = None,
    choice: Annotated[
        str | None, Form(description="all, settlements, digest or none, from the page.")
    ] = None,
) -> HTMLResponse:
    """Take the choice made on the page, or (what mail programs send: RFC 8058) unsubscribe.

    A body without a choice comes from a mail program, and some send it empty or without its type: it
    unsubscribes too.
    """
    account_id = _account_id(services, token)
    if account_id is None:
        return _unknown()
    chosen = MailChoice.NONE if bare else _chosen(one_click, choice)
    try:
        if chosen is None:
            account_now = services.account_reader.get(account_id)
            return (
                _unknown() if account_now is None else _choices(token, account_now, saved=False, status=422)
            )
        account = services.accounts.choose_mail(account_id, chosen)
    except (NoSuchAccount, IllegalAccountTransition):
        return _unknown()
    except StoreUnavailable:
        return _unavailable()
    log.info("account %s chose mail: %s", account_id, chosen.value)
    return _choices(token, account, saved=True)


def _chosen(one_click: str | None, choice: str | None) -> MailChoice | None:
    """What a form chooses; None where it says something that is neither on the page nor in RFC 8058."""
    if one_click is not None and one_click.strip().lower() == "one-click":
        return MailChoice.NONE
    try:
        return MailChoice(choice or "")
    except ValueError:
        return None


def _account_id(services: AppState, token: str) -> str | None:
    return services.preference_links.account_id(token) if len(token) <= _MAX_TOKEN else None


def _choices(token: str, account: Account, *, saved: bool, status: int = 200) -> HTMLResponse:
    return page(
        "preferences.html",
        status=status,
        token=token,
        chosen=account.mail_choice.value,
        saved=saved,
        name=account.display_name,
    )


def _unknown() -> HTMLResponse:
    return page("no_preferences.html", status=404, notice="unknown")


def _unavailable() -> HTMLResponse:
    return page("no_preferences.html", status=503, notice="unavailable", retry_after_s=_RETRY_AFTER_S)
