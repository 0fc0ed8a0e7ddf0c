"""The page that a mailed link opens, and its button, which alone confirms. Not here: what is confirmed
(confirmation/service.py).

The link carries its code behind a `#`, which no browser sends: no server, proxy or scanner's log has it. The
page's script moves it into the form; without script the reader pastes the code from the mail. A code stands
in no address and no log, and no answer is kept by a cache.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse

from exchange_platform.api.access.clients import Client
from exchange_platform.api.http.bulkheads import Work, pooled
from exchange_platform.api.rendering.pages import HTML as _HTML
from exchange_platform.api.rendering.pages import UNREADABLE_FORM, page
from exchange_platform.api.services import AppState
from exchange_platform.confirmation.service import MAX_CODE, Pressed
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.accounts.limits import TooMany

router = APIRouter(tags=["pages"], default_response_class=HTMLResponse, route_class=pooled(Work.ACCOUNTS))

_STATUS = {
    Pressed.CONFIRMED: 200,
    Pressed.USED: 410,
    Pressed.EXPIRED: 410,
    Pressed.UNKNOWN: 410,
    Pressed.TAKEN: 409,
}
_RETRY_AFTER_S = 5


@router.head("/confirm", include_in_schema=False)
@router.get("/confirm")
async def ask() -> HTMLResponse:
    """Show the button. Changes nothing, whoever opens it: mail scanners open links."""
    return page("confirm.html", code="", notice=None)


@router.post(
    "/confirm",
    responses={
        409: {"description": "Another account of the address is confirmed.", **_HTML},
        422: UNREADABLE_FORM,
        410: {"description": "The code has been used, is too old, or is unknown.", **_HTML},
        429: {"description": "Too many presses from one address.", **_HTML},
        503: {"description": "A store is away for the moment; nothing was changed.", **_HTML},
    },
)
def confirm(
    client: Client,
    services: AppState,
    code: Annotated[str, Form(description="The code of the mailed link.")] = "",
) -> HTMLResponse:
    """Confirm the account whose mailed code this is."""
    if not code.strip():
        return page("confirm.html", code="", notice="empty", status=422)
    try:
        pressed = services.accounts.confirm(code, client)
    except TooMany as error:
        return page(
            "confirm.html",
            code=code[:MAX_CODE],
            notice="too_many",
            status=429,
            retry_after_s=error.retry_after_s,
        )
    except StoreUnavailable:
        return page(
            "confirm.html",
            code=code[:MAX_CODE],
            notice="unavailable",
            status=503,
            retry_after_s=_RETRY_AFTER_S,
        )
    return page("confirmed.html", pressed=pressed.value, status=_STATUS[pressed])
