"""News of an account's bets as they come: server-sent events. Not here: what a change is (stores/bets.py), mails of it (mail/).

One thread's worth of reading serves every listener: the outbox is a log in the order of commits, and its newest rows are handed to whoever
listens to their account.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator, Field

from exchange_platform.api.accounts import AccountId
from exchange_platform.api.applications import Caller, Reading
from exchange_platform.api.bets import details
from exchange_platform.api.headers import STREAM_HEADERS
from exchange_platform.api.parts import PartsOfApp
from exchange_platform.api.problems import Problem, problems
from exchange_platform.bets import Bet
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.outbox import ChangeRow, Outbox

router = APIRouter(tags=["bets"])

MOST_LISTENERS = 1000
MAX_LISTENERS_OF_ONE = 800
"""Of one application: another's users still find a place."""
_LOOK_S = 0.2
_HEARTBEAT_S = 15.0
_LOOK_AGAIN_S = 0.5
"""How often a stream looks whether it may go on."""
_MOST_ROWS = 2000
_MOST_MISSED = 20_000
"""How far back a listener that comes again may ask; whoever was away for longer reads the bets anew."""
_MOST_WAITING = 1000

_bets = msgspec.json.Decoder(Bet)


class ChangeFeed:
    """Reads the outbox's newest changes while anybody listens, and hands each to the listeners of its account. One event loop."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._listeners: defaultdict[str, set[asyncio.Queue[ChangeRow | None]]] = defaultdict(set)
        self._holders: dict[asyncio.Queue[ChangeRow | None], str] = {}
        self._read_to = 0
        self._reading: asyncio.Task[None] | None = None

    async def listen(
        self, account_id: str, after: int | None, application: str
    ) -> tuple[list[ChangeRow], asyncio.Queue[ChangeRow | None]]:
        """Begin to listen: the account's changes since `after` that were missed, and a queue of those to come (None: too slow, ended)."""
        of_it = sum(1 for holder in self._holders.values() if holder == application)
        if len(self._holders) >= MOST_LISTENERS or of_it >= MAX_LISTENERS_OF_ONE:
            raise Problem(
                503,
                "too_many_listeners",
                f"{len(self._holders)} listen already, {of_it} of them for this application; {MOST_LISTENERS} and"
                f" {MAX_LISTENERS_OF_ONE} are allowed. Try again later, or read the bets",
                headers={"Retry-After": "5"},
            )
        queue: asyncio.Queue[ChangeRow | None] = asyncio.Queue(_MOST_WAITING)
        self._holders[queue] = application
        self._listeners[account_id].add(queue)
        try:
            if self._reading is None or self._reading.done():
                self._read_to = await asyncio.to_thread(self._outbox.newest)
                self._reading = asyncio.create_task(self._read())
            missed = await self._missed(account_id, after) if after is not None else []
        except BaseException:
            self.leave(account_id, queue)
            raise
        return missed, queue

    def leave(self, account_id: str, queue: asyncio.Queue[ChangeRow | None]) -> None:
        """Listen no more."""
        if queue in self._listeners[account_id]:
            self._listeners[account_id].discard(queue)
            del self._holders[queue]
        if not self._listeners[account_id]:
            del self._listeners[account_id]

    async def _missed(self, account_id: str, after: int) -> list[ChangeRow]:
        read_to = self._read_to
        if read_to - after > _MOST_MISSED:
            raise Problem(
                410,
                "too_long_away",
                "the changes since that id are too many to be told; read the bets, and listen without Last-Event-ID",
            )
        missed: list[ChangeRow] = []
        while after < read_to:
            rows = await asyncio.to_thread(self._outbox.after, after, _MOST_ROWS)
            if not rows:
                break
            missed += [row for row in rows if row.user_id == account_id and row.sequence <= read_to]
            after = rows[-1].sequence
        return missed

    async def _read(self) -> None:
        while self._holders:
            with suppress(StoreUnavailable):
                rows = await asyncio.to_thread(self._outbox.after, self._read_to, _MOST_ROWS)
                for row in rows:
                    self._read_to = row.sequence
                    for queue in tuple(self._listeners.get(row.user_id, ())):
                        self._hand(queue, row)
                if len(rows) == _MOST_ROWS:
                    continue
            await asyncio.sleep(_LOOK_S)
        self._reading = None

    def _hand(self, queue: asyncio.Queue[ChangeRow | None], row: ChangeRow) -> None:
        try:
            queue.put_nowait(row)
        except asyncio.QueueFull:  # it does not read: it comes again with its last id
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)


def as_event(row: ChangeRow) -> str:
    """A change as a server-sent event: its sequence, what changed, and the bet as it is then."""
    data = {
        "change": row.change,
        "status_before": row.status_before,
        "bet": details(_bets.decode(row.bet)).model_dump(mode="json"),
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
    parts: PartsOfApp,
    last_event_id: Annotated[
        Annotated[int, Field(ge=0, le=2**63 - 1)] | None,
        BeforeValidator(lambda given: given or None),
        Header(
            alias="Last-Event-ID",
            description="The last id that was seen: what came since is told first. Empty (an `EventSource` that saw none): from now on.",
        ),
    ] = None,
) -> StreamingResponse:
    """Listen to an account's bets: each change within half a second of its commit, in the order of the commits.

    It ends within three seconds once the token is revoked or expired.
    """
    if not await asyncio.to_thread(_is_there, caller, account_id):
        raise Problem(404, "no_such_account", f"there is no account {account_id}")
    missed, queue = await parts.change_feed.listen(account_id, last_event_id, caller.grant.application)
    return StreamingResponse(
        _told(caller, account_id, missed, queue),
        media_type="text/event-stream",
        headers=STREAM_HEADERS,
    )


def _is_there(caller: Caller, account_id: str) -> bool:
    return caller.may_act_for(account_id) and caller.parts.account_reader.get(account_id) is not None


async def _told(
    caller: Caller, account_id: str, missed: list[ChangeRow], queue: asyncio.Queue[ChangeRow | None]
) -> AsyncGenerator[str, None]:
    parts = caller.parts
    with _listening(parts.change_feed, account_id, queue):
        yield "retry: 1000\n\n"
        told = 0
        for row in missed:
            told = row.sequence
            yield as_event(row)
        silent_s = 0.0
        longest_s = parts.settings.longest_answer_s
        ends_s = float("inf") if longest_s is None else parts.clock.monotonic_s() + longest_s
        while not parts.ending.is_set() and parts.clock.monotonic_s() < ends_s:
            if longest_s is not None and told:
                return
            try:
                if not await caller.still_let_in():
                    return
            except (StoreUnavailable, Problem):  # nothing is told until it is known again
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
