"""An event followed live: server-sent events over one long answer. Not here: looking for changes
(watching/following.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from exchange_platform.api.access.clients import Client as CallersAddress
from exchange_platform.api.http.bulkheads import Work
from exchange_platform.api.http.headers import STREAM_HEADERS
from exchange_platform.api.http.problems import Problem, problems
from exchange_platform.api.routes.events import Identifier, event_or_404
from exchange_platform.api.services import AppState
from exchange_platform.api.watching.following import Client, Live, TooManyClients, TooManyOfOneAddress

router = APIRouter(tags=["events"])

HEARTBEAT_S = 10.0
_RECONNECT = b"retry: 2000\n\n"
_HEARTBEAT = b": alive\n\n"


class _Stream(StreamingResponse):
    """Sends a client's messages until it or the server ends; then the client is followed for no more,
    whatever happened.
    """

    media_type = "text/event-stream"

    def __init__(self, live: Live, client: Client) -> None:
        super().__init__(_messages(client), headers=STREAM_HEADERS)
        self._live = live
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._live.leave(self._client)


async def _known(services: AppState, event_id: Identifier) -> str:
    stored = await services.bulkheads.run(Work.EVENTS, lambda: event_or_404(services, event_id))
    return stored.event.event_id


@router.get(
    "/events/{event_id}/live",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Messages, for as long as the client stays.",
            "content": {"text/event-stream": {}},
        },
        **problems(404, 422, 429, 503),
    },
)
async def follow(
    services: AppState, client: CallersAddress, event_id: Annotated[str, Depends(_known)]
) -> _Stream:
    """Follow an event: server-sent events, for a browser's `EventSource`.

    `event`: the event with its markets, at once and whenever it changes. `windows`: a market's odds windows
    that changed. `delayed` and `resumed`: a store is away, and back. A comment every ten seconds keeps the
    connection. Read the windows once the first `event` is there, and again after `resumed`.
    """
    try:
        following = services.live.join(event_id, asyncio.get_running_loop(), address=client)
    except TooManyOfOneAddress:
        raise Problem(
            429,
            "too_many_clients",
            f"{services.settings.live_clients_per_address} clients of this address follow events already;"
            f" ask for /events/{event_id} every few seconds instead",
            headers={"Retry-After": "30"},
        ) from None
    except TooManyClients:
        raise Problem(
            503,
            "too_many_clients",
            f"no more than {services.settings.live_clients} clients can follow events here; ask for /events/{event_id} every few seconds instead",
            headers={"Retry-After": "30"},
        ) from None
    return _Stream(services.live, following)


async def _messages(client: Client) -> AsyncIterator[bytes]:
    yield _RECONNECT
    while True:
        try:
            message = await asyncio.wait_for(client.messages.get(), HEARTBEAT_S)
        except TimeoutError:
            yield _HEARTBEAT
            continue
        if message is None:
            return
        yield message
