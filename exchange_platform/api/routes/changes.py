"""News of an account's bets as they come: server-sent events. Not here: what a change is (bets/bets.py),
mails of it (mail/). Reading them is watching/change_feed.py's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator, Field, TypeAdapter

from exchange_platform.api.access.applications import Caller, Reading
from exchange_platform.api.http.headers import STREAM_HEADERS
from exchange_platform.api.http.problems import Problem, problems
from exchange_platform.api.routes.accounts import AccountId
from exchange_platform.api.services import AppState
from exchange_platform.api.watching.change_feed import ChangeFeed
from exchange_platform.domain.bets import Bet
from exchange_platform.domain.views import BetView
from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.operational.bets.outbox import ChangeRow

router = APIRouter(tags=["bets"])

_HEARTBEAT_S = 15.0
_LOOK_AGAIN_S = 0.5
"""How often a stream looks whether it may go on."""

_bets = json_decoder(Bet)
_views = TypeAdapter(BetView)


def as_event(row: ChangeRow) -> str:
    """A change as a server-sent event: its sequence, what changed, and the bet as it is then."""
    data = {
        "change": row.change,
        "status_before": row.status_before,
        "bet": _views.dump_python(BetView.of(_bets.decode(row.bet)), mode="json"),
    }
    return f"id: {row.sequence}\nevent: bet\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


@router.get(
    "/accounts/{account_id}/changes",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events `bet`: `change`, `status_before` and the whole `bet`; `id` is where to go on.",
            "content": {"text/event-stream": {}},
        },
        **problems(401, 403, 404, 410, 422, 503),
    },
)
async def changes(
    account_id: AccountId,
    caller: Reading,
    services: AppState,
    last_event_id: Annotated[
        Annotated[int, Field(ge=0, le=2**63 - 1)] | None,
        BeforeValidator(lambda given: given or None),
        Header(
            alias="Last-Event-ID",
            description="The last id that was seen: what came since is sent first. Empty (an `EventSource` that saw none): from now on.",
        ),
    ] = None,
) -> StreamingResponse:
    """Listen to an account's bets: each change within half a second of its commit, in the order of the
    commits.

    It ends within three seconds once the token is revoked or expired.
    """
    if not await asyncio.to_thread(_is_there, caller, account_id):
        raise Problem(404, "no_such_account", f"there is no account {account_id}")
    missed, queue = await services.change_feed.listen(account_id, last_event_id, caller.grant.application)
    return StreamingResponse(
        _told(caller, account_id, missed, queue),
        media_type="text/event-stream",
        headers=STREAM_HEADERS,
    )


def _is_there(caller: Caller, account_id: str) -> bool:
    return caller.may_act_for(account_id) and caller.services.account_reader.get(account_id) is not None


async def _told(
    caller: Caller, account_id: str, missed: list[ChangeRow], queue: asyncio.Queue[ChangeRow | None]
) -> AsyncGenerator[str, None]:
    services = caller.services
    with _listening(services.change_feed, account_id, queue):
        yield "retry: 1000\n\n"
        told = 0
        for row in missed:
            told = row.sequence
            yield as_event(row)
        silent_s = 0.0
        longest_s = services.settings.longest_answer_s
        ends_s = float("inf") if longest_s is None else services.clock.monotonic_s() + longest_s
        while not services.ending.is_set() and services.clock.monotonic_s() < ends_s:
            if longest_s is not None and told:
                return
            try:
                if not await caller.still_let_in():
                    return
            except (StoreUnavailable, Problem):  # nothing is sent until it is known again
                await asyncio.sleep(_LOOK_AGAIN_S)
                continue
            try:
                row_or_end = await asyncio.wait_for(queue.get(), _LOOK_AGAIN_S)
            except TimeoutError:
                silent_s += _LOOK_AGAIN_S
                if silent_s >= _HEARTBEAT_S:
                    silent_s = 0.0
                    yield ": still here\n\n"
                continue
            if row_or_end is None:
                return
            silent_s = 0.0
            if row_or_end.sequence > told:
                told = row_or_end.sequence
                yield as_event(row_or_end)


@contextmanager
def _listening(feed: ChangeFeed, account_id: str, queue: asyncio.Queue[ChangeRow | None]) -> Iterator[None]:
    try:
        yield
    finally:
        feed.leave(account_id, queue)
